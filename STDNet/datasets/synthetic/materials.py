"""Materials: which pattern, how large, in which colours, how glossy; a row of numbers each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from STDNet.datasets.synthetic import patterns

# Places of a material's numbers in its row.
PATTERN, SCALE, COS, SIN, OFFSET_U, OFFSET_V, SPECULAR, GLOSS, GLOW = range(9)
BASE = slice(9, 12)
MIX = slice(12, 21)
LENGTH = 21
# Families whose pictures are colours, not mixtures of a palette.
_COLOURED = ("books", "poster", "landscape")
_COVERS = ("plaster", "cells", "stripes", "plaid", "bricks", "cloth", "marble", "dots", "writing", "poster")
_WOODS = ((0.45, 0.28, 0.15), (0.6, 0.42, 0.25), (0.25, 0.14, 0.08), (0.72, 0.58, 0.4), (0.5, 0.5, 0.47))


def colour(random: np.random.Generator, kind: str = "any") -> np.ndarray:
    """[3] an sRGB colour as things in rooms have it: "wall" pale, "wood" brown, "vivid", else mostly muted."""
    if kind == "wood":
        return np.clip(np.array(_WOODS[random.integers(len(_WOODS))]) * random.uniform(0.8, 1.15), 0, 1)
    if kind == "wall":
        grey = random.uniform(0.55, 0.92) if random.uniform() < 0.8 else random.uniform(0.2, 0.5)
        return np.clip(grey * (1 + random.uniform(-0.12, 0.12, 3)), 0, 1)
    value = random.uniform(0.1, 0.95)
    saturation = random.uniform(0.45, 0.8) if kind == "vivid" else random.beta(1.2, 4)
    tint = random.uniform(0, 1, 3)
    tint = (tint - tint.min()) / (tint.max() - tint.min() + 1e-6)
    return value * (1 - saturation * (1 - tint))


def plain(tint: np.ndarray, *, specular: float = 0.0, gloss: float = 20.0, glow: float = 0.0) -> np.ndarray:
    """A material of one sRGB colour."""
    row = np.zeros(LENGTH, np.float32)
    row[[SCALE, COS, SPECULAR, GLOSS, GLOW]] = 1, 1, specular, gloss, glow
    row[BASE] = np.asarray(tint) ** 2
    return row


def patterned(
    random: np.random.Generator,
    family: str,
    tints: Sequence[np.ndarray],
    side_m: float,
    *,
    contrast: float = 1.0,
    tilt: float = 0.0,
    shiny: float = 0.3,
) -> np.ndarray:
    """A material with a picture of `family` that repeats every `side_m` metres.

    Args:
        random: Source of everything left open.
        family: A key of the bank of patterns.
        tints: sRGB colours of the pattern, at least one; pictures in full colour are only toned by the first.
        side_m: Side of the pattern in metres.
        contrast: 0 leaves the first colour alone, 1 is the full pattern.
        tilt: Turn of the pattern on the surface, radians.
        shiny: Probability that the surface has specular spots.
    """
    _, families = patterns.bank()
    first = np.asarray(tints[0]) ** 2
    row = plain(tints[0])
    row[PATTERN] = random.choice(families[family])
    row[[SCALE, COS, SIN]] = 1 / side_m, np.cos(tilt), np.sin(tilt)
    row[[OFFSET_U, OFFSET_V]] = random.uniform(size=2)
    if random.uniform() < shiny:
        row[[SPECULAR, GLOSS]] = random.uniform(0.05, 0.6), 2 ** random.uniform(3, 8)
    mix = np.zeros((3, 3))
    if family in _COLOURED:
        row[BASE] = first * (1 - contrast)
        mix = np.diag(contrast * (0.5 + 0.5 * first / max(first.max(), 1e-6)))
    else:
        shares = random.dirichlet((2.0, 1.0, 0.7))
        second = np.asarray(tints[1 % len(tints)]) ** 2
        third = np.asarray(tints[2 % len(tints)]) ** 2
        for channel, goal in enumerate((second, third, first * 0.5)):
            mix[:, channel] = contrast * shares[channel] * (goal - first)
    row[MIX] = mix.ravel()
    return row


def surface(random: np.random.Generator, size_m: float) -> np.ndarray:
    """Any material for a thing of about `size_m` metres."""
    chance = random.uniform()
    if chance < 0.3:
        tint = colour(random, "vivid" if random.uniform() < 0.2 else "any")
        if random.uniform() < 0.5:
            shiny = random.uniform(0.05, 0.6) * (random.uniform() < 0.5)
            return plain(tint, specular=shiny, gloss=2 ** random.uniform(3, 8))
        return patterned(random, "plaster", [tint, tint * 0.7, tint * 0.9], size_m, contrast=random.uniform(0.1, 0.5))
    if chance < 0.45:
        return wood(random, size_m)
    family = _COVERS[random.integers(len(_COVERS))]
    tints = [colour(random, "vivid" if random.uniform() < 0.25 else "any") for _ in range(3)]
    tilt = random.choice([0, np.pi / 2, random.uniform(0, np.pi)])
    side = size_m * random.uniform(0.4, 2.5)
    return patterned(random, family, tints, side, contrast=random.uniform(0.4, 1), tilt=tilt)


def wood(random: np.random.Generator, size_m: float) -> np.ndarray:
    """Planks or veneer."""
    tints = [colour(random, "wood"), colour(random, "wood") * 0.6, colour(random, "wood")]
    tilt = random.choice([0, np.pi / 2])
    return patterned(random, "planks", tints, max(0.4, size_m) * random.uniform(0.7, 1.5), tilt=tilt, shiny=0.5)


def wall(random: np.random.Generator, high_m: float) -> np.ndarray:
    """Paint, plaster, paper, bricks."""
    tints = [colour(random, "wall") for _ in range(3)]
    families = ("plaster", "plaster", "plaster", "bricks", "stripes", "plaid", "cells", "dots", "writing", "planks")
    family = families[random.integers(len(families))]
    contrast = random.uniform(0.1, 0.6) if family != "bricks" else random.uniform(0.3, 1)
    if random.uniform() < 0.15:
        return plain(tints[0])
    return patterned(random, family, tints, high_m * random.uniform(0.25, 1), contrast=contrast, shiny=0.1)


def floor(random: np.random.Generator, high_m: float) -> np.ndarray:
    """Planks, tiles, carpet, stone."""
    family = ("planks", "bricks", "cloth", "marble", "plaster", "plaid")[random.integers(6)]
    kind = "wood" if family == "planks" else "any"
    tints = [colour(random, kind) for _ in range(3)]
    side = high_m * random.uniform(0.3, 0.8)
    return patterned(random, family, tints, side, contrast=random.uniform(0.3, 1), shiny=0.5)
