"""Whole steps under every strategy, against Keras, against each other, and against gradients taken one by one."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import small_network
from steps import combined

from painters_mtl.data.tasks import Task
from painters_mtl.training.batches import Batch
from painters_mtl.training.losses import Objective, smoothed_crossentropy
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.step import TrainStep, gram_matrix
from painters_mtl.training.strategies.by_name import STRATEGIES as CLASSES
from painters_mtl.training.weight_groups import ALL_TASKS, SHARED

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}


HEADS = {name: [name] for name in TASKS}
OBJECTIVE = Objective(HEADS, dict.fromkeys(TASKS, 1.0))


def network(shared: tuple[int, ...] = (6,), seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return small_network(TASKS, shared_layers=shared, task_layers=(5,), fine_tune="all", dropout=0.0)


def step_of(model: keras.Model, strategy: str, **changes: Any) -> TrainStep:
    values = {"strategy": strategy, "learning_rate": 0.01, "label_smoothing": 0.0, "weight_decay": 0.01} | changes
    return TrainStep(model, OBJECTIVE, TrainSettings(**values), 10)


def batch_of(missing: tuple[str, ...] = (), turn: int = 0, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    labels = {name: tf.constant(rng.integers(3, size=8), tf.int32) for name in TASKS}
    weights = {name: tf.constant(np.full(8, float(name not in missing)), tf.float32) for name in TASKS}
    images = tf.constant(rng.uniform(0, 255, (8, 32, 32, 3)), tf.float32)
    return Batch(images, labels, weights, tf.constant(turn), tf.range(8))


def values_of(variables: list[Any]) -> list[np.ndarray]:
    return [v.numpy() for v in variables]


def compiled(train_step: TrainStep) -> Callable[[Batch], np.ndarray]:
    """The step in a graph, as a function from a batch to the losses."""
    function = tf.function(train_step.step)
    return lambda batch: function(batch).numpy()


def eager(train_step: TrainStep) -> Callable[[Batch], np.ndarray]:
    """The step without a graph, whose making takes longer than a few steps."""
    return lambda batch: train_step.step(batch).numpy()


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_a_batch_without_a_label_of_a_task_does_not_touch_its_branch(name: str) -> None:
    """After a step that gave it momentum, and with weight decay: weights, moments and counts stay bitwise the same."""
    model = network()
    train_step = step_of(model, name)
    step = compiled(train_step) if name in ("joint", "alternate", "pcgrad") else eager(train_step)
    for turn in range(3):
        step(batch_of(turn=turn))
    branch = train_step.groups.branches["genre"]
    before = values_of(branch)
    optimizers = [o for (_, head), o in train_step.optimizers.optimizers.items() if head == "genre"]
    assert len(optimizers) == 1
    moments = values_of(optimizers[0].state)
    shared = values_of(train_step.groups.shared)
    losses = step(batch_of(missing=("genre",), turn=1, seed=1))
    assert np.isnan(losses[train_step.heads.index("genre")]) and np.isfinite(losses[train_step.heads.index("style")])
    assert all(np.array_equal(a, b) for a, b in zip(before, values_of(branch), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(moments, values_of(optimizers[0].state), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(shared, values_of(train_step.groups.shared), strict=True))
    assert np.isfinite(np.concatenate([v.ravel() for v in values_of(model.weights)])).all()


def test_an_alternating_step_moves_the_shared_part_and_one_branch() -> None:
    """The other heads and the other optimizers are bitwise what they were, although their labels are in the batch."""
    model = network()
    train_step = step_of(model, "alternate")
    step = compiled(train_step)
    for turn in (0, 1, 2):
        step(batch_of(turn=turn))
    sides = {t: [*train_step.groups.branches[t]] for t in TASKS} | {"shared": train_step.groups.shared}
    states = {
        t: [v for (owner, _), o in train_step.optimizers.optimizers.items() if owner == t for v in o.state]
        for t in TASKS
    }
    for turn, task in enumerate(TASKS):
        before = {k: values_of(v) for k, v in sides.items()}, {k: values_of(v) for k, v in states.items()}
        losses = step(batch_of(turn=turn, seed=turn))
        for k, old in before[0].items():
            same = all(np.array_equal(a, b) for a, b in zip(old, values_of(sides[k]), strict=True))
            assert same == (k not in (task, "shared")), (task, k)
        for k, old in before[1].items():
            same = all(np.array_equal(a, b) for a, b in zip(old, values_of(states[k]), strict=True))
            assert same == (k != task), (task, k)
        assert np.isfinite(losses[train_step.heads.index(task)]) and np.isnan(losses).sum() == 2


def test_an_alternating_step_is_that_of_the_task_alone() -> None:
    model, alone = network(), network()
    compiled(step_of(model, "alternate"))(batch_of(turn=1))
    compiled(step_of(alone, "joint"))(batch_of(missing=("painter", "genre")))
    for weight, expected in zip(model.weights, alone.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6, err_msg=weight.path)


def dense_network() -> keras.Model:
    """Four numbers in, one shared layer, three heads: no BatchNormalization that would amplify rounding errors."""
    keras.utils.set_random_seed(0)
    entry = keras.Input((4,))
    hidden = keras.layers.Dense(16, activation="relu", name="shared_0")(entry)
    heads = {name: keras.layers.Dense(3, activation="softmax", name=name)(hidden) for name in TASKS}
    return keras.Model(entry, heads)


def test_the_joint_step_is_that_of_keras() -> None:
    model, reference = dense_network(), dense_network()
    train_step = step_of(model, "joint", weight_decay=0.0)
    step = compiled(train_step)
    reference.compile(
        keras.optimizers.AdamW(train_step.schedule, weight_decay=0.0),
        {t: keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight") for t in TASKS},
    )
    for seed in range(8):
        batch = batch_of(seed=seed)._replace(images=tf.random.stateless_normal((8, 4), (seed, 0)))
        losses = step(batch)
        reference.reset_metrics()  # Keras 3.10 gives the mean loss of all batches since
        metrics = reference.train_on_batch(*batch[:3], return_dict=True)
        assert float(np.sum(losses)) == pytest.approx(float(metrics["loss"]), rel=1e-4)
    start = dense_network().weights
    for weight, expected, first in zip(model.weights, reference.weights, start, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4, err_msg=weight.path)
        assert np.abs(weight.numpy() - first.numpy()).max() > 0.01


def loss_of(name: str, model: keras.Model, batch: Batch, training: bool) -> tf.Tensor:
    """The loss of a head, without label smoothing."""
    p = model(batch.images, training=training)[name]
    return smoothed_crossentropy(batch.labels[name], p, batch.label_weights[name], 0.0)


def gradients_by_task(train_step: TrainStep, model: keras.Model, batch: Batch, training: bool = False) -> np.ndarray:
    """Of each task's loss on the shared weights, by Keras: float64 (tasks, weights)."""
    rows = []
    for name in train_step.tasks:
        with tf.GradientTape() as tape:
            loss = loss_of(name, model, batch, training)
        gradients = tape.gradient(loss, [v.value for v in train_step.groups.shared])
        rows.append(np.concatenate([np.ravel(g) for g in gradients]))
    return np.stack(rows).astype(np.float64)


def test_cosines_are_those_of_each_task_s_gradient_on_the_shared_part() -> None:
    model = network()
    train_step = step_of(model, "upgrad")
    g = gradients_by_task(train_step, model, batch := batch_of())
    norms = np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(tf.function(train_step.cosines)(batch), g @ g.T / np.outer(norms, norms), atol=1e-4)
    np.testing.assert_allclose(gram_matrix([[tf.constant(r)] for r in g]), g @ g.T, rtol=1e-4)


@pytest.mark.parametrize("name", ["pcgrad", "cagrad", "upgrad"])
def test_a_step_of_a_gradient_method_is_of_the_gradient_it_makes(name: str) -> None:
    """Adam's first moment after one step is a tenth of the gradient: what the method makes of the tasks' for the shared
    weights, which is not their sum; and its own loss's for each branch."""
    model = network()
    train_step = step_of(model, name)
    batch = batch_of()
    for genre, style in zip(train_step.groups.branches["genre"], train_step.groups.branches["style"], strict=True):
        genre.assign(style)  # two branches that are the same, and want different things of the same features
    batch.labels["style"], batch.labels["genre"] = tf.zeros(8, tf.int32), tf.ones(8, tf.int32)
    start = model.get_weights()
    g = gradients_by_task(train_step, model, batch, training=True)  # BatchNormalization by the batch's own statistics
    assert g[1] @ g[2] < -0.3 * np.linalg.norm(g[1]) * np.linalg.norm(g[2])
    with tf.GradientTape() as tape:
        loss = loss_of("style", model, batch, training=True)
    own = tape.gradient(loss, [v.value for v in train_step.groups.branches["style"]])
    expected = combined(CLASSES[name](3, 0), g)  # type: ignore[arg-type]
    model.set_weights(start)
    compiled(train_step)(batch)
    moved = 10 * np.concatenate([np.ravel(m.numpy()) for m in train_step.optimizers.optimizers[ALL_TASKS, SHARED].m])
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected - g.sum(axis=0)).max() > 0.05 * np.abs(expected).max()
    for m, gradient in zip(train_step.optimizers.optimizers[ALL_TASKS, "style"].m, own, strict=True):
        np.testing.assert_allclose(10 * m.numpy(), gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_every_strategy_solves_a_small_problem_with_a_known_answer(name: str) -> None:
    """Three tasks that one shared layer can serve: all losses must come near 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    truth = {name: (x @ rng.normal(size=(4, 3))).argmax(axis=1) for name in TASKS}
    model = dense_network()
    settings = TrainSettings(strategy=name, learning_rate=0.03, label_smoothing=0.0, weight_decay=0.0)  # type: ignore[arg-type]
    steps = 300 if name != "alternate" else 900  # a third of the steps for each task
    train_step = TrainStep(model, OBJECTIVE, settings, steps)
    step = tf.function(train_step.step)
    labels = {name: tf.constant(values, tf.int32) for name, values in truth.items()}
    losses: list[np.ndarray] = []
    for i in range(steps):
        turn = tf.constant(i % 3)
        batch = Batch(tf.constant(x), labels, dict.fromkeys(TASKS, tf.ones(256)), turn, tf.range(256))
        losses.append(step(batch).numpy())
        if i % 30 == 29:
            train_step.strategy.end_epoch(np.nanmean(losses[-30:], axis=0))
    for name, values in truth.items():
        assert (np.array(model(x)[name]).argmax(axis=1) == values).mean() > 0.97, name


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_every_strategy_steps_in_sixteen_bits(name: str) -> None:
    """The forward and backward pass in bfloat16: losses near those of float32, weights that stay float32 and move."""
    losses = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = network()
            train_step = step_of(model, name)
            step = compiled(train_step) if name in ("joint", "pcgrad") else eager(train_step)
            before = values_of(train_step.groups.shared)
            by_turn = [step(batch_of(turn=turn)) for turn in (0, 1, 2)]
        finally:
            keras.config.set_dtype_policy("float32")
        losses.append(np.nanmax(by_turn, axis=0))
        assert all(v.dtype == "float32" for v in model.trainable_variables)
        assert any((a != b).any() for a, b in zip(before, values_of(train_step.groups.shared), strict=True))
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.1)


@pytest.mark.parametrize("name", STRATEGY_NAMES)
def test_a_task_of_weight_nothing_changes_nothing(name: str) -> None:
    """As if none of its labels were there: FAMO and uncertainty weighting would else give all to a loss of 0."""
    weights = []
    for weight, missing in ((0.0, ()), (1.0, ("genre",))):
        model = dense_network()
        settings = TrainSettings(strategy=name, learning_rate=0.01)  # type: ignore[arg-type]
        objective = Objective(HEADS, {**dict.fromkeys(TASKS, 1.0), "genre": weight})
        train_step = TrainStep(model, objective, settings, 10)
        step = compiled(train_step)
        for turn in (0, 1, 0, 1):
            images = tf.random.stateless_normal((8, 4), (turn, 0))
            step(batch_of(missing, turn=turn, seed=turn)._replace(images=images))
        weights.append(values_of(model.trainable_variables))
    for without_weight, without_label in zip(*weights, strict=True):
        np.testing.assert_allclose(without_weight, without_label, rtol=1e-4, atol=1e-5)


def test_an_alternating_painter_s_head_stands_still_without_its_label() -> None:
    """The head over all painters shares the painter's turns, not its labels."""
    tasks = {**TASKS, "all_painters": Task("all_painters", tuple("abcd"))}
    keras.utils.set_random_seed(0)
    model = small_network(tasks, fine_tune="all", dropout=0.0)
    groups = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
    settings = TrainSettings(strategy="alternate", learning_rate=0.01, weight_decay=0.1)
    train_step = TrainStep(model, Objective(groups, dict.fromkeys(tasks, 1.0)), settings, 10)
    step = compiled(train_step)

    def batch(painter: float) -> Batch:
        batch = batch_of()
        labels = {**batch.labels, "all_painters": batch.labels["painter"]}
        weights = {**batch.label_weights, "all_painters": tf.ones(8), "painter": tf.fill([8], painter)}
        return batch._replace(labels=labels, label_weights=weights)

    step(batch(1.0))
    step(batch(1.0))
    before = {name: values_of(train_step.groups.branches[name]) for name in groups["painter"]}
    step(batch(0.0))
    after = {name: values_of(train_step.groups.branches[name]) for name in groups["painter"]}
    for name, same in (("painter", True), ("all_painters", False)):
        assert all(np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)) == same, name


# ------------------------------------------------------------------------------------------------- what is frozen


def statistics(model: keras.Model) -> list[np.ndarray]:
    """The moving means and variances of all BatchNormalization layers."""
    layers = [layer for layer in model.get_layer("small_convnet").layers if "BatchNorm" in type(layer).__name__]
    return [v.numpy() for layer in layers for v in (layer.moving_mean, layer.moving_variance)]


@pytest.mark.parametrize("name", ["joint", "alternate", "pcgrad"])
def test_a_frozen_backbone_keeps_its_statistics_and_is_used_as_in_inference(name: str) -> None:
    """Batches of another brightness would move them. Unfrozen they move, and the step is that of a new training."""
    model, other = network(), network()
    train_step = step_of(model, name)
    step = tf.function(train_step.step)
    dark = [batch_of(turn=turn, seed=turn)._replace(images=batch_of(seed=turn).images / 4) for turn in range(3)]
    start, shared = statistics(model), values_of(train_step.groups.shared)
    for batch in dark:
        losses = step(batch, "backbone").numpy()
    assert all(map(np.array_equal, start, statistics(model)))
    assert all(map(np.array_equal, shared, values_of(train_step.groups.shared)))
    assert not np.array_equal(model.get_layer("genre").kernel, other.get_layer("genre").kernel)  # the heads trained
    if name == "joint":  # the loss is that of the network as validation sees it
        other.set_weights(model.get_weights())
        expected = [float(loss_of(head, other, dark[0], training=False)) for head in train_step.heads]
        np.testing.assert_allclose(step(dark[0], "backbone"), expected, rtol=1e-5)
    assert np.isfinite(losses[~np.isnan(losses)]).all()
    step(dark[0], "none")
    assert not any(map(np.array_equal, start, statistics(model)))
    assert not all(map(np.array_equal, shared, values_of(train_step.groups.shared)))
    assert all(layer.trainable for layer in model.get_layer("small_convnet").layers)  # as it is saved


def test_frozen_heads_stand_still_while_the_statistics_move() -> None:
    model = network()
    train_step = step_of(model, "joint")
    start = statistics(model)
    branches = {head: values_of(variables) for head, variables in train_step.groups.branches.items()}
    tf.function(train_step.step)(batch_of(), "heads")
    for head, variables in train_step.groups.branches.items():
        assert all(map(np.array_equal, branches[head], values_of(variables)))
    assert not any(map(np.array_equal, start, statistics(model)))


def test_statistics_of_a_pretrained_backbone_never_move() -> None:
    """It is left in inference mode for good (`backbones.set_trainable`), whether it is frozen or not."""
    keras.utils.set_random_seed(0)
    model = small_network(TASKS, "efficientnet_lite0", weights="imagenet", fine_tune="all")
    train_step = step_of(model, "joint")
    assert train_step.groups.shared_normalisation == []
