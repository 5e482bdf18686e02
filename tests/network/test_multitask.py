"""The network: a dict of softmax heads on shared features, parts that are parts, and a file that gives it back."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import small_network

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.network.graph import FEATURES
from painters_mtl.network.multitask import features_model, heads_model, with_heads

TASKS = {name: Task(name, tuple("abcdefgh"[:n])) for name, n in (("painter", 3), ("style", 5), ("genre", 8))}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def tiny(tasks: dict[str, Task] = TASKS, **changes: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return small_network(tasks, **({"fine_tune": "all"} | changes))


def outputs(model: keras.Model, images: Any = IMAGES) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in model(images, training=False).items()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("layers", [{}, {"shared_layers": (12,), "task_layers": (16, 12)}])
def test_outputs_are_probabilities_by_task(layers: dict[str, Any]) -> None:
    found = outputs(tiny(**layers))
    assert {name: p.shape for name, p in found.items()} == {"painter": (6, 3), "style": (6, 5), "genre": (6, 8)}
    for p in found.values():
        assert p.dtype == np.float32 and (p >= 0).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
        assert (p[0] != p[1]).any()  # they depend on the picture


def test_uint8_and_float_pictures_are_the_same() -> None:
    model = tiny()
    same(outputs(model, IMAGES), outputs(model, IMAGES.astype(np.float32)))


def test_other_sizes_are_taken_too() -> None:
    """Crops in training are smaller than the whole paintings of prediction; an even colour looks the same in both."""
    model = tiny(shared_layers=(12,))
    wide = np.random.default_rng(1).integers(0, 256, (2, 40, 56, 3), np.uint8)
    assert {name: p.shape for name, p in outputs(model, wide).items()} == {
        "painter": (2, 3), "style": (2, 5), "genre": (2, 8)
    }  # fmt: skip
    maps = model.get_layer("small_convnet")(np.full((1, 160, 160, 3), 90, np.float32), training=False)
    larger = model.get_layer("small_convnet")(np.full((1, 320, 320, 3), 90, np.float32), training=False)
    np.testing.assert_allclose(np.asarray(maps)[0, 5, 5], np.asarray(larger)[0, 10, 10], rtol=1e-4, atol=1e-6)


def test_one_task_is_the_single_task_network() -> None:
    model = tiny({"style": TASKS["style"]})
    assert set(model.output) == {"style"} and outputs(model)["style"].shape == (6, 5)
    assert {layer.name for layer in model.layers if layer.weights} == {"small_convnet", "style"}


def test_heads_come_out_in_32_bits_under_mixed_precision() -> None:
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = tiny()
        assert model.get_layer("small_convnet").get_layer("conv4").compute_dtype == "bfloat16"
        assert {p.dtype for p in outputs(model).values()} == {np.dtype("float32")}
        for p in outputs(model).values():
            np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    finally:
        keras.mixed_precision.set_dtype_policy(before)


@pytest.mark.parametrize("layers", [{}, {"shared_layers": (12,), "task_layers": (7,)}])
def test_features_and_heads_together_are_the_model(layers: dict[str, Any]) -> None:
    model = tiny(**layers)
    features = features_model(model)(IMAGES, training=False)
    assert features.shape == (6, 64)
    maps = np.asarray(model.get_layer("small_convnet")(IMAGES, training=False))
    np.testing.assert_allclose(np.asarray(features), maps.mean(axis=(1, 2)), rtol=1e-5, atol=1e-7)
    same(outputs(heads_model(model), features), outputs(model))
    ours = {v.path for v in heads_model(model).weights}
    assert ours == {v.path for v in model.weights} - {v.path for v in features_model(model).weights}


def test_training_the_heads_model_trains_the_model() -> None:
    model = tiny()
    before = outputs(model)
    heads = heads_model(model)
    for weight in heads.trainable_weights:
        weight.assign_add(keras.random.normal(weight.shape, seed=1))
    for name, after in outputs(model).items():
        assert (abs(after - before[name]) > 1e-3).any()


def test_a_head_that_falls_away_leaves_the_others_as_they_are() -> None:
    model = tiny(task_layers=(7,))
    kept = with_heads(model, {name: TASKS[name] for name in ("genre", "painter")})
    before = outputs(model)
    same(outputs(kept), {name: before[name] for name in ("genre", "painter")})
    names = {v.path.split("/")[0] for v in kept.weights}
    assert not {n for n in names if n.startswith("style")}
    assert model.count_params() - kept.count_params() == (64 * 7 + 7) + (7 * 5 + 5)


def test_hidden_layers_are_where_they_were_asked_for() -> None:
    model = tiny(shared_layers=(12, 11), task_layers=(7,))
    dense = {layer.name: layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)}
    assert dense == {
        "shared_0": 12, "shared_1": 11, "painter_0": 7, "style_0": 7, "genre_0": 7, "painter": 3, "style": 5, "genre": 8
    }  # fmt: skip
    by_hand = np.asarray(features_model(model)(IMAGES))
    for name in ("shared_0", "shared_1", "style_0", "style"):
        kernel, bias = model.get_layer(name).get_weights()
        by_hand = by_hand @ kernel + bias
        by_hand = np.maximum(by_hand, 0) if name != "style" else by_hand
    by_hand = np.exp(by_hand) / np.exp(by_hand).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs(model)["style"], by_hand, rtol=1e-5)


@pytest.mark.parametrize("task", list(TASKS))
def test_a_tasks_loss_reaches_its_own_branch_and_what_is_shared_only(task: str) -> None:
    model = tiny(shared_layers=(12,), task_layers=(7,))
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(model(IMAGES, training=True)[task][:, 0]))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    reached = {
        v.path for v, g in zip(model.trainable_variables, gradients, strict=True)
        if g is not None and np.abs(g.numpy()).max() > 0
    }  # fmt: skip
    others = tuple(f"{name}{end}" for name in TASKS if name != task for end in ("/", "_0/"))
    assert reached == {v.path for v in model.trainable_variables if not v.path.startswith(others)}
    assert any("conv0" in path for path in reached) and any(path.startswith("shared_0") for path in reached)


def test_dropout_is_in_front_of_every_layer_and_only_in_training() -> None:
    model = tiny(shared_layers=(12,), task_layers=(7,), dropout=0.5)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert len(rates) == 1 + 3 + 3 and set(rates.values()) == {0.5}
    same(outputs(model), outputs(model))
    heads, features = heads_model(model), features_model(model)(IMAGES)
    one, other = (np.asarray(heads(features, training=True)["style"]) for _ in range(2))
    assert (one != other).any()


@pytest.mark.parametrize("layers", [{}, {"shared_layers": (12,), "task_layers": (7,)}])
def test_the_file_gives_the_same_network_back(layers: dict[str, Any], tmp_path: Path) -> None:
    model = tiny(**layers)
    model(IMAGES, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    same(outputs(loaded), outputs(model))
    same(outputs(heads_model(loaded), features_model(loaded)(IMAGES)), outputs(model))  # its parts can be had again


def test_a_random_lite0_takes_every_size_and_is_saved_whole(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = small_network(TASKS, "efficientnet_lite0", image_size=48)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    same(outputs(keras.saving.load_model(tmp_path / "model.keras", compile=False), images), outputs(model, images))


def test_fine_tune_chooses_what_trains() -> None:
    heads = {v.path.split("/")[0] for v in tiny(fine_tune="heads").trainable_variables}
    assert heads == set(TASKS)
    counts = [len(tiny(fine_tune=how).trainable_variables) for how in ("heads", "top", "all")]
    assert counts[0] < counts[1] < counts[2]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UserError, match="at least one task"):
        tiny({})
    with pytest.raises(UserError, match="--fine-tune some is unknown"):
        tiny(fine_tune="some")


def test_the_features_layer_has_its_name() -> None:
    model = tiny(shared_layers=(4,))
    assert model.get_layer(FEATURES).output.shape == (None, 64)
