"""Answers that name rare classes too: probabilities as if all classes of a task were more alike in number."""

from collections.abc import Sequence

import numpy as np

STRENGTH = 0.6  # measured in docs/experiments.md: what it gives to rare classes, and what it costs


def balance(probabilities: np.ndarray, counts: Sequence[int] | np.ndarray, strength: float = STRENGTH) -> np.ndarray:
    """Probabilities divided by (share of the class in training) ** strength, and brought to sum 1 again.

    It is logit adjustment after training (Menon et al. 2021, arXiv 2007.07314): a network names what it saw often, and
    so gets the most paintings right, but hardly ever names a rare class. At strength 1 the answer is the likeliest
    class if all classes were equally frequent, which gets the most right on the mean over the classes; at 0 nothing
    changes.

    Args:
        probabilities: float (..., classes), calibrated.
        counts: training paintings of each class, (classes,). A class without any counts as if it had one.
        strength: 0 to 1.

    Returns float32 of the same shape.
    """
    shares = np.maximum(np.asarray(counts, np.float64), 1)
    adjusted = np.asarray(probabilities, np.float64) * (shares / shares.sum()) ** -strength
    return (adjusted / adjusted.sum(axis=-1, keepdims=True)).astype(np.float32)


def class_counts(labels: np.ndarray, classes: int) -> list[int]:
    """How many paintings have each class, from int labels (n,) with -1 for "no label"."""
    return np.bincount(labels[labels >= 0], minlength=classes).tolist()
