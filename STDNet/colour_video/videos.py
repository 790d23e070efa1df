"""Colour videos on disk in the layouts of their authors: HR frames, and LR frames or what bicubic makes of the HR ones.

| layout | HR frames | LR frames, may be absent | names in an index file |
|---|---|---|---|
| Vimeo-90K septuplets | sequences/00001/0266/im1.png ... im7.png | made | 00001/0266 |
| D3DNet's | <scene>/hr/*.png | <scene>/lr_x4/*.png | <scene>, or <folder>/<scene> |
| LGTD's | GT/<scene>/*.png | LR4x/<scene>/*.png | <scene> |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from STDNet.colour_video.metrics import eight_bit
from STDNet.colour_video.models import resize
from STDNet.datasets import Box
from STDNet.datasets.layout import files
from STDNet.datasets.reading import IMAGE_PATTERNS, image_size, read_image, unit
from STDNet.errors import InputError

DEFAULT_ROOT = Path("dataset/colour")
VIMEO_LISTS = {True: "sep_trainlist.txt", False: "sep_testlist.txt"}  # for training, for testing
MARGIN = 3  # LR pixels: an LR pixel is made from 2 * scale HR pixels to either side
ADVICE = (
    "expected sequences/ (Vimeo-90K septuplets), GT/<scene>/ with or without LR4x/<scene>/, or <scene>/hr/ with or "
    "without <scene>/lr_x4/"
)


@dataclass(frozen=True)
class ColourVideo:
    """One video.

    Attributes:
        name: Its name in tables and index files.
        hr: A picture a frame.
        lr: A picture a frame; empty where LR is made from HR: antialiased bicubic (a = -0.5, PIL's at the borders),
            rounded to 8 bits as a file would be.
        scale: HR pixels per LR pixel.
        scored: The frames that a test scores: all, or the middle one of a septuplet.
    """

    name: str
    hr: tuple[Path, ...]
    lr: tuple[Path, ...]
    scale: int
    scored: tuple[int, ...]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.hr)

    @cached_property
    def lr_size(self) -> tuple[int, int]:
        """(h, w); rows and columns of HR beyond scale * h and scale * w are cut off.

        Raises:
            InputError: LR pictures of another size than HR divided by the scale.
        """
        height, width = (side // self.scale for side in image_size(self.hr[0]))
        if self.lr and image_size(self.lr[0]) != (height, width):
            found = image_size(self.lr[0])
            raise InputError(
                f"{self.lr[0]}: {found[0]} x {found[1]} pixels, expected {height} x {width} for HR "
                f"{self.hr[0].name} at scale {self.scale}"
            )
        if min(height, width) < 1:
            raise InputError(f"{self.hr[0]}: smaller than the scale {self.scale}")
        return height, width

    def read_hr(self, t: int, box: Box | None = None) -> Tensor:
        """[3, H, W] in 0..1; `box` in LR pixels keeps a part."""
        box = (box or Box(0, 0, *self.lr_size)).times(self.scale)
        return _part(self.hr[t], box)

    def read_lr(self, t: int, box: Box | None = None) -> Tensor:
        """[3, h, w] in 0..1; `box` keeps a part, equal to that part of the whole."""
        height, width = self.lr_size
        box = box or Box(0, 0, height, width)
        if self.lr:
            return _part(self.lr[t], box)
        top, left = max(0, box.top - MARGIN), max(0, box.left - MARGIN)
        bottom = min(height, box.top + box.height + MARGIN)
        right = min(width, box.left + box.width + MARGIN)
        around = Box(top, left, bottom - top, right - left)
        small = eight_bit(resize(self.read_hr(t, around)[None], around.height, around.width)[0])
        return small[:, box.top - top :, box.left - left :][:, : box.height, : box.width]

    def read_window(self, t: int, reach: int, box: Box | None = None) -> Tensor:
        """[2 * reach + 1, 3, h, w]: LR of frame `t` with its neighbours, the ends repeated."""
        times = [min(max(i, 0), len(self) - 1) for i in range(t - reach, t + reach + 1)]
        read = {i: self.read_lr(i, box) for i in set(times)}
        return torch.stack([read[i] for i in times])


def colour_videos(
    root: Path | str, index: Path | str | None = None, *, scale: int, training: bool = False
) -> list[ColourVideo]:
    """The videos of a folder, its layout found by its folders.

    Args:
        root: The folder.
        index: A text file with a name a line; None takes Vimeo-90K's own list, elsewhere all there are.
        scale: HR pixels per LR pixel.
        training: Which of Vimeo-90K's lists.

    Raises:
        InputError: No such folder or layout, a name without pictures, or not as many LR as HR pictures.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder of colour videos; {ADVICE}")
    vimeo = (root / "sequences").is_dir()
    if index is None and vimeo:
        index = root / VIMEO_LISTS[training]
    names = _names_in(Path(index)) if index is not None else sorted(_names_under(root))
    if not names:
        raise InputError(f"{root if index is None else index}: no video in it; {ADVICE}")
    return [_video(root, name, scale, vimeo) for name in names]


def _names_in(index: Path) -> list[str]:
    """The lines of an index file, without comments and empty ones."""
    try:
        lines = index.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{index}: not a readable list of videos ({error}); it takes a name a line") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _names_under(root: Path) -> Iterator[str]:
    """The scenes of a folder."""
    if (root / "GT").is_dir():
        yield from (folder.name for folder in (root / "GT").iterdir() if folder.is_dir())
    else:
        found = [*root.glob("*/hr"), *root.glob("*/*/hr")]
        yield from (str(folder.parent.relative_to(root)) for folder in found if folder.is_dir())


def _video(root: Path, name: str, scale: int, vimeo: bool) -> ColourVideo:
    """The video of that name."""
    if vimeo:
        hr_folder, lr_folder = root / "sequences" / name, None
    elif (root / "GT").is_dir():
        hr_folder, lr_folder = root / "GT" / name, root / f"LR{scale}x" / name
    else:
        hr_folder, lr_folder = root / name / "hr", root / name / f"lr_x{scale}"
    hr = files(hr_folder, *IMAGE_PATTERNS)
    lr = files(lr_folder, *IMAGE_PATTERNS) if lr_folder else []
    if not hr:
        raise InputError(f"{hr_folder}: no pictures there; {ADVICE}")
    if lr and len(lr) != len(hr):
        raise InputError(
            f"{lr_folder}: {len(lr)} pictures, but {len(hr)} in {hr_folder}; complete the LR pictures, or remove them "
            "all: they are then made from HR"
        )
    scored = (len(hr) // 2,) if vimeo else tuple(range(len(hr)))
    return ColourVideo(name, tuple(hr), tuple(lr), scale, scored)


def _part(path: Path, box: Box) -> Tensor:
    """[3, h, w] in 0..1 of a picture."""
    picture = read_image(path)
    if box.top + box.height > picture.shape[0] or box.left + box.width > picture.shape[1]:
        raise InputError(
            f"{path}: {picture.shape[0]} x {picture.shape[1]} pixels, smaller than the first picture of its video"
        )
    return unit(picture[box.top : box.top + box.height, box.left : box.left + box.width])
