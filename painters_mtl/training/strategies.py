"""How the losses of several tasks become one update.

Every strategy sees the losses of one batch, one a task, and which tasks have a label in it at all. A loss weighting
answers with a weight for each loss, before one backward pass. A gradient method answers with a coefficient for the
gradient that each task alone gives to the shared weights; it costs a backward pass a task. Both leave out tasks
without a label in the batch. Heads and hidden layers of a task's own follow that task's loss only.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import keras
import numpy as np
import tensorflow as tf


class Strategy:
    """Equal weights: one update on the sum of the losses (which --task-weights may have scaled). The one to beat."""

    needs_features = False
    """Whether `weights` wants the norms of the gradients at the shared features."""
    needs_losses = False
    """Whether the answer of `weights` depends on the losses of the batch."""

    def __init__(self, tasks: int, seed: int = 0) -> None:
        self.tasks, self.seed = tasks, seed
        self.state: dict[str, tf.Variable] = {}
        """What it remembers from step to step; saved with a checkpoint."""

    def remember(self, name: str, start: Sequence[float] | np.ndarray) -> tf.Variable:
        """A float32 variable that is part of the state."""
        self.state[name] = tf.Variable(np.asarray(start, np.float32), trainable=False, name=name)
        return self.state[name]

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """Weights of the losses, float32 (tasks,), constants to the backward pass; called once a step.

        Args:
            losses: float32 (tasks,), 0 where the batch has no label.
            present: float32 (tasks,), 1 where the batch has a label, else 0.
            norms: float32 (tasks,): the norm of each unweighted loss's gradient at the shared features, where the
                strategy `needs_features`.
        """
        return tf.ones(self.tasks)

    def end_epoch(self, losses: np.ndarray) -> None:
        """Called with the mean losses of the epoch, float (tasks,), NaN for a task that no batch had a label of."""


class Uncertainty(Strategy):
    """Weights 1 / sigma^2 from learned uncertainties (Kendall, Gal & Cipolla 2018, arXiv 1705.07115, equation 10).

    The objective is sum(exp(-s) L + s / 2) with s = log sigma^2, which has its minimum in s at exp(-s) = 1 / (2 L). s
    goes down its own gradient.
    """

    RATE = 0.025
    needs_losses = True

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.log_variance = self.remember("log_variance", np.zeros(tasks))

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """exp(-s), then a step on s."""
        weights = tf.exp(-self.log_variance)
        self.log_variance.assign_sub(self.RATE * present * (0.5 - weights * losses))
        return weights


class DynamicWeightAverage(Strategy):
    """Weights by how slowly each loss fell in the last two epochs (Liu, Johns & Davison 2019, arXiv 1803.10704)."""

    TEMPERATURE = 2.0

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.now = self.remember("weights", np.ones(tasks))
        self.before = self.remember("losses", np.full(tasks, np.nan))

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """Those of the epoch; 1 in the first two."""
        return tf.identity(self.now)

    def end_epoch(self, losses: np.ndarray) -> None:
        """tasks * softmax(loss / loss before / temperature); a ratio that is not known counts as 1."""
        before = self.before.numpy()
        if not np.isnan(before).all():
            ratio = np.nan_to_num(losses / before, nan=1.0, posinf=1.0)
            share = np.exp(ratio / self.TEMPERATURE)
            self.now.assign((self.tasks * share / share.sum()).astype(np.float32))
        self.before.assign(np.where(np.isnan(losses), before, losses).astype(np.float32))


class GradNorm(Strategy):
    """Weights that bring the tasks' gradients to like norms, larger for tasks that lag (Chen 2018, arXiv 1711.02257).

    The norms are taken at the shared features, not at the last shared layer's kernel as in the paper: that costs next
    to nothing and works where that layer is frozen.
    """

    ALPHA, RATE = 1.5, 0.025
    needs_features = needs_losses = True

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.w = self.remember("weights", np.ones(tasks))
        self.first = self.remember("first_losses", np.zeros(tasks))  # 0: not seen yet

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """The weights, then their step down |w norm - target|, and back to the same sum."""
        used = tf.identity(self.w)
        self.first.assign(tf.where((self.first == 0) & (present > 0), losses, self.first))
        count = tf.maximum(tf.reduce_sum(present), 1.0)
        ratio = losses / tf.where(self.first > 0, self.first, 1.0)
        rate = ratio / tf.maximum(tf.reduce_sum(ratio * present) / count, 1e-12)
        weighted = used * norms
        target = tf.reduce_sum(weighted * present) / count * rate**self.ALPHA
        moved = tf.maximum(used - self.RATE * present * tf.sign(weighted - target) * norms, 1e-3)
        size = tf.reduce_sum(used * present) / tf.maximum(tf.reduce_sum(moved * present), 1e-12)
        self.w.assign(tf.where(present > 0, moved * size, used))
        return used


class Famo(Strategy):
    """Weights that let all losses fall at like rates, from the losses alone (Liu 2023, arXiv 2306.03792).

    The paper compares the losses of a batch before and after its step, for a second forward pass. Here each batch is
    compared with the one before it: the noise of the batches cancels in the long run, and the step costs nothing. As in
    the authors' code the logits are moved by Adam, without which they would hardly move at all.
    """

    RATE, DECAY, MEAN, SQUARE, EPSILON = 0.025, 0.001, 0.9, 0.999, 1e-8
    needs_losses = True

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.logits = self.remember("logits", np.zeros(tasks))
        self.before = self.remember("log_losses", np.full(tasks, np.nan))
        self.mean, self.square, self.steps = (
            self.remember(name, np.zeros(tasks)) for name in ("mean_gradients", "mean_squares", "steps")
        )

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """c z / L with z = softmax(logits), over the tasks that are present; c makes their mean 1."""
        logs = tf.math.log(losses + 1e-8)
        known = (present > 0) & ~tf.math.is_nan(self.before)
        fell = tf.where(known, self.before - logs, 0.0)
        z = self._shares(present)
        gradient = z * (fell - tf.reduce_sum(z * fell))  # the Jacobian of the softmax is symmetric
        self._adam(gradient + self.DECAY * self.logits, known)
        self.before.assign(tf.where(present > 0, logs, self.before))
        over = self._shares(present) / (losses + 1e-8)
        return tf.reduce_sum(present) * over / tf.maximum(tf.reduce_sum(over), 1e-12)

    def _adam(self, gradient: tf.Tensor, known: tf.Tensor) -> None:
        """Move the logits of the tasks whose gradient is `known` (Kingma & Ba 2015, arXiv 1412.6980)."""
        self.steps.assign_add(tf.cast(known, tf.float32))
        for moment, part, value in ((self.mean, self.MEAN, gradient), (self.square, self.SQUARE, gradient**2)):
            moment.assign(tf.where(known, part * moment + (1 - part) * value, moment))
        steps = tf.maximum(self.steps, 1.0)
        mean, square = self.mean / (1 - self.MEAN**steps), self.square / (1 - self.SQUARE**steps)
        moved = self.logits - self.RATE * mean / (tf.sqrt(square) + self.EPSILON)
        self.logits.assign(tf.where(known, moved, self.logits))

    def _shares(self, present: tf.Tensor) -> tf.Tensor:
        """The softmax of the logits over the tasks that are present, 0 for the others."""
        shares = tf.nn.softmax(self.logits) * present
        return shares / tf.maximum(tf.reduce_sum(shares), 1e-12)


class GradientMethod(Strategy):
    """A strategy that looks at each task's gradient on the shared weights."""

    def combine(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Coefficients of the tasks' gradients in the shared weights' update: float32 (tasks,).

        Everything these methods do stays in the span of the gradients, so their inner products tell enough.

        Args:
            gram: float32 (tasks, tasks); rows and columns of tasks that are not present are 0.
            step: int64, for methods that draw at random.
        """
        raise NotImplementedError


class PCGrad(GradientMethod):
    """Takes from each gradient what goes against another, in random order (Yu 2020, arXiv 2001.06782)."""

    def combine(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Row i of `c` holds what the i-th projected gradient is made of."""
        rows = []
        draws = tf.random.stateless_uniform((self.tasks, self.tasks), tf.stack([np.int64(self.seed), step]))
        for i in range(self.tasks):
            c = tf.one_hot(i, self.tasks)
            order = tf.argsort(draws[i])
            for k in range(self.tasks):
                j = order[k]
                product = tf.tensordot(c, gram[:, j], 1)
                against = (j != i) & (product < 0) & (gram[j, j] > 0)
                c -= tf.where(against, product / tf.where(gram[j, j] > 0, gram[j, j], 1.0), 0.0) * tf.one_hot(
                    j, self.tasks
                )
            rows.append(c)
        return tf.reduce_sum(tf.stack(rows) * present[:, None], axis=0)


class CAGrad(GradientMethod):
    """Helps the worst-off task within a ball around the mean gradient (Liu 2021, arXiv 2110.14048), c = 0.4.

    The dual, min over w in the simplex of g_w . g_0 + c |g_0| |g_w|, is convex; exponentiated gradient descent solves
    it.
    """

    RADIUS, STEPS = 0.4, 100

    def combine(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """`tasks` times the paper's mean direction, so that the size is that of the sum of the gradients."""
        count = tf.maximum(tf.reduce_sum(present), 1.0)
        mean = present / count
        # Solved for gradients of mean square 1: the minimum does not depend on the scale, the step size does.
        scale = tf.maximum(tf.linalg.trace(gram) / count, 1e-20)
        g = gram / scale
        norm0 = tf.sqrt(tf.maximum(tf.tensordot(mean, tf.linalg.matvec(g, mean), 1), 0.0))
        w = mean
        for k in range(self.STEPS):
            gw = tf.linalg.matvec(g, w)
            norm = tf.sqrt(tf.maximum(tf.tensordot(w, gw, 1), 1e-12))
            slope = tf.linalg.matvec(g, mean) + self.RADIUS * norm0 * gw / norm
            slope = tf.where(present > 0, slope - tf.reduce_min(tf.where(present > 0, slope, np.float32(np.inf))), 0.0)
            w *= tf.exp(-slope / (1 + 0.05 * k)) * present
            w /= tf.maximum(tf.reduce_sum(w), 1e-12)
        norm = tf.sqrt(tf.maximum(tf.tensordot(w, tf.linalg.matvec(g, w), 1), 0.0))
        return count * (mean + tf.where(norm > 1e-6, self.RADIUS * norm0 / tf.maximum(norm, 1e-6), 0.0) * w)


class UPGrad(GradientMethod):
    """Projects each gradient to the cone of directions that hurt no task (Quinton & Rey 2024, arXiv 2406.16232).

    The sum of the projections has no negative product with any task's gradient: to first order, no task is hurt. Each
    projection is a quadratic program in as many unknowns as tasks; with so few, all sets of active constraints are
    tried, and the solution is exact.
    """

    def combine(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Sum over i of argmin |sum_j v_j g_j| with v >= e_i."""
        scale = tf.sqrt(tf.maximum(tf.linalg.diag_part(gram), 1e-20))
        cosines = gram / (scale[:, None] * scale[None, :])
        # Gradients may be parallel; a gradient of 0 (no label) is a constraint that always holds.
        cosines = tf.linalg.set_diag(cosines, tf.ones(self.tasks) * (1 + 1e-6))
        total = tf.zeros(self.tasks)
        for i in range(self.tasks):
            total += present[i] * self._project(cosines, tf.one_hot(i, self.tasks) * scale[i])
        return total / scale * present

    def _project(self, g: tf.Tensor, least: tf.Tensor) -> tf.Tensor:
        """argmin v' g v with v >= least: the best of the feasible points that an active set gives."""
        best, best_value = least, tf.tensordot(least, tf.linalg.matvec(g, least), 1)
        everyone = range(self.tasks)
        for free in (f for size in range(1, self.tasks) for f in combinations(everyone, size)):
            bound = [k for k in everyone if k not in free]
            rows = tf.gather(g, list(free))
            right = -tf.linalg.matvec(tf.gather(rows, bound, axis=1), tf.gather(least, bound))
            solved = tf.linalg.solve(tf.gather(rows, list(free), axis=1), right[:, None])[:, 0]
            v = tf.tensor_scatter_nd_update(least, [[k] for k in free], solved)
            value = tf.tensordot(v, tf.linalg.matvec(g, v), 1)
            better = tf.reduce_all(v >= least) & (value < best_value)
            best, best_value = tf.where(better, v, best), tf.where(better, value, best_value)
        return best


class Alternate(Strategy):
    """A task a step: the step's loss is that of the task whose turn it is, and only its branch and what is shared move.

    Collobert & Weston 2008 (ICML, "A unified architecture for natural language processing") trained so; for the order
    of the turns see `pipeline.plan_turns` (Stickland & Murray 2019, arXiv 1902.02671).
    """


STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
    "joint": Strategy,
    "alternate": Alternate,
    "uncertainty": Uncertainty,
    "dwa": DynamicWeightAverage,
    "gradnorm": GradNorm,
    "famo": Famo,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "upgrad": UPGrad,
}


class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for a part of a network, which stands still when told to.

    A head whose batch has no label must not move: neither by Adam's momentum nor by weight decay, and its step count,
    which corrects the moments for their start at 0, stands still too. Keras's optimizers have no such switch.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7

    def __init__(self, variables: Sequence[keras.Variable], rates: Sequence[float], decays: Sequence[float]) -> None:
        """Args:
        rates: for each variable, the part of the learning rate at which it moves.
        decays: for each variable, its weight decay.
        """
        self.variables, self.rates, self.decays = list(variables), list(rates), list(decays)
        self.steps = tf.Variable(0.0, trainable=False)
        self.m = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
        self.v = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]

    @property
    def state(self) -> list[tf.Variable]:
        """Step count and moments; saved with a checkpoint."""
        return [self.steps, *self.m, *self.v]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, moves: tf.Tensor) -> None:
        """One step, in place. `moves` is float32 () 1 or 0: 0 changes nothing at all.

        TensorFlow's fused kernel reads and writes each weight once; op by op, as Keras's optimizers work, the step of
        this size of network takes a fifth of the training time. With both betas 1 and the rate 0, it changes nothing.
        """
        self.steps.assign_add(moves)
        count = tf.maximum(self.steps, 1.0)
        beta_1, beta_2 = 1 - moves * (1 - self.BETA_1), 1 - moves * (1 - self.BETA_2)
        for variable, gradient, m, v, rate, decay in zip(
            self.variables, gradients, self.m, self.v, self.rates, self.decays, strict=True
        ):
            moved = moves * learning_rate * rate
            if decay:
                shrunk = moved * decay * variable.value
                tf.raw_ops.AssignSubVariableOp(resource=variable.value.handle, value=shrunk)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle, m=m.handle, v=v.handle, beta1_power=self.BETA_1**count,
                beta2_power=self.BETA_2**count, lr=moved, beta1=beta_1, beta2=beta_2, epsilon=self.EPSILON,
                grad=gradient,
            )  # fmt: skip
