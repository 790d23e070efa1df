"""Video: one RGB-D sequence on disk, read lazily as clips in metres."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from STDNet.clip import Clip
from STDNet.datasets import dydtof, dynamic_replica, folder, reading, tartanair
from STDNet.datasets.index import Entry, read_index
from STDNet.datasets.layout import PROTOCOLS, Box, Frame, Layout, SensorRange, absent
from STDNet.datasets.poses import NOWHERE, flow_from_poses, read_poses
from STDNet.errors import InputError
from STDNet.simulator import simulate

__all__ = ["LAYOUTS", "Box", "Frame", "SensorRange", "Video", "videos"]

LAYOUTS = {
    "tartanair": tartanair.layout,
    "dydtof": dydtof.layout,
    "dynamic_replica": dynamic_replica.layout,
    "folder": folder.layout_of_entry,
}
LR_SOURCES = ("auto", "files", "simulate")


class Video:
    """One sequence on disk. Nothing of it is held in memory: every call reads what it gives back.

    Attributes:
        name: "hospital/P047".
        scale: HR pixels per LR pixel, along each axis.
        max_depth_m: The depth that the network sees as 1.
        sensor: The range of the simulated sensor.
        simulated: True where LR depth is simulated on the fly, False where it is read from files.
    """

    def __init__(self, layout: Layout, scale: int, *, lr: str = "auto", cache: Path | None = None) -> None:
        """Describe the sequence; only the presence of LR files is looked at.

        Args:
            layout: Where the files are.
            scale: HR pixels per LR pixel.
            lr: "files", "simulate", or "auto": files where they are present, else simulated.
            cache: Folder for decoded pictures, see `reading.decoded_image`.

        Raises:
            InputError: LR files are incomplete or, for "files", absent; or there is no HR depth to simulate from.
        """
        self.layout, self.scale, self.cache = layout, scale, cache
        self.name, self.max_depth_m, self.sensor = layout.name, layout.max_depth_m, layout.sensor
        self.simulated = lr == "simulate" or not self._has_lr_files(lr)
        if self.simulated and layout.frames[0].depth is None:
            raise InputError(f"{self.name}: there is no HR depth to simulate LR depth from; give LR files")

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.layout.frames)

    @property
    def height(self) -> int:
        """HR height in pixels, from the first picture."""
        return self._size[0]

    @property
    def width(self) -> int:
        """HR width in pixels, from the first picture."""
        return self._size[1]

    def read(self, start: int, stop: int, *, step: int = 1, box: Box | None = None, lr_box: Box | None = None) -> Clip:
        """Frames `start`, `start + step`, ... before `stop`.

        Args:
            start: First frame.
            stop: The frame after the last one.
            step: Distance of the frames.
            box: The part of RGB and ground truth to keep, HR pixels; None keeps all. Depth outside is not read. Its
                sides and corner are multiples of the scale, unless `lr_box` is given.
            lr_box: The part of LR depth to keep, LR pixels; None means the one that `box` covers.

        Returns:
            A clip in metres. `gt` is None where there is no ground truth, `valid` None where the protocol has no mask.

        Raises:
            InputError: Frames or a box outside of the video; a file that is missing, broken, of the wrong shape, or
                holds depth that the protocol does not allow.
        """
        self._check_times(start, stop, step)
        box, lr_box = self._boxes(box, lr_box)
        return self._clip(range(start, stop, step), self._pictures(start, stop, step), box, lr_box)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Clip]:
        """Frames one at a time, as clips of one frame, read when asked for; arguments and errors as in `read`."""
        stop = len(self) if stop is None else stop
        self._check_times(start, stop, 1)
        box, lr_box = self._boxes(None, None)
        for t, picture in zip(range(start, stop), self._pictures(start, stop), strict=True):
            yield self._clip(range(t, t + 1), iter([picture]), box, lr_box)

    def flow(self, t: int) -> Tensor | None:
        """Forward optical flow of frame `t` to frame `t + 1`.

        Returns:
            [H, W, 2] float32 in pixels, u right, v down: from a file, else from depth and camera poses where the scene
            is static, else None. Where it is unknown it points far out of the frame and is finite.
        """
        if not 0 <= t < len(self) - 1:
            raise InputError(f"{self.name}: no flow from frame {t}: the video has {len(self)} frames")
        path = self.layout.frames[t].flow
        if path is not None and self.layout.flow is not None:
            stored = self.layout.flow(path)
            if stored.ndim != 3 or stored.shape[-1] != 2:
                raise InputError(f"{path}: flow of shape {stored.shape}; expected [H, W, 2]")
            flow = np.array(self._cut(stored, path, self._whole), np.float32)
            return torch.from_numpy(np.nan_to_num(flow, nan=NOWHERE, posinf=NOWHERE, neginf=NOWHERE))
        if self.layout.poses is None:
            return None
        poses = read_poses(self.layout.poses, len(self))
        return torch.from_numpy(flow_from_poses(self.read_depth(t).numpy(), poses[t], poses[t + 1]))

    def read_rgb(self, t: int) -> Tensor:
        """[3, H, W] float32 in 0..1: 8-bit values divided by 255."""
        self._check_times(t, t + 1, 1)
        (picture,) = self._pictures(t, t + 1)
        return reading.unit(self._cut(picture, self.layout.frames[t].rgb, self._whole))

    def read_depth(self, t: int) -> Tensor:
        """[H, W] float32 HR depth in metres, as the simulated sensor sees it: not clipped, 0 where it is unknown."""
        self._check_times(t, t + 1, 1)
        return _seen(self._stored_depth(t, self._whole))

    def read_lr(self, t: int) -> Tensor:
        """[h, w] float32 LR depth in metres, from its file or simulated; not clipped."""
        self._check_times(t, t + 1, 1)
        if self.simulated:
            return self._simulate(self.read_depth(t)[None], self.read_rgb(t)[None])[0]
        return self._stored_lr(t, self._boxes(None, None)[1])

    def lr_path(self, t: int) -> Path:
        """Where the layout puts the LR depth of frame `t`, whether or not the file exists."""
        return self.layout.frames[t].lr

    def paths(self) -> Iterator[Path]:
        """Every file that reading the whole video needs, once."""
        used: dict[Path, None] = {}
        for frame in self.layout.frames:
            lr = None if self.simulated else frame.lr
            used.update((path, None) for path in (frame.rgb, frame.depth, lr, frame.flow) if path)
        return iter(used)

    @cached_property
    def _size(self) -> tuple[int, int]:
        """(height, width) of the frames as they are used."""
        path = self.layout.frames[0].rgb
        height, width = size = reading.image_size(path)
        if self.layout.centre and size == self.layout.centre[:2]:
            height, width = self.layout.centre[2:]
        if height % self.scale or width % self.scale:
            raise InputError(
                f"{path}: {height} x {width} pixels are no multiple of the scale {self.scale}; crop the frames to "
                f"{height // self.scale * self.scale} x {width // self.scale * self.scale}"
            )
        return height, width

    @property
    def _whole(self) -> Box:
        """The whole frame, HR pixels."""
        return Box(0, 0, *self._size)

    def _has_lr_files(self, lr: str) -> bool:
        """Whether LR depth is read from files."""
        lr_files = [frame.lr for frame in self.layout.frames]
        lacking = list(absent(lr_files))
        if lacking and (lr == "files" or len(lacking) < len(lr_files)):
            raise InputError(
                f"{self.name}: {len(lacking)} of {len(lr_files)} LR files are missing, the first is {lacking[0]}; "
                f"make them with python -m STDNet.simulator, or simulate them on the fly (lr 'simulate')"
            )
        return not lacking

    def _check_times(self, start: int, stop: int, step: int) -> None:
        """Frames outside of the video are an error."""
        if not (0 <= start < stop <= len(self) and step > 0):
            raise InputError(f"{self.name}: frames {start}:{stop}:{step} asked for, the video has {len(self)} frames")

    def _boxes(self, box: Box | None, lr_box: Box | None) -> tuple[Box, Box]:
        """Both boxes, checked."""
        box = box or self._whole
        if lr_box is None:
            if any(side % self.scale for side in box):
                raise InputError(f"{self.name}: {box} is not on the grid of scale {self.scale}")
            lr_box = Box(*(side // self.scale for side in box))
        for part in (box, lr_box.times(self.scale)):
            inside = part.top + part.height <= self.height and part.left + part.width <= self.width
            if not inside or min(part.top, part.left) < 0 or min(part.height, part.width) < 1:
                raise InputError(f"{self.name}: {part} is not within {self.height} x {self.width} pixels")
        return box, lr_box

    def _pictures(self, start: int, stop: int, step: int = 1) -> Iterator[np.ndarray]:
        """Whole RGB pictures as stored, one at a time."""
        return reading.rgb_frames([frame.rgb for frame in self.layout.frames], start, stop, step, self.cache)

    def _clip(self, times: range, pictures: Iterator[np.ndarray], box: Box, lr_box: Box) -> Clip:
        """The frames `times`, whose whole pictures are `pictures`."""
        source = lr_box.times(self.scale)  # the HR pixels of the LR pixels, which differ from `box` off the grid
        rgb, rgb_source, depth, lr = [], [], [], []
        for t, picture in zip(times, pictures, strict=True):
            path, stored = self.layout.frames[t].rgb, None
            rgb.append(reading.unit(self._cut(picture, path, box)))
            if self.layout.frames[t].depth is not None:
                stored = self._stored_depth(t, box)
                depth.append(stored)
            if self.simulated:
                lr.append(_seen(stored if source == box and stored is not None else self._stored_depth(t, source)))
                rgb_source.append(rgb[-1] if source == box else reading.unit(self._cut(picture, path, source)))
            else:
                lr.append(self._stored_lr(t, lr_box))
        rule = self.layout.rule
        lr_m = self._simulate(torch.stack(lr), torch.stack(rgb_source)) if self.simulated else torch.stack(lr)
        lr_m = lr_m if rule.clip_m is None else lr_m.clamp(0, rule.clip_m)
        gt, valid = rule.ground_truth(torch.stack(depth)[:, None]) if depth else (None, None)
        return Clip(torch.stack(rgb), lr_m[:, None], gt, valid, name=f"{self.name}[{times[0]}:{times[-1] + 1}]")

    def _simulate(self, depth_m: Tensor, rgb: Tensor) -> Tensor:
        """[T, h, w] metres."""
        return simulate(depth_m, rgb, self.scale, max_range_m=self.sensor.max_range_m, bins=self.sensor.bins)

    def _stored_depth(self, t: int, box: Box) -> Tensor:
        """[box] float32 metres as stored; without a mask, depth that is none is refused here."""
        path = self.layout.frames[t].depth
        if path is None:
            raise InputError(f"{self.name}, frame {t}: there is no HR depth")
        depth = self.layout.metres(self._cut(reading.read_depth(path), path, box), path)
        if not self.layout.rule.masked:
            reading.refuse_impossible(depth, path, "the metric protocol masks such pixels")
        return torch.from_numpy(depth)

    def _stored_lr(self, t: int, lr_box: Box) -> Tensor:
        """[lr_box] float32 metres."""
        path, height, width = self.lr_path(t), self.height // self.scale, self.width // self.scale
        stored = reading.read_depth(path)
        if stored.shape != (height, width):
            raise InputError(
                f"{path}: LR depth {stored.shape[0]} x {stored.shape[1]}, expected {height} x {width} for RGB "
                f"{self.height} x {self.width} at scale {self.scale}; resize RGB to "
                f"{stored.shape[0] * self.scale} x {stored.shape[1] * self.scale}, or give another scale"
            )
        depth = self.layout.lr_metres(_part(stored, lr_box), path)
        reading.refuse_impossible(depth, path, "write 0 where the sensor has no value")
        return torch.from_numpy(depth)

    def _cut(self, stored: np.ndarray, path: Path, box: Box) -> np.ndarray:
        """`box` of a whole stored frame [h, w, ...], which has the size of the first picture."""
        size, centre = stored.shape[:2], self.layout.centre
        if centre and size == centre[:2]:
            top, left = (size[0] - self.height) // 2, (size[1] - self.width) // 2
            return _part(stored, Box(box.top + top, box.left + left, box.height, box.width))
        if size != self._size:
            raise InputError(
                f"{path}: {size[0]} x {size[1]} pixels, but the first RGB picture of {self.name} has "
                f"{self.height} x {self.width}; RGB, HR depth and flow have one size"
            )
        return _part(stored, box)


def videos(
    name: str,
    root: Path | str,
    index: Path | str | Sequence[Entry] | None = None,
    *,
    scale: int,
    protocol: str = "paper",
    lr: str = "auto",
    sensor: SensorRange | None = None,
    max_depth_m: float | None = None,
    check: bool = True,
    cache: Path | None = None,
) -> list[Video]:
    """The sequences of a data set.

    Args:
        name: A key of `LAYOUTS`: "tartanair", "dydtof", "dynamic_replica", "folder".
        root: The folder of the data set.
        index: An index file (see `read_index`), or its entries. None, for "folder" alone, means every sequence in
            `root`.
        scale: HR pixels per LR pixel.
        protocol: "paper": the paper's units and clipping, no mask. "metric": metres, with a mask.
        lr: "auto" (files where they are present, else simulated), "files" or "simulate".
        sensor: The simulated sensor; None is the data set's own.
        max_depth_m: The depth that the network sees as 1; None is the data set's own.
        check: Look at once whether every file is there.
        cache: A folder where RGB pictures are kept decoded (H * W * 3 bytes each) on first use: the same values several
            times as fast, since decoding a PNG is most of reading a clip. None decodes every time.

    Returns:
        One video a sequence, in the order of the index.

    Raises:
        InputError: A wrong argument, index file or root; a missing file.
    """
    for what, given, known in (("data set", name, LAYOUTS), ("protocol", protocol, PROTOCOLS), ("lr", lr, LR_SOURCES)):
        if given not in known:
            raise InputError(f"{what} {given!r} is unknown; known: {', '.join(known)}")
    if scale < 1:
        raise InputError(f"scale {scale}: expected 1 or more")
    found = []
    for layout in _layouts(name, Path(root), index, scale, protocol):
        layout = dataclasses.replace(
            layout, sensor=sensor or layout.sensor, max_depth_m=max_depth_m or layout.max_depth_m
        )
        video = Video(layout, scale, lr=lr, cache=cache)
        if check and (lacking := list(absent(video.paths()))):
            raise InputError(
                f"{lacking[0]}: no such file; {video.name} lacks {len(lacking)} file(s): complete the data set, or "
                f"correct the frame count in the index"
            )
        found.append(video)
    return found


def _layouts(
    name: str, root: Path, index: Path | str | Sequence[Entry] | None, scale: int, protocol: str
) -> Iterator[Layout]:
    """The layouts of a data set."""
    if index is not None:
        for entry in read_index(index) if isinstance(index, str | Path) else index:
            yield LAYOUTS[name](root, entry, scale, protocol)
    elif name == "folder":
        for sequence, path in folder.entries(root):
            yield folder.layout(sequence, path, scale)
    else:
        raise InputError(f"{name} needs an index file that lists its sequences, such as those in data/")


def _part(values: np.ndarray, box: Box) -> np.ndarray:
    """The box of [H, W, ...]."""
    return values[box.top : box.top + box.height, box.left : box.left + box.width]


def _seen(depth_m: Tensor) -> Tensor:
    """What gives the sensor no return, unknown depth, is 0."""
    return torch.where(depth_m.isfinite() & (depth_m > 0), depth_m, 0.0)
