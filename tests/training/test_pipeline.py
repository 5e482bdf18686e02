"""From the store to batches: how often, in which order, through which crop; labels stay with their paintings."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from painters_mtl.common.iteration import in_batches
from painters_mtl.network.forward import augmented_crops, forward_function, whole_crops
from painters_mtl.training import batches as pipeline

# ------------------------------------------------------------------------------------------------- which paintings


@pytest.mark.parametrize(("share", "wanted"), [(0.2, 0.3), (0.25, 0.35), (0.1, 0.15), (0.3, 0.31)])
def test_repeats_reach_the_share(share: float, wanted: float) -> None:
    labels = np.where(np.arange(1000) < share * 1000, 3, -1)
    factor = pipeline.repeats({"style": labels}, wanted)
    assert factor[labels >= 0].sum() / factor.sum() == pytest.approx(wanted, abs=1e-12)
    assert (factor[labels < 0] == 1).all()


def test_repeats_have_a_limit() -> None:
    labels = np.where(np.arange(1000) < 10, 0, -1)
    factor = pipeline.repeats({"style": labels}, 0.5)
    assert (factor == np.where(labels >= 0, pipeline.MAX_REPEAT, 1)).all()


@pytest.mark.parametrize("share", [0.0, 0.35, 0.8, 1.0])
def test_frequent_labels_are_not_repeated(share: float) -> None:
    labels = np.where(np.arange(100) < share * 100, 0, -1)
    assert (pipeline.repeats({"style": labels}, 0.35) == 1).all()


def test_a_painting_with_two_scarce_labels_has_the_larger_factor() -> None:
    n = np.arange(1000)
    style, genre = np.where(n < 200, 0, -1), np.where(n % 10 == 0, 0, -1)
    alone = [pipeline.repeats({"one": values}, 0.25) for values in (style, genre)]
    assert alone[0].max() < alone[1].max()
    both = pipeline.repeats({"style": style, "genre": genre}, 0.25)
    np.testing.assert_array_equal(both, np.maximum(*alone))


def test_an_epoch_has_every_painting_as_often_as_its_factor_says() -> None:
    factor = np.repeat([1.0, 1.25, 2.7, 3.0], 4000)
    order = pipeline.epoch_order(factor, seed=3, epoch=0)
    times = np.bincount(order, minlength=len(factor))
    assert (times >= np.floor(factor)).all() and (times <= np.ceil(factor)).all()
    for value in np.unique(factor):
        part = value - np.floor(value)
        error = 5 * np.sqrt(part * (1 - part) / 4000)  # five standard deviations of a mean of 4,000 coin tosses
        assert abs(times[factor == value].mean() - value) <= error


def test_the_order_is_shuffled_by_seed_and_epoch() -> None:
    factor = np.full(500, 1.5)
    same = [pipeline.epoch_order(factor, 1, 2) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        other = pipeline.epoch_order(factor, seed, epoch)
        assert len(other) != len(same[0]) or (other != same[0]).any()
    once = pipeline.epoch_order(np.ones(500), 0, 0)
    assert sorted(once) == list(range(500)) and (once != np.arange(500)).any()


# ------------------------------------------------------------------------------------------------- views


def test_crops_lie_within_the_painting_upright_and_half_of_them_mirrored() -> None:
    n = 20_000
    top, left, bottom, right = pipeline.crops(n, np.random.default_rng(0)).astype(np.float64).T
    assert min(top.min(), left.min(), right.min()) >= 0 and max(bottom.max(), left.max(), right.max()) <= 1
    height, width = bottom - top, abs(right - left)
    assert (height > 0).all()  # never upside down
    assert (height * width >= pipeline.MIN_AREA - 1e-6).all()
    assert (abs(np.log(height / width)) <= 2 * pipeline.ASPECT + 1e-6).all()
    assert (height * width).max() > 0.97 and (height * width).min() < pipeline.MIN_AREA + 0.01
    mirrored = left > right
    assert abs(mirrored.mean() - 0.5) <= 5 * 0.5 / np.sqrt(n)
    # no side of the painting is favoured: crops lie as far from its left as from its right, mirrored or not
    for start, end in ((top, bottom), (np.minimum(left, right), np.maximum(left, right))):
        before, after = start, 1 - end
        assert abs((before - after).mean()) <= 5 * (before - after).std() / np.sqrt(n)


def random_copies(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def test_a_whole_view_of_the_same_size_is_the_copy() -> None:
    copies = random_copies(3, 33)
    seen = whole_crops(copies, 33).numpy()
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, copies)


def test_a_mirrored_box_is_the_mirrored_picture() -> None:
    copies = random_copies(2, 32)
    seen = augmented_crops(copies, np.array([[0, 1, 1, 0], [0, 0, 1, 1]], np.float32), 32).numpy()
    np.testing.assert_array_equal(seen, np.stack([np.flip(copies[0], axis=1), copies[1]]))


def test_a_view_is_the_bilinear_picture_of_its_own_box() -> None:
    copies = random_copies(6, 40)
    boxes = pipeline.crops(6, np.random.default_rng(1))
    assert {bool(b[1] > b[3]) for b in boxes} == {True, False}
    seen = augmented_crops(copies, boxes, 32).numpy()
    for copy, (top, start, bottom, end), found in zip(copies, boxes.astype(np.float64), seen, strict=True):
        grid = np.meshgrid(np.linspace(top, bottom, 32) * 39, np.linspace(start, end, 32) * 39, indexing="ij")
        by_scipy = np.stack([map_coordinates(copy[..., c].astype(np.float64), grid, order=1) for c in range(3)], -1)
        np.testing.assert_allclose(found, by_scipy, atol=0.01)


# ------------------------------------------------------------------------------------------------- batches


def test_a_missing_label_is_class_0_with_weight_0() -> None:
    labels = {"style": np.array([4, -1, 0, 2], np.int32), "genre": np.array([-1, -1, 1, 0], np.int32)}
    classes, weights = pipeline.masked(labels, np.array([3, 1, 0]))
    assert {k: v.tolist() for k, v in classes.items()} == {"style": [2, 0, 4], "genre": [0, 0, 0]}
    assert {k: v.tolist() for k, v in weights.items()} == {"style": [1, 0, 1], "genre": [1, 0, 0]}
    assert labels["style"].tolist() == [4, -1, 0, 2]  # not changed in place


N, SIDE, BATCH = 50, 24, 8
ROWS = np.random.default_rng(5).permutation(N)  # the copy of each painting
LABELS = {
    "style": (np.arange(N) % 7 - 1).astype(np.int32),
    "genre": np.where(np.arange(N) < 10, np.arange(N) % 3, -1).astype(np.int32),
}


def numbered() -> np.ndarray:
    """Copies that carry the painting's number in red, and in green and blue how far down and to the right one is."""
    copies = np.zeros((N, SIDE, SIDE, 3), np.uint8)
    copies[ROWS, ..., 0] = 4 * np.arange(N)[:, None, None]
    copies[..., 1] = (10 * np.arange(SIDE))[:, None]
    copies[..., 2] = 10 * np.arange(SIDE)
    return copies


def batches(pixels: np.ndarray, seed: int = 0, epochs: int = 2) -> list[Any]:
    factor = pipeline.repeats(LABELS, 0.35)
    steps = pipeline.steps_in_epoch(factor, BATCH)
    found = pipeline.training_batches(
        pixels, ROWS, LABELS, lambda epoch: pipeline.plan_epoch(factor, BATCH, steps, seed, epoch), [16] * epochs, seed
    )
    return list(found.as_numpy_iterator())


def test_labels_and_weights_stay_with_their_paintings() -> None:
    factor = pipeline.repeats(LABELS, 0.35)
    assert factor.max() > 1
    steps = pipeline.steps_in_epoch(factor, BATCH)
    assert steps == int(factor.sum()) // BATCH
    found = batches(numbered())
    assert len(found) == 2 * steps
    drawn = []
    for image, classes, weights, _, _ in found:
        assert image.shape == (BATCH, 16, 16, 3) and image.dtype == np.float32
        paintings = np.rint(image[:, 0, 0, 0] / 4).astype(int)
        np.testing.assert_allclose(image[..., 0], np.broadcast_to(4 * paintings[:, None, None], (BATCH, 16, 16)))
        for name, values in LABELS.items():
            np.testing.assert_array_equal(weights[name], values[paintings] >= 0)
            np.testing.assert_array_equal(classes[name], np.where(values[paintings] >= 0, values[paintings], 0))
        drawn += paintings.tolist()
    for epoch in range(2):
        order = pipeline.epoch_order(factor, 0, epoch)
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
    copies = random_copies(N, SIDE)
    first = batches(copies, seed=7)
    assert equal(first, batches(copies, seed=7))
    assert not equal(first, batches(copies, seed=8))
    steps = len(first) // 2
    assert not equal(first[:steps], first[steps:])
    copies.tofile(tmp_path / "pixels.u8")
    assert equal(first, batches(np.memmap(tmp_path / "pixels.u8", np.uint8, "r", shape=copies.shape), seed=7))


def test_fewer_paintings_than_a_batch_still_make_one() -> None:
    labels = {"style": np.array([0, 1, 2], np.int32)}
    plan = pipeline.plan_epoch(np.ones(3), 8, pipeline.steps_in_epoch(np.ones(3), 8), 0, 0)
    found = pipeline.training_batches(random_copies(3, 16), np.arange(3), labels, lambda _: plan, [16], 0)
    ((_, classes, _, _, _),) = found.as_numpy_iterator()
    assert set(classes["style"].tolist()) == {0, 1, 2} and len(classes["style"]) == 8


def test_features_stay_with_their_labels_and_come_through_every_view() -> None:
    features = np.stack([np.arange(N)[:, None].repeat(2, 1), np.tile([0, 1], (N, 1))], axis=2).astype(np.float32)
    factor = pipeline.repeats(LABELS, 0.35)
    drawn, seen = [], []
    steps = pipeline.steps_in_epoch(factor, BATCH)
    found = []
    for seed in (0, 0, 1):
        plans = [pipeline.plan_epoch(factor, BATCH, steps, seed, epoch) for epoch in range(3)]
        found.append(list(pipeline.feature_batches(features, LABELS, plans, seed).as_numpy_iterator()))
    assert equal(found[0], found[1]) and not equal(found[0], found[2])
    for values, classes, weights, _, rows in found[0]:
        paintings, view = values[:, 0].astype(int), values[:, 1].astype(int)
        for name, labels in LABELS.items():
            np.testing.assert_array_equal(weights[name], labels[paintings] >= 0)
            np.testing.assert_array_equal(classes[name], np.maximum(labels[paintings], 0))
        np.testing.assert_array_equal(rows, paintings)
        drawn += paintings.tolist()
        seen += view.tolist()
    orders = [np.resize(pipeline.epoch_order(factor, 0, epoch), steps * BATCH) for epoch in range(3)]
    np.testing.assert_array_equal(drawn, np.concatenate(orders))
    assert abs(np.mean(seen) - 0.5) <= 5 * 0.5 / np.sqrt(len(seen))


@pytest.mark.parametrize("sampling", ["uniform", "proportional", 0.0, 0.5, 1.0])
def test_turns_come_as_often_as_the_sampling_says_and_bring_labelled_paintings(sampling: str | float) -> None:
    known = {"a": np.arange(100) < 64, "b": np.arange(100) >= 84, "c": np.zeros(100, bool)}
    steps = 4000
    counts = [64, 16, 0]

    def planned(factor: np.ndarray) -> pipeline.Plan:
        return pipeline.plan_turns(known, counts, factor, sampling, 4, steps, 5, 2)

    plan = planned(np.ones(100))
    for task, values in enumerate(known.values()):
        assert values[plan.rows[plan.turns == task]].all()
    power = {"uniform": 0.0, "proportional": 1.0, 0.0: 1.0, 0.5: 0.5, 1.0: 0.0}[sampling]
    share = 64**power / (64**power + 16**power)
    found = np.bincount(plan.turns, minlength=3) / steps
    assert abs(found[0] - share) <= 5 * np.sqrt(share * (1 - share) / steps) and found[2] == 0
    drawn = np.bincount(plan.rows[plan.turns == 1].ravel(), minlength=100)[known["b"]]
    assert drawn.max() - drawn.min() <= 1  # round after round, each of its paintings once
    twice = planned(np.where(np.arange(100) < 32, 2.0, 1.0))
    drawn = np.bincount(twice.rows[twice.turns == 0].ravel(), minlength=100)[:64]
    assert drawn[:32].sum() / drawn.sum() == pytest.approx(2 / 3, abs=0.01)
    again = planned(np.ones(100))
    assert np.array_equal(again.rows, plan.rows) and np.array_equal(again.turns, plan.turns)


# ------------------------------------------------------------------------------------------------- inference


def test_inference_is_the_network_on_whole_views_for_any_number() -> None:
    image = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    network = keras.Model(image, {"style": keras.layers.Dense(4)(keras.layers.Flatten()(image))})
    forward = forward_function(network, 16)
    copies = random_copies(70, 20)
    for n in (1, 2, 70):
        wanted = network(whole_crops(copies[:n], 16), training=False)["style"].numpy()
        np.testing.assert_allclose(forward(copies[:n])["style"].numpy(), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("n", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (200, 64)])
def test_slices_cover_every_painting_once(n: int, size: int) -> None:
    parts = list(in_batches(n, size))
    assert list(itertools.chain(*(range(n)[part] for part in parts))) == list(range(n))
    assert all(part.stop - part.start <= size for part in parts) and len(parts) == -(-n // size)
