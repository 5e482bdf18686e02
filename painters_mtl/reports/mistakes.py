"""Which classes are taken for which: in words, and with the pictures beside works of the class they were taken for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.balance import class_counts
from painters_mtl.reports.figures import thumbnail

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult

MOST = 6  # pairs of classes that are told of each task
WITH_PICTURES = 4
BESIDE = 3  # training works of the class that was named, beside a mistake


@dataclass(frozen=True)
class Confusion:
    """Works of one class that were taken for another."""

    true: int
    predicted: int
    positions: np.ndarray
    """Of these works among the test paintings: int (mistakes,), the surest first."""
    works: int
    """Test paintings of the true class."""


def most_confused(labels: np.ndarray, probabilities: np.ndarray, most: int = MOST) -> list[Confusion]:
    """The pairs of classes (true, predicted) with the most mistakes, those with most first.

    Args:
        labels: int (n,), -1 for "no label": such a painting is left out.
        probabilities: float (n, classes), each row's largest is the answer.
    """
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero((labels >= 0) & (labels != predicted))
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    found = []
    for k in np.argsort(-counts, kind="stable")[:most]:
        true, other = (int(value) for value in pairs[k])
        positions = wrong[(labels[wrong] == true) & (predicted[wrong] == other)]
        positions = positions[np.argsort(-sure[positions], kind="stable")]
        found.append(Confusion(true, other, positions, int((labels == true).sum())))
    return found


def confusions_in_words(data: Dataset, result: "RunResult", task: str) -> list[str]:
    """A sentence for each pair of classes that is confused most, with what may be the reason."""
    labels, classes = data.labels[task], data.tasks[task].classes
    trained = class_counts(labels[data.rows("train")], len(classes))
    sentences = []
    for pair in most_confused(labels[result.test_rows], result.test_probabilities[task]):
        true, other, count = classes[pair.true], classes[pair.predicted], len(pair.positions)
        share = f"{100 * count / pair.works:.0f} %"
        sentence = f"{true} is taken for {other}: {count:,} of {pair.works:,} works ({share})."
        if 2 * trained[pair.true] <= trained[pair.predicted]:
            sentence += (
                f" {other} is the more frequent class: it has {trained[pair.predicted]:,} training paintings, "
                f"{true} {trained[pair.true]:,}."
            )
        both = _by_painters_of_both(data, result, task, pair)
        if both > 1:
            sentence += f" {both:,} of these are by painters who have training works of {other} too."
        sentences.append(sentence)
    return sentences


def _by_painters_of_both(data: Dataset, result: "RunResult", task: str, pair: Confusion) -> int:
    """How many of the mistakes are by painters who have training works of the class that was named."""
    if task == "painter" or "painter" not in data.table:
        return 0
    painters, train = data.table["painter"].to_numpy(), data.rows("train")
    known = {name for name in painters[train][data.labels[task][train] == pair.predicted] if name}
    return sum(painters[row] in known for row in result.test_rows[pair.positions])


@dataclass(frozen=True)
class Mistake:
    """A test painting that was taken for another class, and what that class looks like."""

    true: str
    predicted: str
    confidence: float
    pixels: np.ndarray
    """uint8 (h, w, 3), as those of the next field."""
    beside: list[np.ndarray]
    """Training paintings of the class that was predicted."""


def surest_mistakes(data: Dataset, result: "RunResult", task: str) -> list[Mistake]:
    """The surest mistake of each of the most confused pairs, with training works of the class it was taken for."""
    labels, classes = data.labels[task], data.tasks[task].classes
    probabilities = result.test_probabilities[task]
    train, rng = data.rows("train"), np.random.default_rng(0)
    mistakes = []
    for pair in most_confused(labels[result.test_rows], probabilities, WITH_PICTURES):
        position = int(pair.positions[0])
        beside = rng.permutation(train[labels[train] == pair.predicted])[:BESIDE]
        mistakes.append(
            Mistake(
                classes[pair.true],
                classes[pair.predicted],
                float(probabilities[position][pair.predicted]),
                thumbnail(data, int(result.test_rows[position])),
                [thumbnail(data, int(row)) for row in beside],
            )
        )
    return mistakes
