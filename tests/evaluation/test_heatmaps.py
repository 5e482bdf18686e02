"""Maps over pictures: how alike they are, where their cells lie, how they are drawn."""

import itertools

import numpy as np
import pytest

from painters_mtl.evaluation.heatmaps import mean_cosine, overlay, upsampled


def test_maps_of_different_pictures_are_less_alike_than_maps_of_one_place() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((6, 2, 3, 3)).astype(np.float32)
    flat = maps.reshape(6, -1)
    pairs = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(flat, 2)]
    assert mean_cosine(maps) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert mean_cosine(maps[:1].repeat(5, 0) * np.arange(1, 6)[:, None, None, None]) == pytest.approx(1)
    assert np.isnan(mean_cosine(maps[:1])) and mean_cosine(np.eye(9).reshape(9, 3, 3)) == pytest.approx(0)


# ------------------------------------------------------------------------------------------------- drawing


def test_a_map_is_stretched_over_the_whole_picture() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 3] = 1
    large = upsampled(heat, 800, 100)
    assert large.shape == (100, 800) and large.min() >= 0 and large.max() <= 1
    rows, columns = np.indices(large.shape) + 0.5
    assert (large * rows).sum() / large.sum() == pytest.approx(37.5, abs=3)  # the middle of the second of four rows
    assert (large * columns).sum() / large.sum() == pytest.approx(700, abs=30)
    np.testing.assert_allclose(upsampled(np.full((3, 3), 0.4, np.float32), 50, 70), 0.4, atol=1e-6)
    np.testing.assert_allclose(upsampled(heat[:, ::-1], 80, 60), upsampled(heat, 80, 60)[:, ::-1], atol=1e-6)


def test_the_overlay_is_half_picture_and_half_map() -> None:
    pixels = np.full((2, 2, 3), 100, np.uint8)
    shown = overlay(pixels, np.array([[0, 1], [0, 1]], np.float32))
    from matplotlib import colormaps

    for column, value in enumerate((0.0, 1.0)):
        wanted = 50 + 0.5 * 255 * np.array(colormaps["inferno"](value)[:3])
        np.testing.assert_allclose(shown[:, column], [wanted, wanted], atol=0.51)
    grey = overlay(np.uint8([[[255, 0, 0]]]), np.zeros((1, 1)), strength=0)
    np.testing.assert_array_equal(grey, [[[76, 76, 76]]])  # 0.299 x 255
