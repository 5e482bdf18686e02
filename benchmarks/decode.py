"""Decoding as the image cache does it, beside a loop of Pillow's full decode and resize, in one run, same threads.

    python benchmarks/decode.py [FOLDER] [--rounds 5] [--sizes 120 224]

The rounds alternate, the figures are medians. Both sides read the file's bytes and give RGB pixels of the same size.

Measured on the 73 readable originals (7 rounds, two cores, a training running beside it: expect other rates, and ratios
that vary by a fifth), images/s of Pillow, ours, and the ratio:

    120 px, 1 thread    46   139   3.1        224 px, 1 thread    40   104   2.5
    120 px, 2 threads   75   261   3.4        224 px, 2 threads   41   105   2.5

The larger the originals are beside the size asked for, the more is gained: most of these have a megapixel or less.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from painters_mtl.images import files as images

ORIGINALS = Path(__file__).resolve().parents[2] / "shared" / "paintings" / "originals"


def pillow(path: str, size: int) -> np.ndarray:
    """What is commonly written: decode in full, then resize (bicubic, Pillow's default)."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((size, size)))


def ours(path: str, size: int) -> np.ndarray:
    """The project's way."""
    return images.load_image(path, square=size).pixels


def seconds(decode: Callable[[str, int], np.ndarray], paths: list[str], size: int, threads: int) -> float:
    """Time to decode all of `paths` once."""
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode, paths, [size] * len(paths)):
            pass
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each size and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=ORIGINALS, type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[120, 224])
    options = parser.parse_args()
    paths = []
    for file in images.find_images(options.folder):
        try:
            images.load_image(file, square=32)
            paths.append(file.path)
        except images.Unreadable as refusal:
            print(f"left out: {refusal}")
    for size in options.sizes:
        gap = [np.abs(pillow(p, size).astype(int) - ours(p, size)).mean() for p in paths]
        print(f"{size} px: mean difference {np.mean(gap):.2f} grey levels, {np.median(gap):.2f} in the median file")
        for threads in (1, 2):
            times: dict[str, list[float]] = {"pillow": [], "ours": []}
            for _ in range(options.rounds):
                times["pillow"].append(seconds(pillow, paths, size, threads))
                times["ours"].append(seconds(ours, paths, size, threads))
            rates = {name: len(paths) / statistics.median(values) for name, values in times.items()}
            ratios = [a / b for a, b in zip(times["pillow"], times["ours"], strict=True)]
            print(
                f"{size} px, {threads} thread(s): Pillow {rates['pillow']:.1f} images/s, ours {rates['ours']:.1f}, "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
