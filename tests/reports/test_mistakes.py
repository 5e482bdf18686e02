"""Which classes are taken for which: the most frequent first, in words, with what may be the reason."""

import numpy as np
from made_results import collection, result

from painters_mtl.reports.mistakes import confusions_in_words, most_confused, surest_mistakes

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


def test_pictures_stand_beside_the_class_they_were_taken_for() -> None:
    data = collection(CLASSES)
    training = result(data, ["style"], 0.5)
    labels, probabilities = data.labels["style"][training.test_rows], training.test_probabilities["style"]
    pairs = most_confused(labels, probabilities)
    mistakes = surest_mistakes(data, training, "style")
    for mistake, pair in zip(mistakes, pairs, strict=False):
        assert (mistake.true, mistake.predicted) == (CLASSES["style"][pair.true], CLASSES["style"][pair.predicted])
        surest = pair.positions[0]
        assert mistake.confidence == probabilities[surest].max()
        pixels = data.images.pixels
        assert (mistake.pixels == pixels[data.image_rows[training.test_rows[surest]]]).all()
        of_class = data.rows("train")[data.labels["style"][data.rows("train")] == pair.predicted]
        assert len(mistake.beside) == 3
        assert all(any((one == pixels[row]).all() for row in of_class) for one in mistake.beside)
    assert len(mistakes) == 4
    assert surest_mistakes(data, result(data, ["style"], 1.0), "style") == []
