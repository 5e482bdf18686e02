"""Strategies that weigh the losses: one backward pass, on their weighted sum."""

import numpy as np
import tensorflow as tf

from painters_mtl.training.strategies.strategy import Strategy


class Uncertainty(Strategy):
    """`uncertainty`: weights 1 / sigma^2 from learned uncertainties (Kendall, Gal & Cipolla 2018, arXiv 1705.07115).

    The objective is their equation 10, sum(exp(-s) L + s / 2) with s = log sigma^2; its minimum in s is at
    exp(-s) = 1 / (2 L). In the paper the network's optimizer learns s; here s goes down its own gradient at a fixed
    rate, and stands still for a task without a label in the batch.
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
    """`dwa`: weights by how slowly each loss fell in the last two epochs (Liu, Johns & Davison 2019, arXiv 1803.10704).

    As in the paper, at its temperature of 2. Here a task may have had no label in an epoch: its last known loss is
    compared, and a ratio that is not known counts as 1.
    """

    TEMPERATURE = 2.0

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.epoch_weights = self.remember("weights", np.ones(tasks))
        self.last_losses = self.remember("losses", np.full(tasks, np.nan))

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """Those of the epoch; 1 in the first two."""
        return tf.identity(self.epoch_weights)

    def end_epoch(self, losses: np.ndarray) -> None:
        """Set the next epoch's weights: tasks * softmax(loss / loss of the epoch before / temperature)."""
        last_losses = self.last_losses.numpy()
        if not np.isnan(last_losses).all():
            ratios = np.nan_to_num(losses / last_losses, nan=1.0, posinf=1.0)
            exponentials = np.exp(ratios / self.TEMPERATURE)
            self.epoch_weights.assign((self.tasks * exponentials / exponentials.sum()).astype(np.float32))
        self.last_losses.assign(np.where(np.isnan(losses), last_losses, losses).astype(np.float32))


class GradNorm(Strategy):
    """`gradnorm`: weights that even out the tasks' gradient norms, more for tasks that lag.

    Chen et al. 2018, arXiv 1711.02257, with alpha = 1.5. The norms are taken at the shared features, not at the kernel
    of the last shared layer as in the paper: that costs next to nothing, and works where that layer is frozen.
    """

    ALPHA, RATE = 1.5, 0.025
    needs_features = needs_losses = True

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.task_weights = self.remember("weights", np.ones(tasks))
        self.first_losses = self.remember("first_losses", np.zeros(tasks))  # 0: no batch had a label yet

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """The weights, then their step down |weight * norm - target|, and back to the same sum."""
        weights = tf.identity(self.task_weights)
        first_seen = (self.first_losses == 0) & (present > 0)
        self.first_losses.assign(tf.where(first_seen, losses, self.first_losses))
        count = tf.maximum(tf.reduce_sum(present), 1.0)
        ratio = losses / tf.where(self.first_losses > 0, self.first_losses, 1.0)
        inverse_rate = ratio / tf.maximum(tf.reduce_sum(ratio * present) / count, 1e-12)
        weighted_norms = weights * norms
        target = tf.reduce_sum(weighted_norms * present) / count * inverse_rate**self.ALPHA
        moved = tf.maximum(weights - self.RATE * present * tf.sign(weighted_norms - target) * norms, 1e-3)
        size = tf.reduce_sum(weights * present) / tf.maximum(tf.reduce_sum(moved * present), 1e-12)
        self.task_weights.assign(tf.where(present > 0, moved * size, weights))
        return weights


class Famo(Strategy):
    """`famo`: weights that let all losses fall at like rates, found from the losses alone (Liu 2023, arXiv 2306.03792).

    The paper compares the losses of a batch before and after its step, for a second forward pass. Here each batch is
    compared with the one before it: the noise of the batches cancels in the long run, and the step costs nothing. As
    in the authors' code, Adam moves the logits, without which they would hardly move at all.
    """

    RATE, DECAY, BETA_1, BETA_2, EPSILON = 0.025, 0.001, 0.9, 0.999, 1e-8
    needs_losses = True

    def __init__(self, tasks: int, seed: int = 0) -> None:
        super().__init__(tasks, seed)
        self.logits = self.remember("logits", np.zeros(tasks))
        self.last_log_losses = self.remember("log_losses", np.full(tasks, np.nan))
        self.mean, self.square, self.steps = (
            self.remember(name, np.zeros(tasks)) for name in ("mean_gradients", "mean_squares", "steps")
        )

    def weights(self, losses: tf.Tensor, present: tf.Tensor, norms: tf.Tensor | None) -> tf.Tensor:
        """c z / L with z = softmax(logits), over the tasks that are present; c makes their mean 1."""
        log_losses = tf.math.log(losses + 1e-8)
        comparable = (present > 0) & ~tf.math.is_nan(self.last_log_losses)
        decrease = tf.where(comparable, self.last_log_losses - log_losses, 0.0)
        z = self._softmax(present)
        gradient = z * (decrease - tf.reduce_sum(z * decrease))  # the Jacobian of the softmax is symmetric
        self._adam_step(gradient + self.DECAY * self.logits, comparable)
        self.last_log_losses.assign(tf.where(present > 0, log_losses, self.last_log_losses))
        quotients = self._softmax(present) / (losses + 1e-8)
        return tf.reduce_sum(present) * quotients / tf.maximum(tf.reduce_sum(quotients), 1e-12)

    def _adam_step(self, gradient: tf.Tensor, moves: tf.Tensor) -> None:
        """Move the logits of the tasks that bool `moves` (tasks,) marks (Kingma & Ba 2015, arXiv 1412.6980)."""
        self.steps.assign_add(tf.cast(moves, tf.float32))
        for moment, beta, value in ((self.mean, self.BETA_1, gradient), (self.square, self.BETA_2, gradient**2)):
            moment.assign(tf.where(moves, beta * moment + (1 - beta) * value, moment))
        steps = tf.maximum(self.steps, 1.0)
        mean, square = self.mean / (1 - self.BETA_1**steps), self.square / (1 - self.BETA_2**steps)
        moved = self.logits - self.RATE * mean / (tf.sqrt(square) + self.EPSILON)
        self.logits.assign(tf.where(moves, moved, self.logits))

    def _softmax(self, present: tf.Tensor) -> tf.Tensor:
        """The softmax of the logits over the tasks that are present, 0 for the others: float32 (tasks,)."""
        z = tf.nn.softmax(self.logits) * present
        return z / tf.maximum(tf.reduce_sum(z), 1e-12)
