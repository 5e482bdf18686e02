"""What every strategy answers: the weight of each task's loss. Here, the same for all tasks.

A strategy sees one loss for each task of a batch, and which tasks have a label in it. A loss weighting answers with a
weight for each loss, before one backward pass. A gradient method answers with a coefficient for the gradient that each
task alone gives to the shared weights, which takes a backward pass a task. Tasks without a label in the batch are left
out by both. Heads and hidden layers of a task's own always follow that task's loss only.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class Strategy:
    """`joint`: equal weights, so a step goes down the sum of the losses (which --task-weights may have scaled).

    The one to beat (Kurin et al. 2022, In defense of the unitary scalarization for deep multi-task learning, arXiv
    2201.04122).
    """

    needs_losses = False
    """Whether the answer of `weights` depends on the losses of the batch."""
    needs_features = False
    """Whether `weights` wants the norms of the gradients at the shared features; then it needs the losses too."""

    def __init__(self, tasks: int, seed: int = 0) -> None:
        """Args:
        tasks: how many there are.
        seed: for strategies that draw at random.
        """
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
            losses: float32 (tasks,), 0 where the batch has no label; all 0 unless the strategy `needs_losses`.
            present: float32 (tasks,), 1 where the batch has a label, else 0.
            norms: float32 (tasks,): the norm of each unweighted loss's gradient at the shared features, where the
                strategy `needs_features`.
        """
        return tf.ones(self.tasks)

    def end_epoch(self, losses: np.ndarray) -> None:
        """Called with the mean losses of the epoch, float (tasks,), NaN for a task that no batch had a label of."""


class Alternate(Strategy):
    """`alternate`: each step is one task's. Only that task's loss counts, and only its branch and shared weights move.

    Collobert & Weston 2008 (ICML, A unified architecture for natural language processing) trained so. Here each task
    has an optimizer of its own, and `sampling.TaskSchedule` says which step is whose.
    """
