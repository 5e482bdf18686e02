"""Balanced probabilities against closed forms, and what they do to rare classes."""

import numpy as np
import pytest

from painters_mtl.evaluation.balance import balance, class_counts
from painters_mtl.evaluation.metrics import mean_recall


def test_at_full_strength_it_is_bayes_rule_under_equal_shares() -> None:
    """p(class | x) is share * likelihood: without the share the likelihoods are left, brought to sum 1."""
    rng = np.random.default_rng(0)
    counts, likelihood = np.array([700, 250, 50]), rng.random((40, 3))
    said = counts * likelihood / (counts * likelihood).sum(axis=1, keepdims=True)
    expected = likelihood / likelihood.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(balance(said, counts, 1.0), expected, atol=1e-6)


def test_half_of_it_is_the_square_root() -> None:
    found = balance(np.array([0.8, 0.2]), [90, 10], 0.5)
    np.testing.assert_allclose(found, np.array([0.8 / 3, 0.2]) / (0.8 / 3 + 0.2), atol=1e-6)
    assert found.dtype == np.float32 and found.shape == (2,)


@pytest.mark.parametrize("counts", [[5, 5, 5], [1, 1, 1]])
def test_where_all_classes_are_alike_or_at_strength_0_nothing_changes(counts: list[int]) -> None:
    said = np.random.default_rng(1).dirichlet([1, 1, 1], 20)
    np.testing.assert_allclose(balance(said, counts, 0.7), said, atol=1e-6)
    np.testing.assert_allclose(balance(said, [900, 9, 1], 0.0), said, atol=1e-6)


def test_a_class_that_was_never_trained_stays_finite() -> None:
    assert np.isfinite(balance(np.array([[0.5, 0.5, 0.0]]), [3, 0, 4], 1.0)).all()


def test_rare_classes_are_found_more_often_the_stronger_it_is() -> None:
    """One-dimensional classes around 0, 1 and 2, a hundredth of the works in the last; exact posteriors."""
    rng = np.random.default_rng(2)
    shares = np.array([0.7, 0.29, 0.01])
    labels = rng.choice(3, 20_000, p=shares)
    x = rng.normal(labels, 0.7)
    posterior = shares * np.exp(-((x[:, None] - np.arange(3)) ** 2) / (2 * 0.49))
    posterior /= posterior.sum(axis=1, keepdims=True)
    predicted = [balance(posterior, shares * 1e6, s).argmax(axis=1) for s in (0.0, 0.25, 0.5, 0.75, 1.0)]
    recalls = [mean_recall(labels, each, 3) for each in predicted]
    accuracies = [np.mean(each == labels) for each in predicted]
    assert recalls == sorted(recalls) and recalls[-1] > recalls[0] + 0.15
    assert accuracies == sorted(accuracies, reverse=True)


def test_counts_leave_out_paintings_without_a_label() -> None:
    assert class_counts(np.array([0, 2, -1, 2, -1], np.int32), 4) == [1, 0, 2, 0]
