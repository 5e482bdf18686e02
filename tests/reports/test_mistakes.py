"""Which classes are taken for which: the most frequent first, in words, with what may be the reason."""

import numpy as np
import pytest
from made_results import collection, result

from painters_mtl.reports.mistakes import confusions_in_words, mistakes_figure, most_confused

CLASSES = {"style": ("Rococo", "Baroque", "Cubism")}


def sure_of(classes: list[int], confidence: list[float]) -> np.ndarray:
    """Probabilities with these likeliest classes."""
    rows = np.full((len(classes), 3), 0.0)
    rows[np.arange(len(classes)), classes] = confidence
    return rows


def test_most_mistakes_come_first_and_the_surest_of_each() -> None:
    labels = np.array([0, 0, 0, 1, 2, -1])
    first, second = most_confused(labels, sure_of([1, 0, 1, 0, 2, 1], [0.6, 0.9, 0.8, 0.7, 0.9, 0.9]))
    assert (first.true, first.predicted, first.positions.tolist(), first.works) == (0, 1, [2, 0], 3)
    assert (second.true, second.predicted, second.positions.tolist()) == (1, 0, [3])
    assert most_confused(labels, sure_of([0, 0, 0, 1, 2, 1], [1.0] * 6)) == []


def test_the_words_name_count_share_and_reason() -> None:
    data = collection(CLASSES)
    train, test = data.rows("train"), data.rows("test")
    data.labels["style"][train] = np.where(np.arange(len(train)) % 4, 1, 0)  # Baroque is three times as frequent
    data.labels["style"][test] = 0
    data.table["painter"] = "Watteau"
    training = result(data, ["style"], 1.0)
    training.test_probabilities["style"] = sure_of([1] * 30 + [0] * (len(test) - 30), [1.0] * len(test))
    (sentence,) = confusions_in_words(data, training, "style")
    assert sentence.startswith(f"Rococo is taken for Baroque: 30 of {len(test)} works (25 %).")
    assert "Baroque is the more frequent class: it has 90 training paintings, Rococo 30." in sentence
    assert "30 of these are by painters who have training works of Baroque too." in sentence


@pytest.mark.parametrize("skill", [0.5, 1.0])
def test_pictures_stand_beside_the_class_they_were_taken_for(skill: float) -> None:
    data = collection(CLASSES)
    figure = mistakes_figure(data, result(data, ["style"], skill), "style")
    if figure is None:
        assert skill == 1.0
        return
    titles = [axis.get_title() for axis in figure.axes[:4]]
    other = titles[1].partition("\n")[2]
    assert f"taken for {other}" in titles[0] and titles[1:] == [f"in training:\n{other}"] * 3
    assert all(len(axis.images) == 1 for axis in figure.axes[:4])
