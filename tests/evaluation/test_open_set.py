"""The score of "any of the classes", its threshold, and how well both part known painters from others."""

import math

import numpy as np
import pytest

from painters_mtl.evaluation import open_set


def test_the_threshold_keeps_95_of_100() -> None:
    rng = np.random.default_rng(0)
    for n in (20, 100, 1234):
        labels, scores = np.zeros(n + 50, int), rng.random(n + 50).astype(np.float32)
        labels[-50:] = -1  # others' works do not count
        limit = open_set.threshold(labels, scores)
        kept = np.count_nonzero(scores[:n] >= limit)
        assert kept == n - int(0.05 * n)
    assert open_set.threshold(np.zeros(9, int), np.ones(9)) == 0.0


def test_the_score_is_the_networks_odds_times_the_largest_probability() -> None:
    painter, style = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[0.9, 0.1], [0.3, 0.7]])
    scores = open_set.known_score(painter, np.array([[0.75, 0.25], [0.1, 0.9]]))
    np.testing.assert_allclose(scores / (1 - scores), [0.8 / 3, 0.6 * 9])  # odds of 1 : 3 and 9 : 1
    np.testing.assert_array_equal(open_set.known_score(style), [0.9, 0.7])
    np.testing.assert_array_equal(open_set.known_score(painter), [0.8, 0.6])
    assert open_set.known_score(painter[0], np.array([0.75, 0.25])) == scores[0]  # of one painting


def test_known_painters_and_others_are_counted_by_hand() -> None:
    """Of four known works three reach 0.5; of two others one lies below it, and 6 of the 8 pairs are in order."""
    scores = np.array([0.9, 0.8, 0.6, 0.1, 0.7, 0.05, 0.3])
    known = np.array([True, True, True, True, False, False, False])
    others = np.array([False, False, False, False, True, True, False])
    groups = {"not in training": others, "in training": np.zeros(7, bool)}
    measured = open_set.measure_unknown(scores, 0.5, known, groups)
    assert measured == {
        "threshold": 0.5,
        "kept": 0.75,
        "groups": {"not in training": {"n": 2, "refused": 0.5, "auroc": pytest.approx(6 / 8)}},
    }
    nobody = open_set.measure_unknown(scores, 0.5, np.zeros(7, bool), groups)
    assert math.isnan(nobody["kept"]) and nobody["groups"] == {}
