"""The nearest of each picture, and how many share its label: by hand, and against a plain loop."""

import numpy as np
import pytest

from painters_mtl.evaluation.neighbours import agreement_of_neighbours, nearest_others


def angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1) * np.arange(1, 1 + len(degrees))[:, None]


def test_the_nearest_come_in_order_without_near_copies() -> None:
    vectors, groups = angles(0, 1, 10, 30), np.array([5, 5, 6, 7])
    found = nearest_others(vectors, groups, 3)
    assert found.tolist() == [[2, 3, -1], [2, 3, -1], [1, 0, 3], [2, 1, 0]]


def test_average_precision_by_hand() -> None:
    """Of the first picture the places are right, wrong, right, where two could be: (1 + 2/3) / 2."""
    vectors, labels = angles(0, 1, 2.5, 4, 170), np.array([0, 0, 1, 0, -1])
    # from 0: 1 2 3, right wrong right; from 1: 0 2 3, the same; from 3: 2 1 0, wrong right right
    share, precision = agreement_of_neighbours(vectors, labels, np.arange(5), 3)
    assert share == pytest.approx(2 / 3)
    assert precision == pytest.approx(np.mean([(1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]))


@pytest.mark.parametrize("seed", range(5))
def test_against_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, count = 60, 7
    vectors, groups, labels = rng.normal(size=(n, 4)), rng.integers(25, size=n), rng.integers(-1, 6, n)
    labels[0] = 6  # the only one of its class
    shares, precisions = [], []
    for i in np.flatnonzero(labels >= 0):
        others = [j for j in np.flatnonzero(labels >= 0) if groups[j] != groups[i]]
        cosine = {j: vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j]) for j in others}
        right = [labels[j] == labels[i] for j in sorted(others, key=lambda j: -cosine[j])[:count]]
        possible = sum(labels[j] == labels[i] for j in others)
        if possible:
            shares.append(sum(right) / count)
            parts = [np.mean(right[: k + 1]) for k in range(len(right)) if right[k]]
            precisions.append(sum(parts) / min(possible, count))
    found = agreement_of_neighbours(vectors, labels, groups, count)
    assert found == pytest.approx((np.mean(shares), np.mean(precisions)), abs=1e-6)


def test_without_a_pair_there_is_no_figure() -> None:
    assert np.isnan(agreement_of_neighbours(angles(0, 5), np.array([0, 1]), np.arange(2))).all()
    assert np.isnan(agreement_of_neighbours(angles(0, 5), np.array([0, 0]), np.zeros(2, int))).all()
    assert np.isnan(agreement_of_neighbours(angles(0, 5), np.array([-1, -1]), np.arange(2))).all()
