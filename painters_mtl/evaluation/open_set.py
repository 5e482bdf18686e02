"""Is it by any of them? A score for each task, and the threshold below which the answer is "unknown"."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.data.tasks import known_output

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset

KEPT = 0.95  # share of the works with a label that keep their name
FEWEST = 10  # labelled validation paintings; from fewer no threshold is set


def known_scores(probabilities: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], task: str) -> np.ndarray:
    """How sure it is that a painting belongs to any class of a task: float32 (n,), 0 to 1.

    It is the largest probability (Hendrycks & Gimpel 2017, arXiv 1610.02136). A network with an output `{task}_known`,
    (n, 2), was fitted to works of others too: then the odds that it gives there, times the largest probability,
    are the odds of this score. (Measured in docs/experiments.md: better than either.)

    Args:
        probabilities: of the tasks, {task: (n, classes)}, calibrated.
        outputs: all that the network gave.
    """
    largest = probabilities[task].max(axis=-1)
    if (answers := outputs.get(known_output(task))) is None:
        return largest
    other, own = np.moveaxis(np.asarray(answers), -1, 0)
    return own * largest / (own * largest + other)


def threshold(labels: np.ndarray, found: np.ndarray) -> float:
    """The score that 95 % of the labelled paintings reach; 0.0, which all reach, where fewer than 10 have a label.

    Args:
        labels: int (n,), -1 for "no label".
        found: their scores, float (n,); of paintings that were not trained on.
    """
    reached = np.sort(found[labels >= 0])
    if len(reached) < FEWEST:
        return 0.0
    # Rounded down, as the file holds it: what stands on the threshold keeps its name.
    return float(np.floor(1e6 * reached[int((1 - KEPT) * len(reached))]) / 1e6)


def measure_unknown(data: "Dataset", found: np.ndarray, limit: float) -> dict[str, Any]:
    """How well the score parts the known painters' test works from those of others.

    Args:
        found: the painter scores of the test paintings, in order, float (n,).
        limit: the threshold.

    Returns {"threshold", "kept": share of the known painters' works at or above it, "groups": {group: {"n",
    "refused": share below it, "auroc": chance that a known painter's work scores higher}}} for works of painters
    "not in training" and of other painters "in training"; a group without works is left out.
    """
    from sklearn.metrics import roc_auc_score

    rows = data.rows("test")
    names, known = data.table["painter"].to_numpy()[rows], data.labels["painter"][rows] >= 0
    trained = data.of_trained_painters()[rows]
    groups = {"not in training": ~trained & (names != ""), "in training": trained & ~known & (names != "")}
    measured: dict[str, Any] = {"threshold": limit, "kept": float("nan"), "groups": {}}
    if known.any():
        measured["kept"] = float(np.mean(found[known] >= limit))
    for group, chosen in groups.items():
        if chosen.any() and known.any():
            both = np.concatenate([found[known], found[chosen]])
            truth = np.arange(len(both)) < known.sum()
            values = {"n": int(chosen.sum()), "refused": float(np.mean(found[chosen] < limit))}
            measured["groups"][group] = values | {"auroc": float(roc_auc_score(truth, both))}
    return measured
