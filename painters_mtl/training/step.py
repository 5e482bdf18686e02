"""One step of training: a batch in, the weights moved as the strategy says.

Three questions are answered once, when a `TrainStep` is made, each by choosing a function. Does the batch come in parts
(`BatchParts.sum`)? Is the gradient of one sum of losses enough, or does the strategy look at the gradient of each task
(`gradients`)? Does every step train all tasks, or one whose turn it is (`taught_heads`)?
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.network.graph import TRUNK, named_tensors
from painters_mtl.training.batches import Batch
from painters_mtl.training.devices import Devices
from painters_mtl.training.losses import BatchTotals, Losses, Objective
from painters_mtl.training.micro_batches import BatchParts
from painters_mtl.training.optimizer import LossScale, learning_rate_schedule
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.strategies.by_name import STRATEGIES
from painters_mtl.training.strategies.gradient_methods import GradientMethod
from painters_mtl.training.strategies.strategy import Alternate
from painters_mtl.training.weight_groups import SHARED, GroupOptimizers, group_weights

ZERO = tf.UnconnectedGradients.ZERO


class PartLosses(NamedTuple):
    """A part of a batch through the network."""

    head_losses: tf.Tensor
    """Unweighted, float32 (heads,), 0 without a label."""
    task_losses: list[tf.Tensor]
    """Float32 scalars."""
    features: tf.Tensor
    """Where the branches of the tasks begin: float32 (n, channels)."""


class Gradients(NamedTuple):
    """What the weights are moved by, before the learning rate."""

    head_losses: tf.Tensor
    shared: list[tf.Tensor]
    """Of each shared weight."""
    branches: list[tf.Tensor]
    """Of each weight of the branches, head after head."""


class TaskGradients(NamedTuple):
    """What a strategy that looks at each task's gradient is given."""

    head_losses: tf.Tensor
    feature_norms: tf.Tensor | None
    """Of each task's gradient at the shared features, float32 (tasks,), where the strategy asks for it."""
    shared: list[list[tf.Tensor]]
    """For each task, the gradient of its loss on each shared weight."""
    branches: list[tf.Tensor]
    """Of each weight of the branches, by its own task's loss."""


class TrainStep:
    """The losses, gradients and optimizers of one training. `step` moves the weights, `cosines` compares gradients."""

    def __init__(
        self,
        network: keras.Model,
        objective: Objective,
        settings: TrainSettings,
        steps: int,
        pretrained: Sequence[keras.Variable] = (),
        float16: bool = False,
        devices: Devices | None = None,
    ) -> None:
        """Args:
        steps: of the whole training.
        pretrained: the weights of a pretrained backbone, which move at a part of the learning rate.
        float16: whether the network computes in float16: then its losses are scaled.
        devices: those that train together. `step` is then given the images of its process, and the rest of the batch as
            a whole.
        """
        self.heads, self.tasks = list(network.output), list(objective.heads)
        self.steps_done = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.losses = Losses(objective, settings, lambda: tf.cast(self.steps_done, tf.float32) / steps)
        self.groups = group_weights(network, objective.heads)
        # TensorFlow's own variables: of a Keras variable, the gradient that is not there fails instead of being 0.
        self.shared = [v.value for v in self.groups.shared]
        self.branches = [v.value for head in self.heads for v in self.groups.branches[head]]
        # One network gives the probabilities and, on the way, the features at which the branches begin.
        self.network = keras.Model(network.input, {TRUNK: named_tensors(network)[TRUNK], **network.output})
        self.strategy = STRATEGIES[settings.strategy](len(self.tasks), settings.seed)
        self.devices = devices or Devices()
        self.loss_scale = LossScale(used=float16)
        self.schedule = learning_rate_schedule(settings.learning_rate, steps)

        self.parts = BatchParts(settings.accumulate, self.devices)
        # What the losses of the whole batch decide cannot be known while its first part is seen.
        weights_come_late = settings.accumulate > 1 and self.strategy.needs_losses
        if isinstance(self.strategy, GradientMethod) and self.shared:
            self.gradients, self.coefficients = self.per_task_gradients, self._coefficients_from_gradients
        elif weights_come_late:
            self.gradients, self.coefficients = self.per_task_gradients, self._coefficients_from_losses
        else:
            self.gradients = self.weighted_gradients
        alternates = isinstance(self.strategy, Alternate) and len(self.tasks) > 1
        self.taught_heads = self._taught_heads_of_turn if alternates else self.losses.taught_heads
        self.optimizers = GroupOptimizers(self.groups, objective.heads, pretrained, settings, by_task=alternates)

    @property
    def state(self) -> list[tf.Variable]:
        """All that a training remembers beside the network's weights, in a fixed order; saved with a checkpoint."""
        return [self.steps_done, *self.strategy.state.values(), *self.optimizers.state, *self.loss_scale.state]

    @tf.autograph.experimental.do_not_convert  # plain tensors: nothing to convert, and tracing is faster
    def step(self, batch: Batch, frozen: str = "none") -> tf.Tensor:
        """Move the weights once. Returns the unweighted loss of each head, float32 (heads,), NaN without a label.

        Args:
            frozen: what stands still: "backbone" (all that tasks share), "heads" (all that they do not), or "none".
        """

        @tf.autograph.experimental.do_not_convert
        def on_device(batch: Batch) -> tf.Tensor:
            return self._step_on_device(batch, frozen)

        with self._kept_statistics(frozen):
            return self.devices.run(on_device, batch)

    @contextlib.contextmanager
    def _kept_statistics(self, frozen: str) -> Iterator[None]:
        """Within the block, BatchNormalization of what is frozen runs in inference mode and keeps its statistics."""
        layers = self.groups.shared_normalisation if frozen == "backbone" else []
        for layer in layers:
            layer.trainable = False
        try:
            yield
        finally:
            for layer in layers:
                layer.trainable = True

    def _step_on_device(self, batch: Batch, frozen: str) -> tf.Tensor:
        taught = self.taught_heads(batch)
        present = tf.stack([tf.reduce_max([taught[h] for h in heads]) for heads in self.losses.heads_of_task.values()])
        rate = self.schedule(tf.identity(self.steps_done))
        head_losses, shared, branches = self.gradients(batch, present)
        gradients, finite = self.loss_scale.checked([*shared, *branches])
        moves = {SHARED: tf.reduce_max(present), **taught}
        for group in moves:
            own = group in self.losses.heads_of_task  # the head over all painters is none, and starts at random
            frozen_group = (frozen == "backbone" and group == SHARED) or (frozen == "heads" and own)
            moves[group] = tf.zeros(()) if frozen_group else moves[group] * finite
        self.optimizers.apply(gradients, rate, moves, batch.task)
        self.steps_done.assign_add(1)
        return tf.stack([tf.where(taught[head] > 0, head_losses[i], np.nan) for i, head in enumerate(self.heads)])

    def _taught_heads_of_turn(self, batch: Batch) -> dict[str, tf.Tensor]:
        """As if only the labels of the task whose turn it is were there."""
        turn = {
            head: tf.cast(batch.task == number, tf.float32)
            for number, heads in enumerate(self.losses.heads_of_task.values())
            for head in heads
        }
        return {head: taught * turn[head] for head, taught in self.losses.taught_heads(batch).items()}

    def task_losses(self, batch_part: Batch, totals: BatchTotals | None, training: bool = True) -> PartLosses:
        """The losses of a batch, or of a part of the batch that has these totals."""
        outputs = self.network(batch_part.images, training=training)
        head_losses = self.losses.of_heads(outputs, batch_part, totals)
        stacked = tf.stack([head_losses[head] for head in self.heads])
        return PartLosses(stacked, self.losses.of_tasks(head_losses), outputs[TRUNK])

    def weighted_gradients(self, batch: Batch, present: tf.Tensor) -> Gradients:
        """Gradients of the weighted sum of the tasks' losses, in one backward pass.

        The strategy knows the weights beforehand, or finds them in the losses between the forward and the backward
        pass.

        Args:
            present: float32 (tasks,), 1 for a task with a label in the batch, else 0.
        """
        variables = [*self.shared, *self.branches]
        early_weights = None
        if not self.strategy.needs_losses:
            early_weights = self.strategy.weights(tf.zeros(len(self.tasks)), present, None) * present

        def of_part(batch_part: Batch, totals: BatchTotals | None) -> list[tf.Tensor]:
            with tf.GradientTape(persistent=self.strategy.needs_features) as tape:
                tape.watch(batch_part.images)
                forward = self.task_losses(batch_part, totals)
                losses = self.loss_scale.scaled(forward.task_losses)
            weights = self._weights_from_losses(tape, forward, present) if early_weights is None else early_weights
            return [forward.head_losses, *tape.gradient(losses, variables, tf.unstack(weights, num=len(losses)), ZERO)]

        shapes = [(len(self.heads),), *(v.shape for v in variables)]
        head_losses, *gradients = self.parts.sum(batch, of_part, shapes)
        return Gradients(head_losses, gradients[: len(self.shared)], gradients[len(self.shared) :])

    def _weights_from_losses(self, tape: tf.GradientTape, forward: PartLosses, present: tf.Tensor) -> tf.Tensor:
        """The strategy's weights, float32 (tasks,), from the losses on all devices."""
        norms = None
        if self.strategy.needs_features:
            norms = self._feature_norms(tape, forward)
            norms = tf.sqrt(self.devices.summed([norms**2])[0]) if self.devices.count > 1 else norms
        losses = self.devices.summed([tf.stack(forward.task_losses)])[0]
        return self.strategy.weights(losses, present, norms) * present

    def per_task_gradients(self, batch: Batch, present: tf.Tensor) -> Gradients:
        """Gradients for which the strategy looks at those of each task, in a backward pass a task.

        A gradient method asks for that. So does a loss weighting that finds its weights in the losses of the whole
        batch, when the batch comes in parts.

        Args:
            present: float32 (tasks,), 1 for a task with a label in the batch, else 0.
        """
        tasks, count = len(self.tasks), len(self.shared)
        needs_features = self.strategy.needs_features

        def of_part(batch_part: Batch, totals: BatchTotals | None) -> list[tf.Tensor]:
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(batch_part.images)
                forward = self.task_losses(batch_part, totals)
                losses = self.loss_scale.scaled(forward.task_losses)
            by_task = self._gradients_by_task(tape, losses)
            branches = tape.gradient(losses, self.branches, unconnected_gradients=ZERO)
            squares = [self._feature_norms(tape, forward) ** 2] if needs_features else []
            return [forward.head_losses, *squares, *by_task, *branches]

        shapes = [(len(self.heads),)]
        if needs_features:
            shapes.append((tasks,))
        shapes += [v.shape for v in [*self.shared * tasks, *self.branches]]
        head_losses, *sums = self.parts.sum(batch, of_part, shapes)
        norms = tf.sqrt(sums.pop(0)) if needs_features else None
        by_task = [sums[t * count : (t + 1) * count] for t in range(tasks)]
        gradients = TaskGradients(head_losses, norms, by_task, sums[tasks * count :])
        factors, branches = self.coefficients(gradients, present)
        shared = [tf.add_n([factors[t] * g for t, g in enumerate(row)]) for row in zip(*by_task, strict=True)]
        return Gradients(head_losses, shared, branches)

    def _coefficients_from_gradients(
        self, gradients: TaskGradients, present: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """A gradient method's coefficients, float32 (tasks,), and the branches' gradients as they are."""
        assert isinstance(self.strategy, GradientMethod)
        gram = gram_matrix([self.loss_scale.unscaled(of_task) for of_task in gradients.shared])
        return self.strategy.coefficients(gram, present, self.steps_done) * present, gradients.branches

    def _coefficients_from_losses(
        self, gradients: TaskGradients, present: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """A loss weighting's weights, float32 (tasks,), and the branches' gradients times their task's weight."""
        head_losses = dict(zip(self.heads, tf.unstack(gradients.head_losses, num=len(self.heads)), strict=True))
        losses = tf.stack(self.losses.of_tasks(head_losses))
        weights = self.strategy.weights(losses, present, gradients.feature_norms) * present
        task_of = {head: t for t, heads in enumerate(self.losses.heads_of_task.values()) for head in heads}
        owners = [task_of[head] for head in self.heads for _ in self.groups.branches[head]]
        return weights, [weights[t] * gradient for t, gradient in zip(owners, gradients.branches, strict=True)]

    def _gradients_by_task(self, tape: tf.GradientTape, losses: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients on the shared weights of the first task's loss, then of the second's, and so on."""
        return [g for loss in losses for g in tape.gradient(loss, self.shared, unconnected_gradients=ZERO)]

    def _feature_norms(self, tape: tf.GradientTape, forward: PartLosses) -> tf.Tensor:
        """The norm of each task's gradient at the shared features: float32 (tasks,)."""
        gradients = [tape.gradient(loss, forward.features, unconnected_gradients=ZERO) for loss in forward.task_losses]
        return tf.stack([tf.norm(tf.cast(tf.nest.flatten(g)[0], tf.float32)) for g in gradients])

    @tf.autograph.experimental.do_not_convert
    def cosines(self, batch: Batch) -> tf.Tensor:
        """Cosines between the tasks' gradients on the shared weights, float32 (tasks, tasks); moves nothing.

        NaN where a task has no label in the batch.
        """
        return self.devices.run(self._cosines_on_device, batch)

    @tf.autograph.experimental.do_not_convert
    def _cosines_on_device(self, batch: Batch) -> tf.Tensor:
        tasks, count = len(self.tasks), len(self.shared)

        def of_part(batch_part: Batch, totals: BatchTotals | None) -> list[tf.Tensor]:
            with tf.GradientTape(persistent=True) as tape:
                forward = self.task_losses(batch_part, totals, training=False)
                losses = self.loss_scale.scaled(forward.task_losses)  # in 16 bits small gradients would else be lost
            return self._gradients_by_task(tape, losses)

        gradients = self.parts.sum(batch, of_part, [v.shape for v in self.shared * tasks])
        gram = gram_matrix([gradients[t * count : (t + 1) * count] for t in range(tasks)])
        norms = tf.sqrt(tf.linalg.diag_part(gram))
        return gram / (norms[:, None] * norms[None, :])


def gram_matrix(gradients: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """Inner products of gradients, each given as a list of tensors: float32 (gradients, gradients)."""
    flat = [tf.concat([tf.reshape(tensor, [-1]) for tensor in gradient], 0) for gradient in gradients]
    # Not one matrix product: TensorFlow takes four times as long for one of three long rows.
    products = {(i, j): tf.reduce_sum(a * flat[j]) for i, a in enumerate(flat) for j in range(i + 1)}
    numbers = range(len(flat))
    return tf.stack([tf.stack([products[max(i, j), min(i, j)] for j in numbers]) for i in numbers])
