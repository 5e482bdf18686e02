"""AdamW against Keras's, its rates and the learning rate against closed forms, the loss scale against none."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from steps import OBJECTIVE, partly_labelled_batch, quick_network

from painters_mtl.data.tasks import Task
from painters_mtl.network.multitask import build_model
from painters_mtl.training.optimizer import AdamW, LossScale, build_optimizer, learning_rate_schedule
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.step import TrainStep


def test_adamw_is_that_of_keras() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype(np.float32)
    mine, theirs = keras.Variable(start), keras.Variable(start)
    reference = keras.optimizers.AdamW(learning_rate=0.03, weight_decay=0.1)
    optimizer = AdamW([mine], [1.0], [0.1])
    for _ in range(20):
        gradient = tf.constant(rng.normal(size=(4, 3)), tf.float32)
        reference.apply([gradient], [theirs])
        optimizer.apply([gradient], tf.constant(0.03), tf.constant(1.0))
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_adamw_stands_still_when_told_to() -> None:
    """A step that does not move leaves weights, moments and step count bitwise as they were."""
    one, other = (keras.Variable([1.0, -2.0]) for _ in range(2))
    optimizers = [AdamW([v], [1.0], [0.5]) for v in (one, other)]
    for moves in (1, 0, 1, 0, 0, 1):
        optimizers[0].apply([tf.constant([3.0, 1.0])], tf.constant(0.1), tf.constant(float(moves)))
        if moves:
            optimizers[1].apply([tf.constant([3.0, 1.0])], tf.constant(0.1), tf.constant(1.0))
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        for a, b in zip(*(o.state for o in optimizers), strict=True):
            np.testing.assert_array_equal(a, b)


def rates(peak: float, steps: int) -> list[float]:
    """A straight line from 0 to the peak, then half a cosine to 0."""
    warm = max(1, round(0.08 * steps))
    return [
        peak * (t / warm if t < warm else 0.5 * (1 + math.cos(math.pi * (t - warm) / (steps - warm))))
        for t in range(steps)
    ]


@pytest.mark.parametrize("steps", [2, 10, 150])
def test_the_learning_rate_rises_and_falls(steps: int) -> None:
    schedule = learning_rate_schedule(0.01, steps)
    np.testing.assert_allclose([float(schedule(t)) for t in range(steps)], rates(0.01, steps), rtol=1e-4, atol=1e-8)
    assert float(schedule(steps)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "small_convnet"])
def test_a_pretrained_backbone_is_slower_and_only_new_kernels_decay(backbone: str) -> None:
    """AdamW under a gradient that is always 1 moves a weight by the rate, whatever it is, and by the decay."""
    settings = TrainSettings(backbone=backbone, learning_rate=0.01, backbone_rate=0.25, weight_decay=0.5)
    network = build_model(
        {"style": Task("style", ("a", "b"))},
        dataclasses.replace(settings, image_size=32, shared_layers=(4,), task_layers=(4,)),
    )
    variables = network.trainable_variables
    slow = {id(v) for v in network.get_layer(index=1).trainable_variables} if backbone != "small_convnet" else set()
    optimizer = build_optimizer(variables, slow, settings)
    expected = [np.array(v, np.float64) for v in variables]
    pretrained = [False] * len(variables)
    if backbone == "efficientnet_lite0":
        pretrained = [not v.path.startswith(("shared", "style")) for v in variables]
        assert 20 < sum(pretrained) < len(variables) == sum(pretrained) + 6
    steps = 5
    for rate in rates(0.01, 100)[:steps]:
        optimizer.apply([keras.ops.ones_like(v) for v in variables], tf.constant(rate, tf.float32), tf.constant(1.0))
        for i, (variable, slow) in enumerate(zip(variables, pretrained, strict=True)):
            decay = 0.5 if variable.path.endswith("kernel") and not slow else 0.0
            expected[i] = expected[i] * (1 - rate * decay) - rate * (0.25 if slow else 1.0)
    assert sum(rates(0.01, 100)[:steps]) > 0.01
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(np.array(variable), value, rtol=1e-5, atol=1e-5, err_msg=variable.path)


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "accumulate"), [("joint", 1), ("gradnorm", 1), ("pcgrad", 3)])
def test_losses_are_scaled_and_gradients_are_not(strategy: str, accumulate: int) -> None:
    """In a float32 network, steps with the scale are those without."""
    weights = []
    for float16 in (False, True):
        model = quick_network()
        settings = TrainSettings(strategy=strategy, learning_rate=1e-3, accumulate=accumulate)  # type: ignore[arg-type]
        train_step = TrainStep(model, OBJECTIVE, settings, 20, float16=float16)
        step = tf.function(train_step.step)
        for seed in range(3):
            step(partly_labelled_batch(seed, 8))
        weights.append([v.numpy() for v in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_overflows_moves_nothing_and_halves_the_scale() -> None:
    scale = LossScale()
    start = float(scale.scale)
    gradients, finite = scale.checked([tf.constant([1.0, np.inf]), tf.constant([2.0])])
    assert float(finite) == 0 and [v.numpy().tolist() for v in gradients] == [[0, 0], [0]]
    assert float(scale.scale) == start / 2
    for _ in range(LossScale.PATIENCE - 1):
        gradients, finite = scale.checked([tf.constant([start])])
    assert float(finite) == 1 and gradients[0].numpy() == 2 and float(scale.scale) == start / 2
    scale.checked([tf.constant([start])])
    assert float(scale.scale) == start and int(scale.finite_steps) == 0


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_a_step_that_overflows_moves_nothing_with_any_strategy(strategy: str) -> None:
    model = quick_network()
    settings = TrainSettings(strategy=strategy, learning_rate=1e-3)  # type: ignore[arg-type]
    train_step = TrainStep(model, OBJECTIVE, settings, 20, float16=True)
    train_step.steps_done.assign(5)
    train_step.loss_scale.scale.assign(np.inf)
    variables = [*model.trainable_variables, *train_step.optimizers.state]
    before = [v.numpy() for v in variables]
    train_step.step(partly_labelled_batch(1, 8))
    after = [v.numpy() for v in variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
