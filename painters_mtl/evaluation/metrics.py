"""Accuracy, mean recall, macro-F1, confusions of a task's probabilities. Paintings without a label (-1) never count."""

from collections.abc import Mapping, Sequence

import numpy as np

NAN = float("nan")


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 (classes, classes): rows are the true classes, columns the predicted ones.

    Args:
        labels: int (n,), -1 for "no label": such a painting is left out.
        predicted: int (n,), the predicted classes.
        classes: how many classes the task has.
    """
    labelled = labels >= 0
    places = labels[labelled].astype(np.int64) * classes + predicted[labelled]
    return np.bincount(places, minlength=classes * classes).reshape(classes, classes)


def class_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """F1 of each class, float64 (classes,); NaN for a class that is neither a label nor a prediction.

    Memory grows with the classes, not with their square as that of a confusion matrix. Arguments as in `confusion`.
    """
    from sklearn.metrics import f1_score  # late: what only predicts must not wait for it

    labelled = labels >= 0
    if not labelled.any():
        return np.full(classes, NAN)
    labels, predicted = labels[labelled], predicted[labelled]
    return f1_score(labels, predicted, labels=np.arange(classes), average=None, zero_division=NAN)


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that are a label or a prediction; NaN without any. Arguments as in `confusion`."""
    scores = class_f1(labels, predicted, classes)
    return float(np.mean(scores[~np.isnan(scores)])) if not np.isnan(scores).all() else NAN


def mean_recall(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean over the classes of the share of their paintings that is named right; NaN without a label.

    Classes without a painting do not count. Also called balanced accuracy. Memory and arguments as of `class_f1`.
    """
    labelled = labels >= 0
    paintings = np.bincount(labels[labelled], minlength=classes)
    right = np.bincount(labels[labelled & (predicted == labels)], minlength=classes)
    there = paintings > 0
    return float(np.mean(right[there] / paintings[there])) if there.any() else NAN


def task_metrics(
    labels: np.ndarray, probabilities: np.ndarray, training_labels: np.ndarray, top: int = 3
) -> dict[str, float]:
    """Accuracy, top-k accuracy, mean recall, macro-F1, the majority baseline and the number of labelled paintings.

    Args:
        labels: int (n,), -1 for "no label".
        probabilities: float (n, classes).
        training_labels: int (m,), those of the training paintings, -1 for "no label".
        top: k of the top-k accuracy: a label counts as right where it is among the k likeliest classes.

    Returns {"accuracy", "top3", "mean_recall", "macro_f1", "majority", "n"}; shares are NaN where no painting has a
    label. `majority` is the accuracy of always predicting the class that is most frequent in training (of several, the
    first): what somebody reaches who has seen the training labels, and no painting.
    """
    labelled = labels >= 0
    labels, probabilities = labels[labelled], probabilities[labelled]
    n, classes = probabilities.shape
    if n == 0:
        shares = ("accuracy", f"top{top}", "mean_recall", "macro_f1", "majority")
        return {**dict.fromkeys(shares, NAN), "n": 0}
    predicted = probabilities.argmax(axis=1)
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    training_counts = np.bincount(training_labels[training_labels >= 0], minlength=classes)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        f"top{top}": float(np.mean((likeliest == labels[:, None]).any(axis=1))),
        "mean_recall": mean_recall(labels, predicted, classes),
        "macro_f1": macro_f1(labels, predicted, classes),
        "majority": float(np.mean(labels == training_counts.argmax())) if training_counts.any() else NAN,
        "n": n,
    }


def all_metrics(
    labels: Mapping[str, np.ndarray],
    probabilities: Mapping[str, np.ndarray],
    rows: Sequence[int] | np.ndarray,
    training_rows: Sequence[int] | np.ndarray,
) -> dict[str, dict[str, float]]:
    """`task_metrics` of every task, {task: metrics}.

    Args:
        labels: of all paintings, {task: int (paintings,)}.
        probabilities: {task: float (n, classes)}, of the paintings `rows`.
        rows: int (n,), the paintings to measure on.
        training_rows: int (m,), the paintings that were trained on.
    """
    return {
        name: task_metrics(np.asarray(labels[name])[rows], values, np.asarray(labels[name])[training_rows])
        for name, values in probabilities.items()
    }


def mean_accuracy(metrics: Mapping[str, Mapping[str, float]]) -> float:
    """Mean accuracy over the tasks that have a labelled painting: the one score that stops and chooses a run."""
    accuracies = [values["accuracy"] for values in metrics.values() if values["n"]]
    return float(np.mean(accuracies)) if accuracies else NAN
