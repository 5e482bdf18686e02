"""`--weights paintings` beside `--weights imagenet` on another collection, the same folds and seeds.

    python benchmarks/starts.py ../shared/paintings/gallery --trained-on ../shared/paintings/wikiart
    python benchmarks/starts.py ../shared/paintings/pbn64 --trained-on ../shared/paintings/wikiart --image-size 64

Works that are in the collection of the bundled model too are left out: those whose pictures are near-copies by
hash and pixels, whatever painter and title say (`data/duplicates.py`). Accuracy is over the test works of all folds,
with the difference and its 95 % interval, drawn by painter; then the seconds and epochs of the trainings, and how soon
each start comes to the same accuracy: the best mean accuracy that ImageNet's start has in the validation of a fold.
"""

import argparse
import logging
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from model_card import over_painters

from painters_mtl.common.lazy_imports import import_tensorflow
from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.data.duplicates import group_near_copies
from painters_mtl.data.split import make_folds
from painters_mtl.images.cache import build_image_cache, cache_side
from painters_mtl.training.settings import TrainSettings

STARTS = ("imagenet", "paintings")


def in_both(data: Dataset, other: Path, image_size: int, cache: Path) -> np.ndarray:
    """Which works of `data` are near-copies of a work in the folder `other`, by their pictures alone: bool (n,)."""
    table = read_catalog(other).table
    images = build_image_cache(table, cache_side(image_size), cache)
    kept = images.rows >= 0
    here = data.images.hashes[data.images.rows >= 0]
    hashes = np.concatenate([here, images.hashes[kept]])
    thumbnails = np.concatenate([data.images.thumbnails[data.image_rows], images.thumbnails[images.rows[kept]]])
    groups = group_near_copies(pd.DataFrame(index=range(len(hashes))), hashes, thumbnails)  # no painter and no title
    return np.isin(groups[: len(here)], groups[len(here) :])


@dataclass(frozen=True)
class Trained:
    """What the trainings on all folds came to."""

    right: dict[str, np.ndarray]  # {task: float (n,)}: whether the answer for a test work is right; NaN for others
    seconds: list[float]  # by fold
    scores: list[list[float]]  # by fold, after each epoch: mean accuracy of the tasks in validation


def train_on_folds(data: Dataset, settings: TrainSettings, splits: list[np.ndarray]) -> Trained:
    """Train on each fold, and keep what is measured."""
    from painters_mtl.training.fit import fit

    trained = Trained({name: np.full(len(data.table), np.nan) for name in data.tasks}, [], [])
    for split in splits:
        with tempfile.TemporaryDirectory() as folder:
            fold = replace(data, split=split)
            result = fit(fold, settings, Path(folder) / "run", keep_model=False)
        trained.seconds.append(result.metrics["training_seconds"])
        trained.scores.append(result.history["val_score"].tolist())
        for name, probabilities in result.test_probabilities.items():
            labels = data.labels[name][result.test_rows]
            known = labels >= 0
            trained.right[name][result.test_rows[known]] = (probabilities.argmax(1) == labels)[known]
    return trained


def time_to_reach(trained: Trained, goals: list[float]) -> str:
    """The epochs and seconds, over all folds, until the validation accuracy of a fold is at its goal: a sentence."""
    epochs, seconds, reached = 0, 0.0, 0
    for spent, scores, goal in zip(trained.seconds, trained.scores, goals, strict=True):
        there = next((epoch for epoch, score in enumerate(scores, 1) if score >= goal), None)
        reached += there is not None
        epochs += there or len(scores)
        seconds += spent * (there or len(scores)) / len(scores)
    missed = len(goals) - reached
    return f"{epochs} epochs, {seconds:.0f} s" + f" ({missed} of {len(goals)} folds never come to it)" * bool(missed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--trained-on", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--fine-tune", nargs="+", default=["heads", "top"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path("data/cache"))
    options = parser.parse_args()
    import_tensorflow()
    logging.getLogger("painters_mtl").setLevel("WARNING")
    settings = TrainSettings(data=options.data, image_size=options.image_size, cache=options.cache)
    data = prepare(settings)
    left_out = in_both(data, options.trained_on, options.image_size, options.cache)
    print(f"{left_out.sum():,} of {len(left_out):,} works are in {options.trained_on} too, and left out", flush=True)
    splits = [np.where(left_out, "", split) for split in make_folds(data.labels, data.groups, options.folds)]
    named = data.table["painter"].to_numpy(str)
    painters = np.where(named == "", data.groups.astype(str), named)
    print("| trained | task | works | from ImageNet | from paintings | difference (95 %) |", "|---" * 6 + "|", sep="\n")
    for part in options.fine_tune:
        measured = {}
        started = time.perf_counter()
        for weights in STARTS:
            measured[weights] = train_on_folds(data, replace(settings, fine_tune=part, weights=weights), splits)
        for name in data.tasks:
            one, other = (measured[weights].right[name] for weights in STARTS)
            works = ~np.isnan(one)
            gain, low, high = (100 * value for value in over_painters((other - one)[works], painters[works]))
            shares = " | ".join(f"{100 * side[works].mean():.1f} %" for side in (one, other))
            ends = f"{low:+.1f} to {high:+.1f}"
            print(f"| {part} | {name} | {works.sum():,} | {shares} | {gain:+.1f} ({ends}) |", flush=True)
        goals = [max(scores) for scores in measured[STARTS[0]].scores]
        for weights, trained in measured.items():
            epochs = sum(map(len, trained.scores))
            print(
                f"{part}, {weights}: {sum(trained.seconds):.0f} s in {epochs} epochs; "
                f"to the best validation accuracy from {STARTS[0]} {time_to_reach(trained, goals)}",
                flush=True,
            )
        print(f"{part}: {time.perf_counter() - started:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
