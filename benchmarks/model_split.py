"""The split of the bundled model: most paintings train, and its test part is that of no other experiment.

    python benchmarks/model_split.py ../shared/paintings/wikiart split.csv

Begins with the split that `train --seed 0` draws (0.7, 0.15, 0.15). Half of its test part stays the test part. Variants
of the model were compared with that part in view (docs/model-card.md); what was chosen, validation alone chooses. Half
of its validation part stays too, with half of the held-out painters. All others train.
"""

import argparse
from pathlib import Path

import numpy as np

from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.data.settings import DataSettings
from painters_mtl.data.split_file import save_split


def split_with_more_training(data: Dataset) -> np.ndarray:
    """The part of each painting: half of the test groups and half of the validation groups go to train: str (n,)."""
    rng = np.random.default_rng(0)
    split, painters = data.split.copy(), data.table["painter"].to_numpy(str)
    trained = data.by_trained_painters()
    for part in ("validation", "test"):
        # A held-out painter moves with all works, any other painting with its near-copies.
        units = np.where(trained | (part == "test"), data.groups.astype(str), np.char.add("by ", painters))
        units_here = np.unique(units[split == part])
        moved = rng.choice(units_here, len(units_here) // 2, replace=False)
        split[(split == part) & np.isin(units, moved)] = "train"
    # A group of near-copies may hold a held-out painter's work and another one's.
    for part in ("test", "validation"):
        together = np.isin(data.groups, data.groups[split == part])
        split[together & (split == "train")] = part
    return split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("split", type=Path, help="the file to write")
    parser.add_argument("--cache", type=Path, default=Path("data/cache"))
    options = parser.parse_args()
    data = prepare(DataSettings(data=options.folder, image_size=128, cache=options.cache))
    split = split_with_more_training(data)
    options.split.parent.mkdir(parents=True, exist_ok=True)
    save_split(options.split, data.table, split, data.tasks)
    counts = ", ".join(f"{(split == part).sum():,} {part}" for part in ("train", "validation", "test"))
    print(f"{options.split}: {counts}")


if __name__ == "__main__":
    main()
