"""How the preparation grows with the paintings: the catalogue's tables, the copies among them, the split.

    .venv/bin/python benchmarks/preparing.py ../shared/paintings/pbn64

Prints seconds, and the exponent between two sizes (1 is linear; looking for copies compares every two hashes).
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.duplicates import THUMBNAIL, group_near_copies
from painters_mtl.data.split import make_split

SIZES = (20_000, 80_000)


def seconds(command: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    command()
    return time.process_time() - start


def main(folder: Path) -> None:
    """Print the table."""
    print(f"reading the catalogue of {folder}: {seconds(lambda: read_catalog(folder)):.1f} s")
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"copies": [], "split": []}
    for n in SIZES:
        names = [f"{k:06d}" for k in range(n)]
        table = pd.DataFrame({"id": names, "painter": names, "title": names, "competition": ""}, dtype=object)
        hashes = rng.integers(0, 2**64, n, np.uint64)
        shares = {"painter": (8, 0.2), "style": (10, 0.9), "genre": (23, 0.9)}
        labels = {k: np.where(rng.random(n) < share, rng.integers(m, size=n), -1) for k, (m, share) in shares.items()}
        groups = rng.integers(0, n, n)
        noise = rng.integers(0, 256, (n, THUMBNAIL, THUMBNAIL), np.uint8)
        found["copies"].append(seconds(lambda t=table, h=hashes, p=noise: group_near_copies(t, h, p.__getitem__)))
        found["split"].append(seconds(lambda t=table, v=labels, g=groups: make_split(t, v, g)))
    for name, (few, many) in found.items():
        exponent = np.log(many / few) / np.log(SIZES[1] / SIZES[0])
        print(f"{name}: {few:.1f} s for {SIZES[0]:,}, {many:.1f} s for {SIZES[1]:,}, exponent {exponent:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
