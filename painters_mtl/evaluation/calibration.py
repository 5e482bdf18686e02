"""Do confidences mean what they say? Temperature scaling, and how to see whether it was needed."""

import numpy as np

BINS = 15
RANGE = (0.05, 20.0)  # of temperatures
DRAWS = 200  # of `error_by_chance`
MIN_LABELLED = 20  # labelled validation paintings; from fewer no temperature is fitted


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at a temperature: the softmax of the logits divided by it; float32, shape as given.

    Above 1 they become less sure, below 1 surer; the order of the classes stays. Applied at t and then at
    1 / t, it gives the same probabilities back.
    """
    p = np.maximum(probabilities.astype(np.float64), 1e-12)
    powers = (p / p.max(axis=1, keepdims=True)) ** (1 / temperature)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature at which the labels are likeliest (Guo et al. 2017, arXiv 1706.04599, temperature scaling).

    Args:
        labels: int of shape (n,), -1 for "no label".
        probabilities: float of shape (n, classes), of paintings that were not trained on.

    1.0 where fewer than 20 paintings have a label.
    """
    labelled = labels >= 0
    if labelled.sum() < MIN_LABELLED:
        return 1.0
    logits = np.log(np.maximum(probabilities[labelled].astype(np.float64), 1e-12))
    return likeliest_temperature(labels[labelled], logits)[0]


def likeliest_temperature(labels: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """The temperature at which the labels are likeliest, and the mean cross-entropy that is left there.

    Args:
        labels: int of shape (n,), none missing.
        logits: float of shape (n, classes), or the logarithms of probabilities.
    """
    from scipy.optimize import minimize_scalar  # not at the top: who only predicts need not wait for it
    from scipy.special import log_softmax

    rows = np.arange(len(labels))

    def surprise(log_temperature: float) -> float:
        return -float(np.mean(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels]))

    minimum = minimize_scalar(surprise, bounds=np.log(RANGE), method="bounded")
    return float(np.exp(minimum.x)), float(minimum.fun)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For 15 bins of confidence of equal width: mean confidence, accuracy, paintings; NaN in an empty bin."""
    labelled = labels >= 0
    confidence = probabilities[labelled].max(axis=1).astype(np.float64)
    right = probabilities[labelled].argmax(axis=1) == labels[labelled]
    where = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(where, minlength=BINS)
    with np.errstate(invalid="ignore"):
        return (
            np.bincount(where, confidence, BINS) / counts,
            np.bincount(where, right, BINS) / counts,
            counts,
        )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the bins of `reliability`."""
    confidence, accuracy, counts = reliability(labels, probabilities)
    filled = counts > 0
    if not filled.any():
        return float("nan")
    return float(np.average(np.abs(confidence - accuracy)[filled], weights=counts[filled]))


def error_by_chance(labels: np.ndarray, probabilities: np.ndarray, seed: int = 0) -> float:
    """The `calibration_error` that confidences would have on average on these paintings if they were exactly right.

    It is not 0: of ten paintings with a confidence of 70 %, seldom just seven are right. The error is above the truth
    by about as much (Roelofs et al. 2022, Mitigating bias in calibration error estimation, arXiv 2012.08668).
    """
    confidence = probabilities[labels >= 0].max(axis=1).astype(np.float64)
    if not len(confidence):
        return float("nan")
    where = np.minimum((confidence * BINS).astype(int), BINS - 1)
    sums, rng = np.bincount(where, confidence, BINS), np.random.default_rng(seed)
    drawn = [np.bincount(where, rng.random(len(where)) < confidence, BINS) for _ in range(DRAWS)]
    return float(np.mean(np.abs(np.stack(drawn) - sums).sum(axis=1)) / len(confidence))
