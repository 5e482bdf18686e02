"""Batches: labels and weights stay with their paintings, and the seed decides every pixel."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from painters_mtl.training.batches import (
    BatchSequence,
    CropEffects,
    crop_batches,
    feature_batches,
    labels_and_weights,
)
from painters_mtl.training.sampling import EpochSampler, epoch_order, label_repeats, steps_in_epoch


def random_images(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def test_a_missing_label_is_class_0_with_weight_0() -> None:
    labels = {"style": np.array([4, -1, 0, 2], np.int32), "genre": np.array([-1, -1, 1, 0], np.int32)}
    classes, weights = labels_and_weights(labels, np.array([3, 1, 0]))
    assert {k: v.tolist() for k, v in classes.items()} == {"style": [2, 0, 4], "genre": [0, 0, 0]}
    assert {k: v.tolist() for k, v in weights.items()} == {"style": [1, 0, 1], "genre": [1, 0, 0]}
    assert labels["style"].tolist() == [4, -1, 0, 2]  # not changed in place


N, SIDE, BATCH = 50, 24, 8
ROWS = np.random.default_rng(5).permutation(N)  # the cached image of each painting
LABELS = {
    "style": (np.arange(N) % 7 - 1).astype(np.int32),
    "genre": np.where(np.arange(N) < 10, np.arange(N) % 3, -1).astype(np.int32),
}


def numbered() -> np.ndarray:
    """Cached images with the painting's number in red; green grows from top to bottom, blue from left to right."""
    images = np.zeros((N, SIDE, SIDE, 3), np.uint8)
    images[ROWS, ..., 0] = 4 * np.arange(N)[:, None, None]
    images[..., 1] = (10 * np.arange(SIDE))[:, None]
    images[..., 2] = 10 * np.arange(SIDE)
    return images


def sequence_of(labels: dict[str, np.ndarray], repeats: np.ndarray, seed: int, epochs: int) -> BatchSequence:
    sampler = EpochSampler(repeats, BATCH, steps_in_epoch(repeats, BATCH))
    return BatchSequence(labels, lambda epoch: sampler.plan(epoch, seed), epochs, seed)


def batches(pixels: np.ndarray, seed: int = 0, epochs: int = 2) -> list[Any]:
    repeats = label_repeats(LABELS, 0.35)
    return list(
        crop_batches(pixels, ROWS, sequence_of(LABELS, repeats, seed, epochs), [16] * epochs).as_numpy_iterator()
    )


def test_labels_and_weights_stay_with_their_paintings() -> None:
    repeats = label_repeats(LABELS, 0.35)
    assert repeats.max() > 1
    steps = steps_in_epoch(repeats, BATCH)
    assert steps == int(repeats.sum()) // BATCH
    both_epochs = batches(numbered())
    assert len(both_epochs) == 2 * steps
    drawn = []
    for image, classes, weights, *_ in both_epochs:
        assert image.shape == (BATCH, 16, 16, 3) and image.dtype == np.float32
        paintings = np.rint(image[:, 0, 0, 0] / 4).astype(int)
        np.testing.assert_allclose(image[..., 0], np.broadcast_to(4 * paintings[:, None, None], (BATCH, 16, 16)))
        for name, values in LABELS.items():
            np.testing.assert_array_equal(weights[name], values[paintings] >= 0)
            np.testing.assert_array_equal(classes[name], np.where(values[paintings] >= 0, values[paintings], 0))
        drawn += paintings.tolist()
    for epoch in range(2):
        order = epoch_order(repeats, 0, epoch)
        np.testing.assert_array_equal(
            drawn[epoch * steps * BATCH : (epoch + 1) * steps * BATCH], np.resize(order, steps * BATCH)
        )


def test_a_batch_is_never_upside_down_and_some_are_mirrored() -> None:
    rising = []
    for image, *_ in batches(numbered()):
        assert (np.diff(image[..., 1], axis=1) > 0).all()  # green grows from top to bottom, always
        across = np.diff(image[..., 2], axis=2)
        assert ((across > 0).all(axis=(1, 2)) | (across < 0).all(axis=(1, 2))).all()
        rising += (across[:, 0, 0] > 0).tolist()
    assert 0.2 < np.mean(rising) < 0.8


def equal(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_seed_decides_every_pixel_and_the_epochs_differ(tmp_path: Path) -> None:
    images = random_images(N, SIDE)
    first = batches(images, seed=7)
    assert equal(first, batches(images, seed=7))
    assert not equal(first, batches(images, seed=8))
    steps = len(first) // 2
    assert not equal(first[:steps], first[steps:])
    images.tofile(tmp_path / "pixels.u8")
    assert equal(first, batches(np.memmap(tmp_path / "pixels.u8", np.uint8, "r", shape=images.shape), seed=7))


def test_fewer_paintings_than_a_batch_still_make_one() -> None:
    labels = {"style": np.array([0, 1, 2], np.int32)}
    dataset = crop_batches(random_images(3, 16), np.arange(3), sequence_of(labels, np.ones(3), 0, 1), [16])
    ((_, classes, *_),) = dataset.as_numpy_iterator()
    assert set(classes["style"].tolist()) == {0, 1, 2} and len(classes["style"]) == 8


def test_features_stay_with_their_labels_and_come_from_every_flip() -> None:
    features = np.stack([np.arange(N)[:, None].repeat(2, 1), np.tile([0, 1], (N, 1))], axis=2).astype(np.float32)
    repeats = label_repeats(LABELS, 0.35)
    drawn, flips = [], []
    steps = steps_in_epoch(repeats, BATCH)
    sequences = []
    for seed in (0, 0, 1):
        sequences.append(list(feature_batches(features, sequence_of(LABELS, repeats, seed, 3)).as_numpy_iterator()))
    assert equal(sequences[0], sequences[1]) and not equal(sequences[0], sequences[2])
    for values, classes, weights, _, rows, _ in sequences[0]:
        paintings, flip = values[:, 0].astype(int), values[:, 1].astype(int)
        for name, labels in LABELS.items():
            np.testing.assert_array_equal(weights[name], labels[paintings] >= 0)
            np.testing.assert_array_equal(classes[name], np.maximum(labels[paintings], 0))
        np.testing.assert_array_equal(rows, paintings)
        drawn += paintings.tolist()
        flips += flip.tolist()
    orders = [np.resize(epoch_order(repeats, 0, epoch), steps * BATCH) for epoch in range(3)]
    np.testing.assert_array_equal(drawn, np.concatenate(orders))
    assert abs(np.mean(flips) - 0.5) <= 5 * 0.5 / np.sqrt(len(flips))


def test_mixed_crops_bring_the_labels_of_both_paintings() -> None:
    """Where crops are of one colour, the red of a pixel says which painting it shows, and with it the label."""
    images = np.zeros((N, SIDE, SIDE, 3), np.uint8)
    images[ROWS] = (4 * np.arange(N))[:, None, None, None]
    sequence = sequence_of(LABELS, np.ones(N, np.int64), 0, 5)
    plain = list(crop_batches(images, ROWS, sequence, [16] * 5).as_numpy_iterator())
    both = list(crop_batches(images, ROWS, sequence, [16] * 5, CropEffects(mix=0.9)).as_numpy_iterator())
    steps = len(both) // 5
    assert len({*both[0].partners.shares}) > 1 and all((batch.partners.shares == 1).all() for batch in both[-steps:])
    for one, batch in zip(plain, both, strict=True):
        np.testing.assert_array_equal(one.rows, batch.rows)
        partners = batch.partners
        np.testing.assert_allclose(
            batch.images.mean(axis=(1, 2, 3)),
            4 * (partners.shares * batch.rows + (1 - partners.shares) * partners.rows),
            atol=0.1,
        )
        for head, labels in LABELS.items():
            np.testing.assert_array_equal(partners.labels[head], np.maximum(labels[partners.rows], 0))
            np.testing.assert_array_equal(partners.label_weights[head], labels[partners.rows] >= 0)


def test_colours_vary_and_the_crops_stay_where_they_are() -> None:
    sequence = sequence_of(LABELS, np.ones(N, np.int64), 0, 1)
    plain, varied, again = (
        next(crop_batches(random_images(N, SIDE), ROWS, sequence, [16], effects).as_numpy_iterator()).images
        for effects in (None, CropEffects(color=0.2), CropEffects(color=0.2))
    )
    np.testing.assert_array_equal(varied, again)
    for one, other in zip(plain, varied, strict=True):
        assert 0.9 < np.corrcoef(one.ravel(), other.ravel())[0, 1] < 1 and not np.array_equal(one, other)
