"""Temperature scaling and calibration error, on answers whose calibration is known."""

import numpy as np
import pytest
from scipy.special import softmax

from painters_mtl.evaluation.calibration import (
    apply_temperature,
    calibration_error,
    error_by_chance,
    fit_temperature,
    reliability,
)


def answers(temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the probabilities of some logits, and those of the logits times `temperature`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 5)) * 2
    p = softmax(logits, axis=1)
    labels = (rng.random((n, 1)) < p.cumsum(axis=1)).argmax(axis=1)
    return labels, softmax(logits * temperature, axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found_and_mends_the_error(temperature: float) -> None:
    labels, p = answers(temperature)
    found = fit_temperature(labels, p)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(labels, apply_temperature(p, found)) < 0.012
    if temperature != 1:
        assert calibration_error(labels, p) > 0.08
    assert (apply_temperature(p, found).argmax(axis=1) == p.argmax(axis=1)).all()


def test_soften_is_undone_by_its_inverse() -> None:
    _, p = answers(1.0, 50)
    np.testing.assert_allclose(apply_temperature(apply_temperature(p, 2.5), 1 / 2.5), p, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(apply_temperature(p, 2.5), softmax(np.log(p) / 2.5, axis=1), rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.001, 0.05, 1.0, 20.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_soften_at_the_ends(temperature: float, dtype: type) -> None:
    p = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.2, 0.1]], dtype)
    wanted = softmax(np.log(np.maximum(p.astype(np.float64), 1e-12)) / temperature, axis=1)
    np.testing.assert_allclose(apply_temperature(p, temperature), wanted, rtol=1e-6, atol=1e-12)


def test_the_error_by_hand() -> None:
    """Two answers at 0.9 of which one is right, two at 0.6 of which both are: (0.4 + 0.4) / 2."""
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.5, 0.5]])
    labels = np.array([0, 1, 0, 0, -1])
    assert calibration_error(labels, p) == pytest.approx(0.4)
    confidence, accuracy, counts = reliability(labels, p)
    assert counts[counts > 0].tolist() == [2, 2] and accuracy[13] == 0.5 and confidence[9] == pytest.approx(0.6)


def test_without_labels_nothing_is_fitted() -> None:
    p = np.full((40, 2), 0.5)
    assert fit_temperature(np.full(40, -1), p) == 1.0 and fit_temperature(np.r_[np.zeros(19, int), [-1] * 21], p) == 1.0
    assert np.isnan(calibration_error(np.full(40, -1), p))


def test_exactly_right_confidences_show_an_error_by_chance_alone() -> None:
    """Of n paintings with one confidence p it is the mean distance of a binomial share, about 0.8 of its deviation."""
    for n, p in ((50, 0.7), (2000, 0.9)):
        probabilities = np.tile([p, 1 - p], (n, 1))
        expected = np.sqrt(2 / np.pi * p * (1 - p) / n)
        assert error_by_chance(np.zeros(n, int), probabilities) == pytest.approx(expected, rel=0.2)
    assert np.isnan(error_by_chance(np.full(3, -1), np.full((3, 2), 0.5)))
