"""A small collection and results of trainings on it, made of arrays: for tests of comparisons and reports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.images.cache import ImageCache
from painters_mtl.training.run_result import RunResult

SIDE = 12


def collection(
    classes: Mapping[str, Sequence[str]], n: int = 240, painters: int = 12, seed: int = 0, unknown: float = 0.1
) -> Dataset:
    """Paintings of random colours and labels, half of them test works; a tenth has no known painter.

    Where "painter" is a task, its classes are the names of the first painters.
    """
    rng = np.random.default_rng(seed)
    names = np.array([*classes.get("painter", ()), *(f"Painter {k}" for k in range(painters))], object)[:painters]
    by = np.where(rng.random(n) < unknown, "", names[rng.integers(painters, size=n)])
    tasks = {name: Task(name, tuple(values)) for name, values in classes.items()}
    labels = {name: rng.integers(-1, len(task.classes), size=n).astype(np.int32) for name, task in tasks.items()}
    if "painter" in tasks:
        labels["painter"] = tasks["painter"].encode(by)
    table = pd.DataFrame({"id": [f"{k}.png" for k in range(n)], "file": [f"{k}.png" for k in range(n)], "member": "",
                          "painter": by, "title": "", "date": ""})  # fmt: skip
    for name, task in tasks.items():
        table[name] = task.decode(labels[name]) if name != "painter" else by
    pixels = rng.integers(256, size=(n, SIDE, SIDE, 3)).astype(np.uint8)
    none = pd.DataFrame({"id": []})
    small = np.zeros((n, 32, 32), np.uint8)
    hashes = np.zeros(n, np.uint64)
    cache = ImageCache(pixels, np.arange(n), np.array([""] * n), hashes, small, none, none, Path("no-cache"))
    split = np.array(["train", "test"], object)[np.arange(n) % 2]
    return Dataset(table, tasks, labels, split, cache, np.arange(n), groups=np.arange(n) // 2)


def result(
    data: Dataset, tasks: Sequence[str], skill: float, seed: int = 0, rows: np.ndarray | None = None, **more: Any
) -> RunResult:
    """A training whose labels are right with probability `skill` and at random otherwise."""
    rng = np.random.default_rng(seed)
    rows = data.rows("test") if rows is None else rows
    probabilities = {}
    for name in tasks:
        classes = len(data.tasks[name].classes)
        labels = data.labels[name][rows]
        guess = np.where((rng.random(len(rows)) < skill) & (labels >= 0), labels, rng.integers(classes, size=len(rows)))
        scores = rng.random((len(rows), classes)) + 3.0 * (np.arange(classes) == guess[:, None])
        probabilities[name] = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_score": [0.3, 0.4]}
    history |= {f"val_{name}_accuracy": [0.3, 0.4] for name in tasks}
    metrics = {"training_seconds": 10.0 + seed, "updates": 100, "parameters": 1000 * len(tasks)}
    return RunResult(pd.DataFrame(history | more), metrics, rows, probabilities, interrupted=False)
