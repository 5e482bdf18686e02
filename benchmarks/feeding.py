"""Augmented images a second, from the cached images to batches, at 96 pixels.

    .venv/bin/python benchmarks/feeding.py ../shared/paintings/pbn64

The aim: 1,500 images/s on two cores, so that feeding is never what a training waits for.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.data.catalog import read_catalog
from painters_mtl.images.cache import build_image_cache, cache_side
from painters_mtl.training.sampling import EpochSampler, steps_in_epoch

SIZE, BATCH, ROUNDS = 96, 32, 3


def main(folder: Path) -> None:
    """Print images/s with the cached images in memory and mapped from disk."""
    lazy_imports.import_tensorflow()
    from painters_mtl.training.batches import BatchSequence, crop_batches

    table = read_catalog(folder).table
    for place, memory_gb in (("in memory", 4.0), ("from disk", 0.0)):
        images = build_image_cache(table, cache_side(SIZE), Path("data/cache"), memory_gb)
        rows = images.rows[images.rows >= 0]
        labels = {task: np.zeros(len(rows), np.int32) for task in ("painter", "style", "genre")}
        repeats = np.ones(len(rows))
        sampler = EpochSampler(repeats, BATCH, steps := steps_in_epoch(repeats, BATCH))
        sequence = BatchSequence(labels, partial(sampler.plan, seed=0), epochs=ROUNDS + 1, seed=0)
        batches = iter(crop_batches(images.pixels, rows, sequence, [SIZE] * sequence.epochs))
        next(batches)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(steps):
                next(batches)
            print(f"{place}: {steps * BATCH / (time.perf_counter() - start):,.0f} images/s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
