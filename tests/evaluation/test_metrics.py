"""The metrics against scikit-learn's."""

import math
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier

from painters_mtl.evaluation.metrics import all_metrics, class_f1, confusion, macro_f1, mean_accuracy, task_metrics

NOBODY = np.full(3, -1)  # training labels of paintings without one


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, some of them -1, and probabilities that know a little of them; some classes may not occur."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(1, 200)), int(rng.integers(4, 25))
    labels = rng.integers(-1, rng.integers(1, classes + 1), n)
    scores = rng.random((n, classes)) + 0.5 * (np.arange(classes) == labels[:, None])
    return labels.astype(np.int32), (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(40))
def test_against_scikit_learn(seed: int) -> None:
    labels, probabilities = random_case(seed)
    if (labels < 0).all():
        labels[0] = 0
    known = labels >= 0
    true, predicted = labels[known], probabilities[known].argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    training = random_case(seed + 1000)[0] % len(classes)
    found = task_metrics(labels, probabilities, training)
    assert set(found) == {"accuracy", "top3", "mean_recall", "macro_f1", "majority", "n"} and found["n"] == known.sum()
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(true, predicted), abs=1e-12)
    top3 = sk.top_k_accuracy_score(true, probabilities[known], k=3, labels=classes)
    assert found["top3"] == pytest.approx(top3, abs=1e-12)
    f1 = sk.f1_score(true, predicted, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1, abs=1e-12)
    recall = sk.recall_score(true, predicted, labels=np.unique(true), average="macro")
    assert found["mean_recall"] == pytest.approx(recall, abs=1e-12)
    always = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(training), 1)), training)
    assert found["majority"] == pytest.approx(always.score(np.zeros((len(true), 1)), true), abs=1e-12)
    np.testing.assert_array_equal(
        confusion(labels, probabilities.argmax(axis=1), len(classes)),
        sk.confusion_matrix(true, predicted, labels=classes),
    )


@pytest.mark.parametrize("seed", range(10))
def test_paintings_without_a_label_change_nothing(seed: int) -> None:
    labels, probabilities = random_case(seed)
    rng = np.random.default_rng(seed)
    more = rng.random((50, probabilities.shape[1])).astype(np.float32)
    order = rng.permutation(len(labels) + 50)
    padded = np.concatenate([labels, np.full(50, -1, np.int32)])[order]
    padded_probabilities, training = np.concatenate([probabilities, more])[order], random_case(seed + 100)[0]
    training %= probabilities.shape[1]
    padded_training = np.concatenate([training, np.full(20, -1)])
    assert task_metrics(padded, padded_probabilities, padded_training) == task_metrics(labels, probabilities, training)


def test_top_k_by_hand() -> None:
    probabilities = np.array([[0.4, 0.3, 0.2, 0.1]] * 4)
    assert task_metrics(np.arange(4), probabilities, NOBODY, top=2)["top2"] == 0.5
    assert task_metrics(np.arange(4), probabilities, NOBODY, top=4)["top4"] == 1.0
    assert task_metrics(np.array([0, 1]), np.array([[0.4, 0.6]] * 2), NOBODY)["top3"] == 1.0  # fewer than three classes


def test_majority_is_the_class_most_frequent_in_training() -> None:
    """Class 2 is most frequent on test, class 0 in training: two of six, and not three of six."""
    labels, probabilities = np.array([0, 2, 2, 0, 1, 2, -1]), np.full((7, 3), 1 / 3)
    assert task_metrics(labels, probabilities, np.array([0, 1, 0, -1, 2, -1, -1, -1]))["majority"] == 2 / 6
    assert task_metrics(labels, probabilities, np.array([1, 2]))["majority"] == 1 / 6  # a tie: the first of them
    assert math.isnan(task_metrics(labels, probabilities, NOBODY)["majority"])


def test_f1_and_confusions_by_hand() -> None:
    """True 0 0 1 1 3, predicted 0 1 1 1 2: class 4 is nowhere, 2 and 3 are never right."""
    labels, predicted = np.array([0, 0, 1, 1, 3, -1]), np.array([0, 1, 1, 1, 2, 4])
    np.testing.assert_allclose(class_f1(labels, predicted, 5), [2 / 3, 4 / 5, 0, 0, np.nan])
    assert macro_f1(labels, predicted, 5) == pytest.approx((2 / 3 + 4 / 5) / 4)
    counts = np.zeros((5, 5), int)
    counts[0, 0] = counts[0, 1] = counts[3, 2] = 1
    counts[1, 1] = 2
    np.testing.assert_array_equal(confusion(labels, predicted, 5), counts)


def test_without_any_label() -> None:
    for labels, n in ((np.full(5, -1), 5), (np.zeros(0, int), 0)):
        found = task_metrics(labels, np.full((n, 3), 1 / 3), np.zeros(4, int))
        assert found.pop("n") == 0
        assert set(found) == {"accuracy", "top3", "mean_recall", "macro_f1", "majority"}
        assert all(map(math.isnan, found.values()))
        assert math.isnan(macro_f1(labels, labels, 3)) and not confusion(labels, labels, 3).any()


def test_rows_pick_the_paintings_and_tasks_do_not_mix() -> None:
    labels = {"style": np.array([0, 1, 0, 1]), "genre": np.array([1, -1, 0, -1])}
    rows, training = np.array([3, 0]), np.array([2, 1])
    right, wrong = np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([[0.5, 0.5], [0.9, 0.1]])
    found = all_metrics(labels, {"style": right, "genre": wrong}, rows, training)
    assert found["style"]["accuracy"] == 1 and found["style"]["n"] == 2
    assert found["genre"]["accuracy"] == 0 and found["genre"]["n"] == 1
    assert found["style"]["majority"] == 0.5 and found["genre"]["majority"] == 0


def test_mean_accuracy_is_over_the_tasks_with_a_label() -> None:
    nothing = task_metrics(np.array([-1]), np.ones((1, 2)), NOBODY)
    half = {"accuracy": 0.5, "n": 10}
    whole = {"accuracy": 1.0, "n": 1}
    assert mean_accuracy({"painter": half, "style": whole, "genre": nothing}) == 0.75
    assert math.isnan(mean_accuracy({"genre": nothing}))


def test_memory_grows_with_the_classes_and_not_with_their_square() -> None:
    classes, n = 5_000, 20
    labels = np.arange(n, dtype=np.int32) * 7
    probabilities = np.zeros((n, classes), np.float32)
    probabilities[np.arange(n), np.where(np.arange(n) < 15, labels, 0)] = 1
    task_metrics(labels, probabilities, labels)  # what is imported late is there
    tracemalloc.start()
    found = task_metrics(labels, probabilities, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["mean_recall"] == 0.75 and peak < 20_000_000  # a confusion matrix has 200 MB
