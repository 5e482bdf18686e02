"""Strategies, each against a closed form, SciPy's solvers, or a step worked out by hand."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize
from steps import combined

from painters_mtl.common.errors import UserError
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.strategies.by_name import STRATEGIES as CLASSES
from painters_mtl.training.strategies.gradient_methods import CAGrad, GradientMethod, PCGrad, UPGrad
from painters_mtl.training.strategies.loss_weighting import DynamicWeightAverage, Famo, GradNorm, Uncertainty

ALL = tf.ones(3)


def numbers(*values: float) -> tf.Tensor:
    return tf.constant(values, tf.float32)


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
    np.testing.assert_allclose(strategy.task_weights, 2 * moved / moved.sum(), rtol=1e-6)
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


@pytest.mark.parametrize("name", [n for n in STRATEGY_NAMES if not issubclass(CLASSES[n], GradientMethod)])  # type: ignore[arg-type]
def test_a_task_without_a_label_leaves_a_weighting_as_it_was(name: str) -> None:
    """Its loss of 0 is not taken for a loss: the state is that of a training which never saw the batch's third task."""
    one, other = CLASSES[name](3), CLASSES[name](2)
    for losses in ([1.0, 2.0], [0.5, 1.9], [0.4, 1.0]):
        norms = [0.3, 0.9]
        mine = one.weights(numbers(*losses, 0.0), numbers(1, 1, 0), numbers(*norms, 0.0)).numpy()[:2]
        without = other.weights(numbers(*losses), numbers(1, 1), numbers(*norms)).numpy()
        np.testing.assert_allclose(mine / mine.sum(), without / without.sum(), rtol=1e-5)
        assert np.isfinite(mine).all()


# ------------------------------------------------------------------------------------------------- gradient methods


def gradients(seed: int, tasks: int = 3, size: int = 5) -> np.ndarray:
    """Some that conflict, some that do not, of sizes that differ."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(tasks, size)) * rng.uniform(0.1, 10, (tasks, 1)) + rng.normal(size=size) * (seed % 3)


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
    direction = combined(PCGrad(3, seed), g)
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
    assert min(np.abs(direction - s).max() for s in sums) < 1e-4 * np.abs(g).max()


def test_pcgrad_draws_its_orders_from_seed_and_step() -> None:
    g = gradients(0, tasks=4)
    directions = {tuple(combined(PCGrad(4, 1), g, step=step).round(4)) for step in range(20)}
    assert 1 < len(directions) <= 20
    assert {tuple(combined(PCGrad(4, 1), g, step=step).round(4)) for step in range(20)} == directions


@pytest.mark.parametrize("ratio", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("seed", range(12))
def test_cagrad_maximises_the_worst_improvement_in_its_ball(seed: int, ratio: float) -> None:
    """The primal, max over |d - g0| <= c |g0| of min_i g_i . d, by SciPy; ours solves the dual."""
    g = gradients(seed)
    g *= np.geomspace(1, ratio, len(g))[:, None] / np.sqrt(ratio)  # one task's loss may be far larger than another's
    g0 = g.mean(axis=0)
    radius = CAGrad.RADIUS * np.linalg.norm(g0)
    direction = combined(CAGrad(3), g) / 3
    assert np.linalg.norm(direction - g0) <= radius * (1 + 1e-4)
    solved = minimize(
        lambda x: -x[-1], np.append(g0, (g @ g0).min()), method="SLSQP", options={"maxiter": 500},
        constraints=[
            {"type": "ineq", "fun": lambda x: g @ x[:-1] - x[-1]},
            {"type": "ineq", "fun": lambda x: radius**2 - ((x[:-1] - g0) ** 2).sum()},
        ],
    )  # fmt: skip
    best = (g @ solved.x[:-1]).min()
    assert (g @ direction).min() >= best - 1e-3 * max(abs(best), abs((g @ g0).min()))


@pytest.mark.parametrize("seed", range(12))
def test_upgrad_is_the_sum_of_projections_to_the_cone_that_hurts_nobody(seed: int) -> None:
    g = gradients(seed)
    direction = combined(UPGrad(3), g)
    expected = np.zeros(g.shape[1])
    for row in g:  # the nearest d to row with g d >= 0
        expected += minimize(
            lambda d, row=row: ((d - row) ** 2).sum(), row, jac=lambda d, row=row: 2 * (d - row), method="SLSQP",
            constraints={"type": "ineq", "fun": lambda d: g @ d, "jac": lambda d: g}, options={"ftol": 1e-14},
        ).x  # fmt: skip
    np.testing.assert_allclose(direction, expected, atol=2e-3 * np.abs(g).max())
    assert (g @ direction / np.linalg.norm(g, axis=1)).min() >= -1e-3 * np.linalg.norm(direction)


def test_cagrad_without_any_task_moves_nothing() -> None:
    """Of tasks with weight 0 a batch may have labels, and of the others none."""
    coefficients = CAGrad(3).coefficients(tf.zeros((3, 3)), tf.zeros(3), tf.constant(0, tf.int64))
    np.testing.assert_array_equal(coefficients, 0)


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


def test_strategies_without_anything_shared_are_refused() -> None:
    for changes in ({"strategy": "pcgrad"}, {"strategy": "alternate"}, {"monitor_conflict": True}):
        with pytest.raises(UserError, match="has nothing to do where the tasks share no weights"):
            TrainSettings(fine_tune="heads", **changes)  # type: ignore[arg-type]
    TrainSettings(fine_tune="heads", strategy="pcgrad", shared_layers=(8,))
