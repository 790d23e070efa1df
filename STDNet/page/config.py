"""The flags of app.py, and the limits that follow from them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from STDNet.command_line import option
from STDNet.errors import InputError
from STDNet.page.unpack import Limits


@dataclass(frozen=True)
class PageConfig:
    """Where the page listens, what it offers, and how much it takes."""

    host: str = option("127.0.0.1", "address to listen on; anything but loopback lets others upload and compute here")
    port: int = option(7860, "port to listen on; 0 takes a free one")
    weights: tuple[str, ...] = option((), "checkpoints to offer besides the weights that ship")
    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps")
    max_upload_mb: int = option(500, "largest upload in MB")
    max_unpacked_mb: int = option(2000, "largest upload in MB after unpacking")
    max_files: int = option(20000, "most files in an upload")
    max_frames: int = option(120, "most frames of one run")
    max_sessions: int = option(8, "most pages that are open at once")
    sample: Path = option(Path("dataset/sample"), "folder of the sample clip")

    def __post_init__(self) -> None:
        for flag in ("max_upload_mb", "max_unpacked_mb", "max_files", "max_frames", "max_sessions"):
            if getattr(self, flag) < 1:
                raise InputError(f"--{flag} must be 1 or more, got {getattr(self, flag)}")
        if not 0 <= self.port <= 65535:
            raise InputError(f"--port must be 0 to 65535, got {self.port}")

    @property
    def limits(self) -> Limits:
        """Of an upload."""
        return Limits(self.max_upload_mb * 10**6, self.max_unpacked_mb * 10**6, self.max_files)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
