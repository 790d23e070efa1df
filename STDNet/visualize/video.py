"""Films: pictures of one size as an MP4 file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from STDNet.errors import InputError
from STDNet.files import atomic_write


def film(path: Path | str, frames: Iterable[Image.Image], *, frames_per_s: float = 10.0) -> None:
    """Write pictures of one size as an H.264 MP4 file, atomically.

    Raises:
        InputError: The package av is missing.
    """
    try:
        import av
    except ImportError:
        raise InputError("films need the package av: pip install 'STDNet[video]'") from None
    with atomic_write(path) as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_per_s).limit_denominator(1000))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20"}
        for picture_ in frames:
            # Both sides have to be even.
            array = np.asarray(picture_)[: picture_.height // 2 * 2, : picture_.width // 2 * 2]
            if not stream.codec_context.is_open:
                stream.height, stream.width = array.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")))
        container.mux(stream.encode())
