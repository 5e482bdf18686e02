"""Is it any of the classes at all? A score for each painting, and the threshold below which the label is "unknown"."""

from collections.abc import Mapping
from typing import Any

import numpy as np

KEPT = 0.95  # share of the works with a label that keep their name
MIN_FOR_THRESHOLD = 10  # labelled validation paintings; from fewer no threshold is set


def known_score(probabilities: np.ndarray, known_head: np.ndarray | None = None) -> np.ndarray:
    """How sure the network is that a painting belongs to any class of a task: float (...), 0 to 1.

    It is the largest probability (Hendrycks & Gimpel 2017, arXiv 1610.02136). Where the network has a known-class head
    for the task (`training.known_class_heads`), the odds that this head gives, times the largest
    probability, are the odds of the score. (Measured in docs/experiments.md: better than either.)

    Args:
        probabilities: of the task's classes, calibrated, float (..., classes).
        known_head: what the known-class head gives, float (..., 2): "another", "a known class".
    """
    largest = probabilities.max(axis=-1)
    if known_head is None:
        return largest
    other, known = np.moveaxis(np.asarray(known_head), -1, 0)
    return known * largest / (known * largest + other)


def threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The score that 95 % of the labelled paintings reach; 0.0, which all reach, where fewer than 10 have a label.

    Args:
        labels: int (n,), -1 for "no label".
        scores: from `known_score`, float (n,); of paintings that were not trained on.
    """
    ascending = np.sort(scores[labels >= 0])
    if len(ascending) < MIN_FOR_THRESHOLD:
        return 0.0
    # Rounded down, as the file holds it: what stands on the threshold keeps its name.
    return float(np.floor(1e6 * ascending[int((1 - KEPT) * len(ascending))]) / 1e6)


def measure_unknown(
    scores: np.ndarray, limit: float, known: np.ndarray, others: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """How well a score and its threshold separate works of a task's classes from others.

    Args:
        scores: of the test paintings, float (n,).
        limit: the threshold; a work with a lower score is called "unknown".
        known: bool (n,), the works of the task's classes, such as those by the painters that are classes.
        others: groups of works of something else, {group: bool (n,)}.

    Returns {"threshold", "kept": share of the known works at or above it (NaN without any), "groups": {group: {"n",
    "refused": share below it, "auroc": chance that a known work scores higher}}}; a group without works is left out.
    """
    from sklearn.metrics import roc_auc_score

    measured: dict[str, Any] = {"threshold": limit, "kept": float("nan"), "groups": {}}
    if not known.any():
        return measured
    measured["kept"] = float(np.mean(scores[known] >= limit))
    for group, works in others.items():
        if works.any():
            is_known = np.arange(known.sum() + works.sum()) < known.sum()
            auroc = roc_auc_score(is_known, np.concatenate([scores[known], scores[works]]))
            values = {"n": int(works.sum()), "refused": float(np.mean(scores[works] < limit)), "auroc": float(auroc)}
            measured["groups"][group] = values
    return measured
