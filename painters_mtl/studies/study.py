"""A study from its data to its figures: the trainings, here or on a Ray cluster, and their comparison."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from painters_mtl import __version__
from painters_mtl.common.files import atomic_write, read_if_sound, write_json
from painters_mtl.common.messages import counted, say
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.seen_works import with_seen_in_train
from painters_mtl.data.split import make_folds
from painters_mtl.runs.run import COMPARISON
from painters_mtl.studies.comparison import SeedResults, compare, compare_strategies, study_table
from painters_mtl.studies.jobs import run_jobs, training_jobs
from painters_mtl.studies.settings import DISTILLED, CompareSettings
from painters_mtl.studies.timing import time_predictions

TABLE = "comparison.csv"


def train_all(
    data: Dataset, settings: CompareSettings, folder: Path, names: Sequence[str]
) -> tuple[dict[str, SeedResults], list[int]]:
    """The results of all trainings of a study, {strategy, or task that is trained alone: [seed][fold]}, and the seeds.

    Each strategy and task has the same seeds: after Ctrl-C those that are not complete are left out.

    Args:
        folder: for the run folders of the trainings; what is trained there already is read back.
        names: the tasks that are trained alone too.
    """
    datasets = datasets_of_folds(data, settings)
    kinds = [*settings.strategies, *names]
    jobs = training_jobs(settings, settings.seeds, settings.folds, kinds, folder)
    if settings.engine == "ray":
        from painters_mtl.studies.ray_jobs import run_jobs_on_ray  # Ray is an extra

        results = dict(run_jobs_on_ray(jobs, datasets, settings, settings.ray_address, settings.ray_cpus))
    else:
        results = dict(run_jobs(jobs, datasets, settings))
    seeds = [
        seed for seed in dict.fromkeys(job.seed for job in jobs) if all(j in results for j in jobs if j.seed == seed)
    ]
    sides: dict[str, SeedResults] = {
        kind: [[results[job] for job in jobs if (job.kind, job.seed) == (kind, seed)] for seed in seeds]
        for kind in kinds
    }
    return sides, seeds


def datasets_of_folds(data: Dataset, settings: CompareSettings) -> list[Dataset]:
    """The data with its one split, or with that of each fold."""
    if not settings.folds:
        return [data]
    splits = make_folds(data.labels, data.groups, settings.folds, settings.seed)
    if settings.weights != "imagenet" and data.seen is not None and data.few_seen():
        before, splits = splits, [with_seen_in_train(split, data.groups, data.seen) for split in splits]
        left_out = _tested(before) & ~_tested(splits)
        say(
            f"note: {counted(int(left_out.sum()), 'painting')} trained the model that the backbone starts from, as far "
            "as pictures tell, or are near-copies of one: they stay in train, and no fold tests them"
        )
    return [replace(data, split=split) for split in splits]


def _tested(splits: Sequence[np.ndarray]) -> np.ndarray:
    """Whether a painting is in the test part of any split: bool (n,)."""
    tested: np.ndarray = np.any([split == "test" for split in splits], axis=0)
    return tested


def compare_all(
    data: Dataset, settings: CompareSettings, sides: Mapping[str, SeedResults], names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The figures of each strategy, {strategy: result of `compare`}; but for the first with those "against" the first.

    Args:
        sides: of `train_all`.
        names: the tasks that are trained alone too.
    """
    milliseconds = time_predictions(data, settings, names)
    alone = {name: sides[name] for name in names}
    results: dict[str, dict[str, Any]] = {
        strategy: compare(data, sides[strategy], alone, milliseconds) for strategy in settings.strategies
    }
    if DISTILLED in results:  # the networks for one task each teach it, and have to be trained first
        cost = results[DISTILLED]["cost"]
        cost["teachers"] = {"training_seconds": cost["alone"]["training_seconds"]}
    first, *others = settings.strategies
    for strategy in others:
        results[strategy]["against"] = compare_strategies(data, sides[strategy], sides[first], names)
    return results


def made_with() -> dict[str, str | int]:
    """The versions and the machine that a study is trained with."""
    import keras
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    return {
        "painters-mtl": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "device": counted(gpus, "GPU") if gpus else "no GPU",
    }


def _accuracies(results: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What tells the trainings of a study from others: the accuracies of each strategy, as JSON holds them."""
    return {
        strategy: [values[side]["accuracy"][0] for values in result["tasks"].values() for side in ("alone", "shared")]
        for strategy, result in results.items()
    }


def write_results(
    folder: Path, data: Dataset, settings: CompareSettings, results: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write comparison.json, with what the trainings were made with, and comparison.csv."""
    seeds = results[settings.strategies[0]]["seeds"]
    study: dict[str, Any] = {"seeds": seeds, "folds": settings.folds, "budget": settings.budget, "demo": data.demo}
    before = read_if_sound(folder / COMPARISON)
    same = before and _accuracies(before.get("strategies", {})) == _accuracies(results)
    made = before.get("made_with") if same else made_with()  # of trainings that are only read back: as it was
    if made:  # not of a study that an earlier version trained
        study["made_with"] = made
    write_json(folder / COMPARISON, {**study, "strategies": results})
    with atomic_write(folder / TABLE) as temporary:
        study_table(results).to_csv(temporary, index=False)
