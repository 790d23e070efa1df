"""Weights by name: the table, and from a name, a path, a folder or an address to a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from STDNet.checkpoint.download import as_url, fetch
from STDNet.models import STDNetConfig
from STDNet.weight_file import FILE, SUFFIX

FOLDER = Path(__file__).resolve().parents[1] / "weights"


@dataclass(frozen=True)
class Weights:
    """One row of the table.

    Attributes:
        config: The network they belong to.
        sha256: Checksum of the file, in hex.
        validation: RMSE and MAE in cm on the held-out procedural videos that chose them (`show NAME` says which).
        url: Where the file is downloaded from; None: it ships with the package.
    """

    config: STDNetConfig
    sha256: str
    validation: Mapping[str, float]
    url: str | None = None


WEIGHTS: Mapping[str, Weights] = MappingProxyType(
    {
        "stdnet-s-x4": Weights(
            STDNetConfig(scale=4, channels=16),
            "32ee52354b8e859b79156a29ca4a2bed2ad8ad5bd0215d4ca7258eb7e32d3209",
            {"rmse_cm": 53.02, "mae_cm": 9.49},
        ),
        "stdnet-s-x8": Weights(
            STDNetConfig(scale=8, channels=16),
            "f5df52de972525a204e4a87e9e3efb47a714dd626b8ff433e9205a36a30c46a5",
            {"rmse_cm": 80.51, "mae_cm": 18.49},
        ),
        "stdnet-s-x16": Weights(
            STDNetConfig(scale=16, channels=16),
            "ac58175b7962583a39fdd7ddba810831b05c5c46948101795a5367d419b1fdb1",
            {"rmse_cm": 154.07, "mae_cm": 42.8},
        ),
    }
)


def shipped() -> list[str]:
    """The names of the weights that ship with the package, such as "stdnet-s-x4"."""
    return sorted(name for name, weights in WEIGHTS.items() if weights.url is None)


def locate(source: Path | str) -> Path:
    """The file behind what `load` takes; addresses are downloaded, once.

    Args:
        source: A name in `WEIGHTS`, an http(s) address (see `download.fetch`), a folder that `STDNet.save_pretrained`
            wrote, or a file.

    Raises:
        InputError: The download failed. Whether a file exists is left to its reader.
    """
    name = str(source)
    if name in WEIGHTS:
        weights = WEIGHTS[name]
        return FOLDER / f"{name}{SUFFIX}" if weights.url is None else fetch(weights.url, sha256=weights.sha256)
    if url := as_url(source):
        return fetch(url)
    path = Path(source)
    return path / FILE if path.is_dir() else path
