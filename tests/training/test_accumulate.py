"""Batches in parts, and 16 bits: the step of a large batch in the memory of a small one."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import fitted, make_data, small_network, tiny_settings

from painters_mtl.data.tasks import Task
from painters_mtl.network.precision import in_precision, policy
from painters_mtl.runs import run
from painters_mtl.training.settings import STRATEGIES, TrainSettings
from painters_mtl.training.step import LossScale, TrainStep

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}
TASKS["all_painters"] = Task("all_painters", tuple("abcd"))
GROUPS = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
WEIGHTS = {"painter": 0.5, "all_painters": 0.3, "style": 1.0, "genre": 2.0}
SIZE = 12


def network() -> keras.Model:
    """BatchNormalization stands still: in training it would look at what is in a part together."""
    keras.utils.set_random_seed(0)
    model = small_network(TASKS, shared_layers=(6,), task_layers=(5,), fine_tune="all", dropout=0.0)
    for layer in model.get_layer("small_convnet").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def batch_of(seed: int) -> tuple[Any, ...]:
    """Labels are missing, of each task in another measure in each part; every third batch has no style at all."""
    rng = np.random.default_rng(seed)
    labels = {name: tf.constant(rng.integers(3, size=SIZE), tf.int32) for name in TASKS}
    known = {"painter": 0.3, "all_painters": 0.9, "style": 0.6 * (seed % 3 > 0), "genre": 0.5}
    weights = {name: tf.constant(rng.random(SIZE) < share, tf.float32) for name, share in known.items()}
    weights["genre"] = tf.constant(np.arange(SIZE) >= 6, tf.float32)  # none in the first parts
    images = tf.constant(rng.uniform(0, 255, (SIZE, 32, 32, 3)), tf.float32)
    return images, labels, weights, tf.constant(seed % 3), tf.range(SIZE)


def after_steps(strategy: str, accumulate: int, **changes: Any) -> tuple[list[np.ndarray], ...]:
    """Losses of five steps, the weights behind them, and what strategy and optimizer remember."""
    model = network()
    settings = TrainSettings(strategy=strategy, learning_rate=1e-3, accumulate=accumulate, **changes)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    answers = rng.dirichlet(np.ones(3), SIZE).astype(np.float32)
    update = TrainStep(model, GROUPS, WEIGHTS, [], settings, 20, {"style": answers} if changes else None)
    step = tf.function(update.step)
    losses = [step(batch_of(seed)).numpy() for seed in range(5)]
    memory = [*update.strategy.state.values(), *(v for o in update.optimizers.values() for v in o.state)]
    return losses, [v.numpy() for v in model.trainable_variables], [v.numpy() for v in memory]


QUICK = ("joint", "famo", "pcgrad")
WAYS = [pytest.param(name, {}, marks=[] if name in QUICK else pytest.mark.slow) for name in STRATEGIES]


@pytest.mark.parametrize(("strategy", "changes"), [*WAYS, ("joint", {"teacher_weight": 0.4})])
def test_parts_make_the_step_of_the_whole_batch(strategy: str, changes: dict[str, Any]) -> None:
    """Labels that miss are weighted over the whole batch: a mean of the parts' means would be another loss."""
    whole, parts = after_steps(strategy, 1, **changes), after_steps(strategy, 3, **changes)
    for mine, its in zip(whole, parts, strict=True):
        for a, b in zip(mine, its, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert changes or any(np.isnan(losses).any() for losses in whole[0])  # a teacher has an answer for every painting


@pytest.mark.parametrize("strategy", ["joint", pytest.param("pcgrad", marks=pytest.mark.slow)])
def test_conflicts_are_those_of_the_whole_batch(strategy: str) -> None:
    found = []
    for accumulate in (1, 4):
        settings = TrainSettings(strategy=strategy, accumulate=accumulate)  # type: ignore[arg-type]
        found.append(tf.function(TrainStep(network(), GROUPS, WEIGHTS, [], settings, 20).cosines)(batch_of(1)).numpy())
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    np.testing.assert_allclose(np.diag(found[0]), 1, atol=1e-5)


def test_two_batches_of_four_train_as_one_of_eight(tmp_path: Path) -> None:
    """A whole training of the heads: the same paintings in the same order."""
    data = make_data(tmp_path / "data", count=80, seed=1)
    common = {"fine_tune": "heads", "shared_layers": (6,), "epochs": 3}
    one = tiny_settings(data, tmp_path, name="one", **common)
    two = dataclasses.replace(one, name="two", batch_size=4, accumulate=2)
    histories, folders = zip(*((o.history, f) for _, o, f in map(fitted, (one, two))), strict=True)
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], atol=1e-5)
    for a, b in zip(*(run.open_run(f).model().get_weights() for f in folders), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)


# ------------------------------------------------------------------------------------------------- 16 bits


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_the_copy_computes_in_sixteen_bits_on_float32_weights(name: str) -> None:
    model = network()
    copy = in_precision(model, name)
    assert all(v.dtype == "float32" for v in copy.variables if "seed" not in v.path)
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}
    assert [v.trainable for v in copy.weights] == [v.trainable for v in model.weights]
    inner = copy.get_layer("small_convnet")
    assert inner.get_layer("conv2").compute_dtype == name.removeprefix("mixed_")
    assert copy.get_layer("shared_0").compute_dtype == name.removeprefix("mixed_")
    images = batch_of(0)[0]
    for task, p in copy(images).items():
        assert p.dtype == tf.float32
        np.testing.assert_allclose(np.array(p), np.array(model(images)[task]), atol=0.02)


def test_views_that_are_kept_apart_are_copied_too() -> None:
    """What parts them is an operation, not a layer, and knows no precision."""
    keras.utils.set_random_seed(0)
    views = ("whole", "detail")
    model = small_network(TASKS, views=views, merge="none", view_of={"style": "detail"})
    images = dict(zip(("image", "detail"), (batch_of(seed)[0] for seed in (0, 1)), strict=True))
    found = in_precision(model, "mixed_bfloat16")(images)
    for task, p in model(images).items():
        np.testing.assert_allclose(np.array(found[task]), np.array(p), atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "accumulate"), [("joint", 1), ("gradnorm", 1), ("pcgrad", 3)])
def test_losses_are_scaled_and_gradients_are_not(strategy: str, accumulate: int) -> None:
    """In a float32 network, steps with the scale are those without."""
    found = []
    for float16 in (False, True):
        model = network()
        settings = TrainSettings(strategy=strategy, learning_rate=1e-3, accumulate=accumulate)  # type: ignore[arg-type]
        update = TrainStep(model, GROUPS, WEIGHTS, [], settings, 20, float16=float16)
        step = tf.function(update.step)
        for seed in range(3):
            step(batch_of(seed))
        found.append([v.numpy() for v in model.trainable_variables])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_overflows_moves_nothing_and_halves_the_scale() -> None:
    scale = LossScale()
    start = float(scale.scale)
    found, finite = scale.undo([tf.constant([1.0, np.inf]), tf.constant([2.0])])
    assert float(finite) == 0 and [v.numpy().tolist() for v in found] == [[0, 0], [0]]
    assert float(scale.scale) == start / 2
    for _ in range(LossScale.PATIENCE - 1):
        found, finite = scale.undo([tf.constant([start])])
    assert float(finite) == 1 and found[0].numpy() == 2 and float(scale.scale) == start / 2
    scale.undo([tf.constant([start])])
    assert float(scale.scale) == start and int(scale.sound) == 0

    model = network()
    update = TrainStep(model, GROUPS, WEIGHTS, [], TrainSettings(learning_rate=1e-3), 20, float16=True)
    update.done.assign(5)
    update.loss_scale.scale.assign(3e38)
    before = [
        v.numpy() for v in [*model.trainable_variables, *(v for o in update.optimizers.values() for v in o.state)]
    ]
    update.step(batch_of(1))
    after = [v.numpy() for v in [*model.trainable_variables, *(v for o in update.optimizers.values() for v in o.state)]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_a_run_in_sixteen_bits_learns_and_is_saved_in_float32(name: str, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=240, seed=1)
    settings = tiny_settings(data, tmp_path, epochs=8, precision=name)
    _, outcome, folder = fitted(settings)
    model = run.open_run(folder).model()
    assert model.get_layer("small_convnet").get_layer("conv2").compute_dtype == "float32"
    assert np.mean([values["accuracy"] for values in outcome.metrics["test"].values()]) > 0.75
    assert outcome.history["loss"].iloc[-1] < 0.8 * outcome.history["loss"].iloc[0]


def test_a_cpu_computes_in_float32_unless_told() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    assert policy("auto") == "float32" and policy("mixed_bfloat16") == "mixed_bfloat16"
