"""Count, then divide: what a task's probabilities are worth. Paintings without a label (-1) never count."""

from collections.abc import Mapping, Sequence

import numpy as np


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts of shape (classes, classes): rows are the true classes, columns the predicted ones; -1 is left out."""
    known = labels >= 0
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[known], predicted[known]), 1)
    return counts


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 over the classes that occur among the true or the predicted labels of a confusion matrix."""
    right, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    occurs = true + predicted > 0
    if not occurs.any():
        return float("nan")
    return float(np.mean(2 * right[occurs] / (true + predicted)[occurs]))


def task_metrics(labels: np.ndarray, probabilities: np.ndarray, top: int = 3) -> dict[str, float]:
    """Accuracy, top-k accuracy, macro-F1 and the number of labelled paintings.

    Args:
        labels: int of shape (n,), -1 for "no label".
        probabilities: float of shape (n, classes).

    Returns {"accuracy", "top3", "macro_f1", "majority", "n"}; shares are NaN where no painting has a label. `majority`
    is the accuracy of always answering the most frequent class of these very labels.
    """
    known = labels >= 0
    labels, probabilities = labels[known], probabilities[known]
    n, classes = probabilities.shape
    if n == 0:
        nan = float("nan")
        return {"accuracy": nan, f"top{top}": nan, "macro_f1": nan, "majority": nan, "n": 0}
    counts = confusion(labels, probabilities.argmax(axis=1), classes)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return {
        "accuracy": float(np.trace(counts) / n),
        f"top{top}": float((best == labels[:, None]).any(axis=1).sum() / n),
        "macro_f1": macro_f1(counts),
        "majority": float(counts.sum(axis=1).max() / n),
        "n": n,
    }


def all_metrics(
    labels: Mapping[str, np.ndarray], probabilities: Mapping[str, np.ndarray], rows: Sequence[int] | np.ndarray
) -> dict[str, dict[str, float]]:
    """`task_metrics` for every task; `rows` picks the paintings that the probabilities belong to."""
    return {name: task_metrics(np.asarray(labels[name])[rows], p) for name, p in probabilities.items()}


def mean_accuracy(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Mean accuracy over the tasks that have a labelled painting: the one score that stops and chooses a run."""
    accuracies = [m["accuracy"] for m in metrics.values() if m["n"]]
    return float(np.mean(accuracies)) if accuracies else float("nan")
