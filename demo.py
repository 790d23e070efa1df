"""The whole way in a few minutes, without a download: make RGB-D videos, train a narrow STDNet, test it on a new one.

Started again, it goes on where it stopped, and tests at once when training is done.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from STDNet.checkpoint import load
from STDNet.command_line import option, parse, progress, run
from STDNet.datasets import synthetic, videos
from STDNet.evaluation import EvaluationConfig, evaluate, predict, upsample_bilinear
from STDNet.files import atomic_write
from STDNet.training import TrainConfig, train
from STDNet.visualize import comparison

log = logging.getLogger(__name__)
FRAMES, HEIGHT, WIDTH = 16, 192, 256
MAX_DEPTH_M = 10.0  # what the network sees as 1: rooms are a few metres deep
TRAINING_SEED, TEST_SEED = 1, 1000  # the test video is never trained on


@dataclass(frozen=True)
class DemoConfig:
    """Flags of the demo."""

    scale: int = option(4, "RGB pixels per depth pixel", choices=(4, 8, 16))
    steps: int = option(300, "training steps; more is better and slower")
    clips: int = option(6, "training videos to make")
    out: Path = option(Path("experiment/demo"), "where results go")
    frames: Path = option(Path("dataset/demo"), "where the made videos go")


def main() -> None:
    """Make, train, test, draw."""
    config = parse(DemoConfig, description=__doc__)
    training = _made(config.frames / "train", TRAINING_SEED, config.clips)
    test = _made(config.frames / "test", TEST_SEED, 1)
    run_folder = config.out / f"train_x{config.scale}_{config.steps}_steps"
    train(
        TrainConfig(
            scale=config.scale,
            channels=16,
            root_dir=config.frames / "train",
            train_list=training,
            val_list="none",
            lr_source="simulate",
            max_depth=MAX_DEPTH_M,
            patch_size=96,
            frames=5,
            batchsize=1,
            lr=1e-3,
            warmup=20,
            clip_grad=1.0,
            ema=0.98,
            steps=config.steps,
            save_every=50,
            result_root=run_folder,
        )
    )
    model = run_folder / "final.pth"
    root = config.frames / "test"
    scores = EvaluationConfig(
        scale=config.scale,
        root_dir=root,
        model_dir=model,
        results_dir=config.out / f"test_x{config.scale}",
        lr_source="simulate",
        max_depth=MAX_DEPTH_M,
        save=("npy", "png"),
    )
    evaluate(scores, "tartanair", test)
    (video,) = videos("tartanair", root, test, scale=config.scale, lr="simulate", max_depth_m=MAX_DEPTH_M)
    net, middle = load(model), len(video) // 2
    clip, depth, _ = next(predict(net, video, middle, middle + 1, device=torch.device("cpu")))
    bilinear = upsample_bilinear(clip.lr, config.scale)
    sheet = comparison(clip, {"bilinear": bilinear, "STDNet": depth}, f"x{config.scale}, after {config.steps} steps")
    picture = config.out / f"comparison_x{config.scale}.png"
    with atomic_write(picture) as file:
        sheet.save(file, format="PNG")
    log.info("picture: %s", picture)


def _made(folder: Path, seed: int, clips: int) -> Path:
    """The index file of `clips` procedural videos in the TarTanAir layout, made where they are missing."""
    index, made = folder / "index.txt", folder / f"made_{clips}_of_{FRAMES}_{HEIGHT}x{WIDTH}"
    if not made.is_file():
        for number in progress(range(seed, seed + clips), desc=f"making videos in {folder}", unit="videos"):
            clip = synthetic.render(number, FRAMES, HEIGHT, WIDTH)
            synthetic.write(clip, "TarTanAir", folder, f"synthetic/S{number:06d}")
        made.touch()
    return index


if __name__ == "__main__":
    run(main)
