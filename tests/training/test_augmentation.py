"""Boxes of random crops."""

import numpy as np

from painters_mtl.training import augmentation


def test_crops_lie_within_the_painting_upright_and_half_of_them_mirrored() -> None:
    n = 20_000
    top, left, bottom, right = augmentation.random_crops(n, np.random.default_rng(0)).astype(np.float64).T
    assert min(top.min(), left.min(), right.min()) >= 0 and max(bottom.max(), left.max(), right.max()) <= 1
    height, width = bottom - top, abs(right - left)
    assert (height > 0).all()  # never upside down
    assert (height * width >= augmentation.MIN_AREA - 1e-6).all()
    assert (abs(np.log(height / width)) <= 2 * augmentation.ASPECT + 1e-6).all()
    assert (height * width).max() > 0.97 and (height * width).min() < augmentation.MIN_AREA + 0.01
    mirrored = left > right
    assert abs(mirrored.mean() - 0.5) <= 5 * 0.5 / np.sqrt(n)
    # no side of the painting is favoured: crops lie as far from its left as from its right, mirrored or not
    for start, end in ((top, bottom), (np.minimum(left, right), np.maximum(left, right))):
        before, after = start, 1 - end
        assert abs((before - after).mean()) <= 5 * (before - after).std() / np.sqrt(n)


def test_random_squares_lie_inside_the_picture() -> None:
    boxes = augmentation.random_squares(500, 0.8, np.random.default_rng(0))
    top, left, bottom, right = boxes.T
    np.testing.assert_allclose(bottom - top, 0.8, rtol=1e-5)
    np.testing.assert_allclose(np.abs(right - left), 0.8, rtol=1e-5)
    assert boxes.min() >= 0 and boxes.max() <= 1 + 1e-6 and 0.4 < np.mean(left > right) < 0.6


def test_mixes_show_as_much_of_the_own_painting_as_they_say() -> None:
    n = 20_000
    mixes = augmentation.random_mixes(n, 0.6, np.random.default_rng(0))
    top, left, bottom, right = mixes.boxes.T
    area = (bottom - top) * (right - left)
    blended, pasted = mixes.opacities < 1, area > 0
    assert not (blended & pasted).any()
    for kind in (blended, pasted):
        assert abs(kind.mean() - 0.3) <= 5 * 0.5 / np.sqrt(n)
    np.testing.assert_allclose(mixes.shares, mixes.opacities - area, atol=1e-6)
    assert mixes.shares.min() >= 0.5 and mixes.boxes.min() >= 0 and mixes.boxes.max() <= 1
    assert sorted(mixes.partners) == list(range(n))
    assert np.ptp(augmentation.random_mixes(50, 0.0, np.random.default_rng(0)).shares) == 0


def test_the_last_fifth_of_the_epochs_mixes_nothing() -> None:
    assert [augmentation.mixes_in_epoch(epoch, 10) for epoch in range(10)] == [True] * 8 + [False] * 2
    assert not augmentation.mixes_in_epoch(0, 1)
