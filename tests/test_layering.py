"""Who may import whom. A command line (`__main__`) and the public door (`STDNet/__init__`) may import every room."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "STDNet"
FOUNDATION = {"errors", "files", "command_line", "weight_file"}  # every room may import these
ALLOWED = {
    "errors": set(),
    "files": set(),
    "command_line": set(),
    "weight_file": set(),
    "clip": set(),
    "ops": set(),
    "geometry": set(),
    "distributed": set(),
    "losses": set(),
    "simulator": set(),
    "visualize": {"clip", "geometry"},
    "metrics": {"geometry"},
    "models": {"ops"},
    "baselines": {"models", "ops"},
    "colour_video": {"models", "baselines", "datasets", "distributed", "visualize"},
    "datasets": {"clip", "simulator"},
    "statistics": {"metrics", "visualize"},
    "systems": {"models", "baselines", "colour_video"},
    "streaming": {"clip", "models"},
    "checkpoint": {"models", "systems", "colour_video"},
    "evaluation": {
        *("clip", "datasets", "metrics", "models", "systems", "streaming", "checkpoint", "visualize", "distributed"),
        *("baselines", "colour_video"),
    },
    "super_resolve": {
        *("clip", "datasets", "models", "systems", "checkpoint", "evaluation"),
        *("visualize", "geometry", "distributed"),
    },
    "export": {"models", "checkpoint"},
    "page": {
        *("clip", "datasets", "models", "checkpoint", "evaluation", "super_resolve"),
        *("metrics", "visualize", "geometry", "distributed"),
    },
    "training": {
        "clip",
        "colour_video",
        "datasets",
        "losses",
        "models",
        "systems",
        "distributed",
        "checkpoint",
        "evaluation",
    },
}
# Packages that only one room knows.
OWNED = {
    "torchvision": {"ops"},
    "mmcv": {"ops"},
    "triton": {"ops"},
    "matplotlib": {"visualize"},
    "av": {"datasets", "visualize"},
    "OpenEXR": {"datasets", "super_resolve"},
    "tensorboard": {"training"},
    "huggingface_hub": {"models"},
    "gdown": {"checkpoint"},
    "skimage": {"colour_video"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "starlette": {"page"},
    "uvicorn": {"page"},
}


def _files() -> list[tuple[str, Path]]:
    """(room, file) of every module whose imports are bound."""
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py" and path != PACKAGE / "__init__.py"]
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files]


def _imports(path: Path) -> set[str]:
    """Full names of all imported modules; `from STDNet import x` counts as STDNet.x."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_room_is_in_the_table() -> None:
    assert {room for room, _ in _files()} == set(ALLOWED)


def test_rooms_import_only_what_the_table_allows() -> None:
    wrong = []
    for room, path in _files():
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "STDNet" and parts[1] not in ALLOWED[room] | FOUNDATION | {room, "__version__"}:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
            if parts[0] in OWNED and room not in OWNED[parts[0]]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_foundation_stands_alone() -> None:
    for room, path in _files():
        if room == "errors":
            assert not any(name.startswith("STDNet") for name in _imports(path))


def test_no_device_words_in_the_network() -> None:
    for room, path in _files():
        if room in ("models", "losses"):
            text = path.read_text()
            assert ".cuda(" not in text and '"cuda' not in text, path
