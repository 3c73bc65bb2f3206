"""Photograph-sized JPEGs, generated: dead leaves with natural textures, from a seed.

A picture is a pile of leaves (discs of random place and size, sizes by a power law) that occlude each other, each cut from
a texture whose spectrum falls as 1/f and whose channels are correlated, with grain and a slope of light over all. That has
the edges, spectra and file sizes of photographs; it is none. `python pictures.py OUT --count 2000` writes `00000.jpg` on:
sides from 640 x 480 to 1600 x 1200, one in four upright, quality 85 to 92, three in four with halved colours (4:2:0).
"""

import argparse
import multiprocessing
from pathlib import Path

import numpy as np
from PIL import Image

SEED = 11
TEXTURES = 12
SIDE = 2048
LEAVES = 60


def texture(number: int) -> np.ndarray:
    """`[SIDE, SIDE, 3]` uint8 whose amplitude falls as 1/f."""
    rng = np.random.default_rng([SEED, 1, number])
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None, :])
    f[0, 0] = 1
    fall = 1 / f ** rng.uniform(0.9, 1.3)
    planes = [np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) * fall) for _ in range(3)]
    planes = np.stack([plane / plane.std() for plane in planes], axis=2)
    # Brightness varies most, as in photographs; colours around one tint.
    mix = np.array([[1, 0.25, 0.1], [1, 0.0, -0.12], [1, -0.25, 0.1]])
    return np.clip(planes @ mix.T * rng.uniform(18, 42) + rng.uniform(60, 190, 3), 0, 255).astype(np.uint8)


def picture(textures: list, number: int) -> tuple:
    """The picture of this number, and how it is to be saved."""
    rng = np.random.default_rng([SEED, 2, number])
    width = int(rng.integers(640, 1601))
    height = max(480, int(width * rng.choice([0.75, 0.6667, 0.5625])))
    if rng.random() < 0.25:
        width, height = height, width

    def cut(w: int, h: int) -> np.ndarray:
        source = textures[int(rng.integers(len(textures)))]
        x, y = int(rng.integers(SIDE - w + 1)), int(rng.integers(SIDE - h + 1))
        return source[y : y + h, x : x + w][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]

    pixels = cut(width, height).copy()
    for _ in range(LEAVES):
        radius = int(min(12 / rng.random() ** 0.7, min(width, height) / 2.5))
        x, y = int(rng.integers(width)), int(rng.integers(height))
        left, top, right, bottom = (
            max(0, x - radius),
            max(0, y - radius),
            min(width, x + radius),
            min(height, y + radius),
        )
        if right <= left or bottom <= top:
            continue
        inside = np.hypot(np.arange(left, right) - x, (np.arange(top, bottom) - y)[:, None]) < radius
        pixels[top:bottom, left:right][inside] = cut(right - left, bottom - top)[inside]
    light = np.linspace(rng.uniform(0.7, 1.0), rng.uniform(0.9, 1.15), height, dtype=np.float32)[:, None, None]
    grain = rng.integers(-3, 4, (height, width, 1), dtype=np.int16)
    pixels = np.clip(pixels * light + grain, 0, 255).astype(np.uint8)
    return pixels, {"quality": int(rng.integers(85, 93)), "subsampling": int(rng.choice([2, 2, 2, 0]))}


def write(job: tuple) -> None:
    out, first, last = job
    textures = [np.load(out / f".texture-{number}.npy", mmap_mode="r") for number in range(TEXTURES)]
    for number in range(first, last):
        path = out / f"{number:05}.jpg"
        if not path.exists():
            pixels, saved = picture(textures, number)
            temporary = out / f".{number:05}.tmp"
            Image.fromarray(pixels).save(temporary, "JPEG", **saved)
            temporary.rename(path)


def make(out: Path, count: int) -> None:
    """Writes `count` pictures to `out`; those that are there stay."""
    out.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool(2) as pool:
        pool.starmap(keep_texture, [(out, number) for number in range(TEXTURES)])
        pool.map(write, [(out, first, min(first + 50, count)) for first in range(0, count, 50)], chunksize=1)
    for path in out.glob(".texture-*"):
        path.unlink()


def keep_texture(out: Path, number: int) -> None:
    np.save(out / f".texture-{number}.npy", texture(number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    make(arguments.out, arguments.count)


if __name__ == "__main__":
    main()
