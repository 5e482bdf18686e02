"""Deletion, insertion and the check of a map, on models whose answers are known in closed form."""

import numpy as np
import pytest

from painters_mtl.evaluation import faithfulness as f


@pytest.mark.parametrize(("cells", "to"), [(4, 16), (3, 12), (10, 12), (64, 16), (17, 12), (12, 12), (1, 5)])
def test_nothing_is_lost_from_one_grid_to_another(cells: int, to: int) -> None:
    shares = f.resampling_matrix(cells, to)
    assert shares.shape == (to, cells) and (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    middles = (np.arange(to) + 0.5) / to @ shares  # where what a cell held lies afterwards
    np.testing.assert_allclose(middles, (np.arange(cells) + 0.5) / cells, atol=0.5 / min(cells, to))
    if cells == to:
        np.testing.assert_array_equal(shares, np.eye(to))


def test_finer_cells_are_gathered_where_they_lie() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 24, 36))
    np.testing.assert_allclose(f.resample(maps), maps.reshape(2, 12, 2, 12, 3).sum(axis=(2, 4)))


def test_areas_of_a_linear_model() -> None:
    """Weights that fall linearly: after a share t of the cells, the best first, (1 - t)^2 of the answer is left."""
    n = 144
    weights = np.diff((np.arange(n + 1) / n) ** 2)
    shuffled = np.random.default_rng(0).permutation(weights).reshape(12, 12)
    for steps in (12, 144):
        deletion, insertion = f.curve_masks(shuffled, steps)
        down, up = (np.tensordot(masks, shuffled, 2) for masks in (deletion, insertion))
        assert down[0] == pytest.approx(1) and up[-1] == pytest.approx(1) and down[-1] == up[0] == 0
        assert f.area(down) == pytest.approx(1 / 3 + 1 / (6 * steps**2))
        assert f.area(up) == pytest.approx(2 / 3 - 1 / (6 * steps**2))
        worst, _ = f.curve_masks(-shuffled, steps)  # the worst cells first
        assert f.area(np.tensordot(worst, shuffled, 2)) == pytest.approx(2 / 3 - 1 / (6 * steps**2))
    rng = np.random.default_rng(1)
    regions = [f.area(np.tensordot(f.curve_masks(f.random_region(rng))[0], shuffled, 2)) for _ in range(200)]
    assert np.mean(regions) == pytest.approx(1 / 2, abs=0.02)


def test_log_odds_still_move_where_the_probability_does_not() -> None:
    logits = np.array([[30.0, 0, 1], [40, 0, 1], [0.5, 0.2, 0.1]])
    p = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    assert p[0, 0] == p[1, 0] == 1
    wanted = logits[:, 0] - np.log(np.exp(logits[:, 1:]).sum(axis=1))
    np.testing.assert_allclose(f.log_odds(p, 0), wanted, rtol=1e-5)
    assert np.isfinite(f.log_odds(np.float32([[0, 1], [1, 0]]), 0)).all()


@pytest.mark.parametrize("shape", [(12, 12), (16, 16), (2, 9, 9)])
def test_the_check_covers_as_many_cells_in_the_same_figure(shape: tuple[int, ...]) -> None:
    heat = np.random.default_rng(3).random(shape)
    masks = f.control_masks(heat, np.random.default_rng(0))
    assert masks.shape == (20, *shape)
    covered = masks.reshape(20, -1) == 0
    assert set(covered.sum(axis=1)) == {round(0.2 * heat.size)}
    assert heat.ravel()[covered[0]].min() > heat.ravel()[~covered[0]].max()
    spectra = np.abs(np.fft.fft2(masks)).reshape(20, *shape).sum(axis=tuple(range(1, masks.ndim - 2)))
    np.testing.assert_allclose(
        np.sort(spectra.reshape(20, -1)), np.sort(spectra[:1].reshape(1, -1)).repeat(20, 0), atol=1e-3
    )
    assert len(np.unique(covered, axis=0)) > 15


def test_a_true_map_stands_out_and_a_random_one_does_not() -> None:
    """Of a linear model: its own weights always, what knows nothing of it in one of 20 cases."""
    rng, own, none = np.random.default_rng(0), [], []
    for _ in range(400):
        weights = f.random_region(rng)
        for maps, found in ((weights, own), (f.random_region(rng), none)):
            found.append(f.exceeds_controls(np.tensordot(f.control_masks(maps, rng), weights, 2)))
    assert np.mean(own) > 0.97
    assert 0.02 < np.mean(none) < 0.09
    assert not f.exceeds_controls(np.zeros(20))  # an answer that never changes proves nothing


def test_mean_and_interval() -> None:
    mean, half = f.mean_and_interval(np.array([1.0, 2, 3, 6]))
    assert mean == 3 and half == pytest.approx(1.96 * np.sqrt(14 / 3) / 2)
    assert np.isnan(f.mean_and_interval(np.ones(1))[1])
