"""Ways of training the tasks together, each against a closed form, SciPy's solvers, or a step worked out by hand."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import small_network
from scipy.optimize import minimize

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.training.settings import STRATEGIES, TrainSettings
from painters_mtl.training.step import TrainStep, gram, parts_of
from painters_mtl.training.strategies import STRATEGIES as CLASSES
from painters_mtl.training.strategies import (
    AdamW,
    CAGrad,
    DynamicWeightAverage,
    Famo,
    GradientMethod,
    GradNorm,
    PCGrad,
    Uncertainty,
    UPGrad,
)

ALL = tf.ones(3)


def numbers(*values: float) -> tf.Tensor:
    return tf.constant(values, tf.float32)


# ------------------------------------------------------------------------------------------------- loss weightings


def test_uncertainty_comes_to_rest_at_half_the_inverse_of_the_loss() -> None:
    """exp(-s) L + s / 2 has its minimum at exp(-s) = 1 / (2 L)."""
    strategy = Uncertainty(3)
    losses = numbers(0.3, 1.0, 2.5)
    np.testing.assert_array_equal(strategy.weights(losses, ALL, None), 1)
    for _ in range(1000):
        weights = strategy.weights(losses, ALL, None)
    np.testing.assert_allclose(weights, 1 / (2 * losses.numpy()), rtol=1e-3)


def test_dynamic_weight_average_by_hand() -> None:
    strategy = DynamicWeightAverage(2)
    for losses in ([4.0, 4.0], [2.0, 4.0]):
        np.testing.assert_array_equal(strategy.weights(numbers(1, 1), tf.ones(2), None), 1)
        strategy.end_epoch(np.array(losses))
    share = np.exp([0.5 / 2, 1.0 / 2])
    np.testing.assert_allclose(strategy.weights(numbers(1, 1), tf.ones(2), None), 2 * share / share.sum(), rtol=1e-6)
    strategy.end_epoch(np.array([np.nan, 2.0]))  # no label of the first task: its ratio counts as 1
    share = np.exp([1.0 / 2, 0.5 / 2])
    np.testing.assert_allclose(strategy.weights(numbers(1, 1), tf.ones(2), None), 2 * share / share.sum(), rtol=1e-6)
    strategy.end_epoch(np.array([1.0, 2.0]))
    share = np.exp([0.5 / 2, 1.0 / 2])  # against the loss of the first task when it was last seen
    np.testing.assert_allclose(strategy.weights(numbers(1, 1), tf.ones(2), None), 2 * share / share.sum(), rtol=1e-6)


def test_gradnorm_steps_by_hand_and_balances_the_norms() -> None:
    strategy = GradNorm(2)
    losses, norms = numbers(2.0, 3.0), numbers(1.0, 3.0)
    np.testing.assert_array_equal(strategy.weights(losses, tf.ones(2), norms), 1)
    # At the first losses both rates are 1, so the target is the mean norm 2: below it goes up, above it down.
    moved = np.array([1 + 0.025 * 1, 1 - 0.025 * 3])
    np.testing.assert_allclose(strategy.w, 2 * moved / moved.sum(), rtol=1e-6)
    for _ in range(500):
        weights = strategy.weights(losses, tf.ones(2), norms)
    np.testing.assert_allclose(weights, [1.5, 0.5], atol=0.06)  # then 1.5 * 1 = 0.5 * 3; it steps by 0.05 around it
    late = strategy.weights(numbers(0.2, 3.0), tf.ones(2), norms)
    for _ in range(200):
        late = strategy.weights(numbers(0.2, 3.0), tf.ones(2), norms)
    assert late[1] > weights[1] + 0.3  # the second task has not learned anything: it gets more


def test_famo_weighs_what_falls_slowly_more_and_evens_the_rates() -> None:
    strategy = Famo(2)
    first = strategy.weights(numbers(1.0, 4.0), tf.ones(2), None)
    inverse = np.array([1, 1 / 4])
    np.testing.assert_allclose(first, 2 * inverse / inverse.sum(), rtol=1e-5)
    strategy.weights(numbers(0.5, 4.0), tf.ones(2), None)
    # Softmax (.5, .5): the Jacobian times (log 2, 0) is (log 2 / 4, -log 2 / 4); Adam's first step has its sign.
    np.testing.assert_allclose(strategy.logits, [-0.025, 0.025], rtol=1e-4)


def test_famo_is_adam_on_its_logits_and_helps_the_task_that_stands_still() -> None:
    """Losses that fall by e^4, by e and not at all, with a twentieth of noise, against Adam written out in NumPy."""
    rng = np.random.default_rng(0)
    steps, rates = 3000, np.array([4.0, 1.0, 0.0])
    losses = np.exp(-np.arange(steps)[:, None] / steps * rates + 0.05 * rng.standard_normal((steps, 3)))
    strategy, w, m, v = Famo(3), np.zeros(3), np.zeros(3), np.zeros(3)
    for t, (before, now) in enumerate(itertools.pairwise(losses), start=1):
        z = np.exp(w) / np.exp(w).sum()
        g = (np.diag(z) - np.outer(z, z)) @ np.log(before / now) + 0.001 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.025 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    step = tf.function(lambda row: strategy.weights(row, tf.ones(3), None))
    for row in losses.astype(np.float32):
        weights = step(row).numpy()
    np.testing.assert_allclose(strategy.logits, w, atol=2e-3)
    z = weights * losses[-1]  # 1 / L apart
    assert z[2] > 1.15 * z[0] and z[2] > z[1] > z[0]


@pytest.mark.parametrize("name", [n for n in STRATEGIES if not issubclass(CLASSES[n], GradientMethod)])  # type: ignore[arg-type]
def test_a_task_without_a_label_leaves_a_weighting_as_it_was(name: str) -> None:
    """Its loss of 0 is not taken for a loss: the state is that of a training which never saw the batch's third task."""
    one, other = CLASSES[name](3), CLASSES[name](2)
    for losses in ([1.0, 2.0], [0.5, 1.9], [0.4, 1.0]):
        norms = [0.3, 0.9]
        mine = one.weights(numbers(*losses, 0.0), numbers(1, 1, 0), numbers(*norms, 0.0)).numpy()[:2]
        wanted = other.weights(numbers(*losses), numbers(1, 1), numbers(*norms)).numpy()
        np.testing.assert_allclose(mine / mine.sum(), wanted / wanted.sum(), rtol=1e-5)
        assert np.isfinite(mine).all()


# ------------------------------------------------------------------------------------------------- gradient methods


def gradients(seed: int, tasks: int = 3, size: int = 5) -> np.ndarray:
    """Some that conflict, some that do not, of sizes that differ."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(tasks, size)) * rng.uniform(0.1, 10, (tasks, 1)) + rng.normal(size=size) * (seed % 3)


def combined(method: GradientMethod, g: np.ndarray, present: tf.Tensor | None = None, step: int = 0) -> np.ndarray:
    present = tf.ones(len(g)) if present is None else present
    products = tf.constant(g @ g.T, tf.float32)
    return method.combine(products, present, tf.constant(step, tf.int64)).numpy().astype(np.float64) @ g


def test_pcgrad_of_two_by_hand() -> None:
    g = np.array([[1.0, 0.0], [-1.0, 1.0]])
    first = g[0] - (g[0] @ g[1]) / (g[1] @ g[1]) * g[1]
    second = g[1] - (g[0] @ g[1]) / (g[0] @ g[0]) * g[0]
    np.testing.assert_allclose(combined(PCGrad(2), g), first + second, atol=1e-6)
    agree = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(combined(PCGrad(2), agree), agree.sum(axis=0), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_pcgrad_is_the_algorithm_of_the_paper_in_one_of_its_orders(seed: int) -> None:
    """Vectors projected one after another, for every order; ours works on inner products alone."""
    g = gradients(seed)
    found = combined(PCGrad(3, seed), g)
    options = []
    for i in range(3):
        a, b = (j for j in range(3) if j != i)
        results = []
        for order in ((a, b), (b, a)):
            mine = g[i].copy()
            for j in order:
                if mine @ g[j] < 0:
                    mine -= (mine @ g[j]) / (g[j] @ g[j]) * g[j]
            results.append(mine)
        options.append(results)
    sums = [x + y + z for x in options[0] for y in options[1] for z in options[2]]
    assert min(np.abs(found - s).max() for s in sums) < 1e-4 * np.abs(g).max()


def test_pcgrad_draws_its_orders_from_seed_and_step() -> None:
    g = gradients(0, tasks=4)
    found = {tuple(combined(PCGrad(4, 1), g, step=step).round(4)) for step in range(20)}
    assert 1 < len(found) <= 20
    assert {tuple(combined(PCGrad(4, 1), g, step=step).round(4)) for step in range(20)} == found


@pytest.mark.parametrize("seed", range(12))
def test_cagrad_maximises_the_worst_improvement_in_its_ball(seed: int) -> None:
    """The primal, max over |d - g0| <= c |g0| of min_i g_i . d, by SciPy; ours solves the dual."""
    g = gradients(seed)
    g0 = g.mean(axis=0)
    radius = CAGrad.RADIUS * np.linalg.norm(g0)
    found = combined(CAGrad(3), g) / 3
    assert np.linalg.norm(found - g0) <= radius * (1 + 1e-4)
    solved = minimize(
        lambda x: -x[-1], np.append(g0, (g @ g0).min()), method="SLSQP", options={"maxiter": 500},
        constraints=[
            {"type": "ineq", "fun": lambda x: g @ x[:-1] - x[-1]},
            {"type": "ineq", "fun": lambda x: radius**2 - ((x[:-1] - g0) ** 2).sum()},
        ],
    )  # fmt: skip
    scale = np.linalg.norm(g0) * np.linalg.norm(g, axis=1).max()
    assert (g @ found).min() >= (g @ solved.x[:-1]).min() - 0.01 * scale


@pytest.mark.parametrize("seed", range(12))
def test_upgrad_is_the_sum_of_projections_to_the_cone_that_hurts_nobody(seed: int) -> None:
    g = gradients(seed)
    found = combined(UPGrad(3), g)
    wanted = np.zeros(g.shape[1])
    for row in g:  # the nearest d to row with g d >= 0
        wanted += minimize(
            lambda d, row=row: ((d - row) ** 2).sum(), row, jac=lambda d, row=row: 2 * (d - row), method="SLSQP",
            constraints={"type": "ineq", "fun": lambda d: g @ d, "jac": lambda d: g}, options={"ftol": 1e-14},
        ).x  # fmt: skip
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(g).max())
    assert (g @ found / np.linalg.norm(g, axis=1)).min() >= -1e-3 * np.linalg.norm(found)


def test_cagrad_without_any_task_moves_nothing() -> None:
    """Of tasks with weight 0 a batch may have labels, and of the others none."""
    found = CAGrad(3).combine(tf.zeros((3, 3)), tf.zeros(3), tf.constant(0, tf.int64))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("method", [PCGrad, CAGrad, UPGrad])
def test_one_gradient_alone_and_opposite_ones(method: type[GradientMethod]) -> None:
    g = np.array([[2.0, 1.0], [0.0, 0.0]])
    factor = 1 + CAGrad.RADIUS if method is CAGrad else 1
    np.testing.assert_allclose(combined(method(2), g, numbers(1, 0)), factor * g[0], rtol=1e-4)
    np.testing.assert_allclose(combined(method(2), np.array([[1.0, 0.0], [-1.0, 0.0]])), 0, atol=1e-3)
    np.testing.assert_allclose(combined(method(2), np.zeros((2, 2))), 0, atol=1e-6)


@pytest.mark.parametrize("method", [PCGrad, CAGrad, UPGrad])
def test_a_task_without_a_label_does_not_count(method: type[GradientMethod]) -> None:
    for seed in range(6):
        g = gradients(seed, tasks=2)
        with_third = np.vstack([g, np.zeros((1, g.shape[1]))])
        one = combined(method(3), with_third, numbers(1, 1, 0))
        np.testing.assert_allclose(one, combined(method(2), g), atol=1e-3 * np.abs(g).max())


# ------------------------------------------------------------------------------------------------- the optimizer


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
        optimizers[0].apply([numbers(3.0, 1.0)], tf.constant(0.1), tf.constant(float(moves)))
        if moves:
            optimizers[1].apply([numbers(3.0, 1.0)], tf.constant(0.1), tf.constant(1.0))
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        for mine, its in zip(*(o.state for o in optimizers), strict=True):
            np.testing.assert_array_equal(mine, its)


# ------------------------------------------------------------------------------------------------- whole steps

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}
GROUPS = {name: [name] for name in TASKS}


def network(shared: tuple[int, ...] = (6,), seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return small_network(TASKS, shared_layers=shared, task_layers=(5,), fine_tune="all", dropout=0.0)


def update_of(model: keras.Model, strategy: str, **changes: Any) -> TrainStep:
    values = {"strategy": strategy, "learning_rate": 0.01, "label_smoothing": 0.0, "weight_decay": 0.01} | changes
    return TrainStep(model, GROUPS, dict.fromkeys(TASKS, 1.0), [], TrainSettings(**values), 10)


def batch_of(missing: tuple[str, ...] = (), turn: int = 0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    labels = {name: tf.constant(rng.integers(3, size=8), tf.int32) for name in TASKS}
    weights = {name: tf.constant(np.full(8, float(name not in missing)), tf.float32) for name in TASKS}
    return tf.constant(rng.uniform(0, 255, (8, 32, 32, 3)), tf.float32), labels, weights, tf.constant(turn), tf.range(8)


def values_of(variables: list[Any]) -> list[np.ndarray]:
    return [v.numpy() for v in variables]


def stepped(update: TrainStep) -> Callable[[tuple], np.ndarray]:
    function = tf.function(update.step)
    return lambda batch: function(batch).numpy()


def test_parts_are_told_apart_by_who_uses_them() -> None:
    model = network()
    parts = parts_of(model, GROUPS)
    for name in TASKS:
        assert {v.path.split("/")[0] for v in parts.own[name]} == {name, f"{name}_0"}
    assert {"shared_0", "conv1"} <= {part for v in parts.shared for part in v.path.split("/")}
    assert len(parts.shared) + 3 * 4 == len(model.trainable_variables)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_batch_without_a_label_of_a_task_does_not_touch_its_branch(name: str) -> None:
    """After a step that gave it momentum, and with weight decay: weights, moments and counts stay bitwise the same."""
    model = network()
    update = update_of(model, name)
    step = stepped(update)
    for turn in range(3):
        step(batch_of(turn=turn))
    branch = update.parts.own["genre"]
    before = values_of(branch)
    optimizers = [o for (_, head), o in update.optimizers.items() if head == "genre"]
    assert len(optimizers) == 1
    moments = values_of(optimizers[0].state)
    shared = values_of(update.parts.shared)
    losses = step(batch_of(missing=("genre",), turn=1, seed=1))
    assert np.isnan(losses[update.heads.index("genre")]) and np.isfinite(losses[update.heads.index("style")])
    assert all(np.array_equal(a, b) for a, b in zip(before, values_of(branch), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(moments, values_of(optimizers[0].state), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(shared, values_of(update.parts.shared), strict=True))
    assert np.isfinite(np.concatenate([v.ravel() for v in values_of(model.weights)])).all()


def test_an_alternating_step_moves_the_shared_part_and_one_branch() -> None:
    """The other heads and the other optimizers are bitwise what they were, although their labels are in the batch."""
    model = network()
    update = update_of(model, "alternate")
    step = stepped(update)
    for turn in (0, 1, 2):
        step(batch_of(turn=turn))
    sides = {t: [*update.parts.own[t]] for t in TASKS} | {"shared": update.parts.shared}
    states = {t: [v for (owner, _), o in update.optimizers.items() if owner == t for v in o.state] for t in TASKS}
    for turn, task in enumerate(TASKS):
        before = {k: values_of(v) for k, v in sides.items()}, {k: values_of(v) for k, v in states.items()}
        losses = step(batch_of(turn=turn, seed=turn))
        for k, old in before[0].items():
            same = all(np.array_equal(a, b) for a, b in zip(old, values_of(sides[k]), strict=True))
            assert same == (k not in (task, "shared")), (task, k)
        for k, old in before[1].items():
            same = all(np.array_equal(a, b) for a, b in zip(old, values_of(states[k]), strict=True))
            assert same == (k != task), (task, k)
        assert np.isfinite(losses[update.heads.index(task)]) and np.isnan(losses).sum() == 2


def test_an_alternating_step_is_that_of_the_task_alone() -> None:
    model, alone = network(), network()
    stepped(update_of(model, "alternate"))(batch_of(turn=1))
    stepped(update_of(alone, "joint"))(batch_of(missing=("painter", "genre")))
    for mine, its in zip(model.weights, alone.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-5, atol=1e-6, err_msg=mine.path)


def dense_network() -> keras.Model:
    """Four numbers in, one shared layer, three heads: no BatchNormalization that would amplify rounding errors."""
    keras.utils.set_random_seed(0)
    entry = keras.Input((4,))
    hidden = keras.layers.Dense(16, activation="relu", name="shared_0")(entry)
    heads = {name: keras.layers.Dense(3, activation="softmax", name=name)(hidden) for name in TASKS}
    return keras.Model(entry, heads)


def test_the_joint_step_is_that_of_keras() -> None:
    model, reference = dense_network(), dense_network()
    update = update_of(model, "joint", weight_decay=0.0)
    step = stepped(update)
    reference.compile(
        keras.optimizers.AdamW(update.schedule, weight_decay=0.0),
        {t: keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight") for t in TASKS},
    )
    for seed in range(8):
        _, *labels = batch_of(seed=seed)
        batch = (tf.random.stateless_normal((8, 4), (seed, 0)), *labels)
        losses = step(batch)
        found = reference.train_on_batch(*batch[:3], return_dict=True)
        assert float(np.sum(losses)) == pytest.approx(float(found["loss"]), rel=1e-4)
    start = dense_network().weights
    for mine, its, first in zip(model.weights, reference.weights, start, strict=True):
        np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-3, atol=1e-4, err_msg=mine.path)
        assert np.abs(mine.numpy() - first.numpy()).max() > 0.01


def gradients_by_task(update: TrainStep, model: keras.Model, batch: tuple, training: bool = False) -> np.ndarray:
    """Of each task's loss on the shared weights, by Keras: float64 (tasks, weights)."""
    rows = []
    for name in update.groups:
        with tf.GradientTape() as tape:
            loss = update.loss(batch[1][name], model(batch[0], training=training)[name])
        found = tape.gradient(loss, [v.value for v in update.parts.shared])
        rows.append(np.concatenate([np.ravel(g) for g in found]))
    return np.stack(rows).astype(np.float64)


def test_cosines_are_those_of_each_task_s_gradient_on_the_shared_part() -> None:
    model = network()
    update = update_of(model, "upgrad")
    g = gradients_by_task(update, model, batch := batch_of())
    norms = np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(tf.function(update.cosines)(batch), g @ g.T / np.outer(norms, norms), atol=1e-4)
    np.testing.assert_allclose(gram([[tf.constant(r)] for r in g]), g @ g.T, rtol=1e-4)


@pytest.mark.parametrize("name", ["pcgrad", "cagrad", "upgrad"])
def test_a_step_of_a_gradient_method_is_of_the_gradient_it_makes(name: str) -> None:
    """Adam's first moment after one step is a tenth of the gradient: what the method makes of the tasks' for the shared
    weights, which is not their sum; and its own loss's for each branch."""
    model = network()
    update = update_of(model, name)
    batch = batch_of()
    for mine, its in zip(update.parts.own["genre"], update.parts.own["style"], strict=True):
        mine.assign(its)  # two branches that are the same, and want different things of the same features
    batch[1]["style"], batch[1]["genre"] = tf.zeros(8, tf.int32), tf.ones(8, tf.int32)
    start = model.get_weights()
    g = gradients_by_task(update, model, batch, training=True)  # BatchNormalization by the batch's own statistics
    assert g[1] @ g[2] < -0.3 * np.linalg.norm(g[1]) * np.linalg.norm(g[2])
    with tf.GradientTape() as tape:
        loss = update.loss(batch[1]["style"], model(batch[0], training=True)["style"])
    own = tape.gradient(loss, [v.value for v in update.parts.own["style"]])
    wanted = combined(CLASSES[name](3, 0), g)  # type: ignore[arg-type]
    model.set_weights(start)
    stepped(update)(batch)
    moved = 10 * np.concatenate([np.ravel(m.numpy()) for m in update.optimizers["", ""].m])
    np.testing.assert_allclose(moved, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    assert np.abs(wanted - g.sum(axis=0)).max() > 0.05 * np.abs(wanted).max()
    for m, gradient in zip(update.optimizers["", "style"].m, own, strict=True):
        np.testing.assert_allclose(10 * m.numpy(), gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_solves_a_small_problem_with_a_known_answer(name: str) -> None:
    """Three tasks that one shared layer can serve: all losses must come near 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype(np.float32)
    truth = {name: (x @ rng.normal(size=(4, 3))).argmax(axis=1) for name in TASKS}
    model = dense_network()
    settings = TrainSettings(strategy=name, learning_rate=0.03, label_smoothing=0.0, weight_decay=0.0)  # type: ignore[arg-type]
    steps = 300 if name != "alternate" else 900  # a third of the steps for each task
    update = TrainStep(model, GROUPS, dict.fromkeys(TASKS, 1.0), [], settings, steps)
    step = tf.function(update.step)
    labels = {name: tf.constant(values, tf.int32) for name, values in truth.items()}
    found = []
    for i in range(steps):
        turn = tf.constant(i % 3)
        found.append(step((tf.constant(x), labels, dict.fromkeys(TASKS, tf.ones(256)), turn, tf.range(256))).numpy())
        if i % 30 == 29:
            update.strategy.end_epoch(np.nanmean(found[-30:], axis=0))
    for name, values in truth.items():
        assert (np.array(model(x)[name]).argmax(axis=1) == values).mean() > 0.97, name


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_steps_in_sixteen_bits(name: str) -> None:
    """The forward and backward pass in bfloat16: losses near those of float32, weights that stay float32 and move."""
    losses = []
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = network()
            update = update_of(model, name)
            step = stepped(update)
            before = values_of(update.parts.shared)
            found = [step(batch_of(turn=turn)) for turn in (0, 1, 2)]
        finally:
            keras.config.set_dtype_policy("float32")
        losses.append(np.nanmax(found, axis=0))
        assert all(v.dtype == "float32" for v in model.trainable_variables)
        assert any((a != b).any() for a, b in zip(before, values_of(update.parts.shared), strict=True))
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.1)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_task_of_weight_nothing_changes_nothing(name: str) -> None:
    """As if none of its labels were there: FAMO and uncertainty weighting would else give all to a loss of 0."""
    found = []
    for weight, missing in ((0.0, ()), (1.0, ("genre",))):
        model = network()
        settings = TrainSettings(strategy=name, learning_rate=0.01)  # type: ignore[arg-type]
        update = TrainStep(model, GROUPS, {**dict.fromkeys(TASKS, 1.0), "genre": weight}, [], settings, 10)
        step = stepped(update)
        for turn in (0, 1, 0, 1):
            step(batch_of(missing, turn=turn, seed=turn))
        found.append(values_of(model.trainable_variables))
    for mine, its in zip(*found, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-5)


def test_an_alternating_painter_s_head_stands_still_without_its_label() -> None:
    """The head over all painters shares the painter's turns, not its labels."""
    tasks = {**TASKS, "all_painters": Task("all_painters", tuple("abcd"))}
    keras.utils.set_random_seed(0)
    model = small_network(tasks, fine_tune="all", dropout=0.0)
    groups = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
    settings = TrainSettings(strategy="alternate", learning_rate=0.01, weight_decay=0.1)
    update = TrainStep(model, groups, dict.fromkeys(tasks, 1.0), [], settings, 10)
    step = stepped(update)

    def batch(painter: float) -> tuple:
        seen, labels, weights, turn, rows = batch_of()
        labels["all_painters"], weights["all_painters"] = labels["painter"], tf.ones(8)
        return seen, labels, {**weights, "painter": tf.fill([8], painter)}, turn, rows

    step(batch(1.0))
    step(batch(1.0))
    before = {name: values_of(update.parts.own[name]) for name in groups["painter"]}
    step(batch(0.0))
    after = {name: values_of(update.parts.own[name]) for name in groups["painter"]}
    for name, same in (("painter", True), ("all_painters", False)):
        assert all(np.array_equal(a, b) for a, b in zip(before[name], after[name], strict=True)) == same, name


def test_a_network_for_one_task_has_a_branch_of_its_own() -> None:
    model = small_network({"style": TASKS["style"]}, shared_layers=(6,), task_layers=(5,), fine_tune="all")
    parts = parts_of(model, {"style": ["style"]})
    assert {v.path.split("/")[0] for v in parts.own["style"]} == {"style", "style_0"} and len(parts.shared) > 4


def test_strategies_without_anything_shared_are_refused() -> None:
    for changes in ({"strategy": "pcgrad"}, {"strategy": "alternate"}, {"monitor_conflict": True}):
        with pytest.raises(UserError, match="has nothing to do where the tasks share no weights"):
            TrainSettings(fine_tune="heads", **changes)  # type: ignore[arg-type]
    TrainSettings(fine_tune="heads", strategy="pcgrad", shared_layers=(8,))
