"""What a batch teaches: the loss of each head, from labels and from a teacher's answers, and the loss of each task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.training.batches import Batch, shown_labels
from painters_mtl.training.crop_teachers import CropTeachers
from painters_mtl.training.settings import TrainSettings


@dataclass(frozen=True)
class Objective:
    """What a training is to learn."""

    heads: Mapping[str, Sequence[str]]
    """The names of each task's heads, keyed by task. A strategy sees the sum of a task's losses as one."""
    loss_weights: Mapping[str, float]
    """Of each head. A head of weight 0 learns nothing, and a task of such heads does not count at all."""
    soft_targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The teachers' answers, softened: {head: float32 (training paintings, classes)}."""
    crop_teachers: CropTeachers | None = None
    """Teachers that answer at each step, in the place of `soft_targets`."""


@dataclass(frozen=True)
class BatchTotals:
    """Of the whole batch of which a part is seen: the sum of each head's label weights, and how many paintings."""

    label_weights: Mapping[str, tf.Tensor]
    paintings: int


def smoothed_crossentropy(
    labels: tf.Tensor, probabilities: tf.Tensor, label_weights: tf.Tensor, smoothing: float
) -> tf.Tensor:
    """Mean cross-entropy over the labelled rows, a float32 scalar; 0 where no row has a label.

    With label smoothing (Szegedy et al. 2016, arXiv 1512.00567). Not a Keras loss: those divide by the number of
    devices.

    Args:
        labels: int32 (n,).
        probabilities: float32 (n, classes).
        label_weights: float32 (n,), 1 or 0.
        smoothing: the share of each label that is spread evenly over the classes.
    """
    classes = probabilities.shape[-1]
    targets = tf.one_hot(tf.cast(labels, tf.int32), classes, on_value=1 - smoothing) + smoothing / classes
    rows = keras.losses.categorical_crossentropy(targets, probabilities)
    weights = tf.cast(label_weights, rows.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(weights * rows), tf.reduce_sum(weights))


def distillation_loss(
    soft_targets: tf.Tensor, probabilities: tf.Tensor, temperature: float, shares: tf.Tensor
) -> tf.Tensor:
    """T^2 times the mean Kullback-Leibler divergence of softened answers from a teacher's: a float32 scalar.

    Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network, arXiv 1503.02531.

    Args:
        soft_targets: float32 (n, classes), the teacher's probabilities at this temperature.
        probabilities: float32 (n, classes), at temperature 1.
        shares: float32 (n,), of each row in the mean.
    """
    softened = tf.nn.log_softmax(tf.math.log(probabilities + 1e-12) / temperature)
    divergence = tf.reduce_sum(soft_targets * (tf.math.log(soft_targets + 1e-12) - softened), axis=1)
    return temperature**2 * tf.reduce_sum(shares * divergence) / tf.reduce_sum(shares)


class Losses:
    """The losses of a batch, head by head and task by task."""

    def __init__(
        self, objective: Objective, settings: TrainSettings, progress: Callable[[], tf.Tensor] = lambda: tf.zeros(())
    ) -> None:
        """Args:
        progress: the share of all steps that is done, a float32 scalar, asked for at each step.
        """
        self.heads_of_task = {task: list(heads) for task, heads in objective.heads.items()}
        self.loss_weights = dict(objective.loss_weights)
        self.crop_teachers = objective.crop_teachers
        self.soft_targets = {head: tf.constant(values) for head, values in objective.soft_targets.items()}
        self.smoothing = settings.label_smoothing
        self.teacher_weight, self.temperature = settings.teacher_weight, settings.temperature
        taught = self.crop_teachers.of_heads if self.crop_teachers else self.soft_targets
        self.taught_by_others = list(taught)
        """The heads for which there is a teacher."""
        self.annealed, self.progress = settings.teacher_schedule == "annealed", progress

    def teachers_share(self) -> float | tf.Tensor:
        """The share of the loss that is the teachers' at this step.

        Annealed, it is 2 w (1 - progress), at most 1: for w = 0.5 the teacher annealing of Clark et al. 2019, arXiv
        1907.04829.
        """
        if not self.annealed:
            return self.teacher_weight
        return tf.minimum(2 * self.teacher_weight * (1 - self.progress()), 1.0)

    def of_heads(
        self, probabilities: Mapping[str, tf.Tensor], batch: Batch, totals: BatchTotals | None = None
    ) -> dict[str, tf.Tensor]:
        """The loss of each head: {head: float32 scalar}, 0 where the batch has no label.

        Where the batch is a part of a larger one, `totals` are those of the larger one, and each loss is this part's
        share of its loss. The losses of the parts then add up to the loss of the whole, and so do their gradients: a
        mean over labelled paintings weighs which part of all labels is here, a mean over paintings which part of all
        paintings. Of crops that show two paintings, both labels count, by their shares.
        """
        shown = shown_labels(batch)
        weights = shown.weights
        by_label = {head: tf.tile(probabilities[head], (shown.paintings_per_crop, 1)) for head in self.loss_weights}
        losses = {
            head: smoothed_crossentropy(shown.labels[head], by_label[head], weights[head], self.smoothing)
            for head in self.loss_weights
        }
        if totals is not None:
            losses = {
                head: loss * tf.math.divide_no_nan(tf.reduce_sum(weights[head]), totals.label_weights[head])
                for head, loss in losses.items()
            }
        if not self.taught_by_others:
            return losses
        share = self.teachers_share()
        if self.crop_teachers is None:
            targets = {head: tf.gather(values, shown.rows) for head, values in self.soft_targets.items()}
            shares = shown.shares
        else:  # of a crop that shows two paintings there is one answer
            targets = self.crop_teachers.soft_targets(batch.images, self.temperature)
            by_label, shares = dict(probabilities), tf.ones(batch.rows.shape)
        for head in self.taught_by_others:
            distilled = distillation_loss(targets[head], by_label[head], self.temperature, shares)
            if totals is not None:
                distilled *= batch.rows.shape[0] / totals.paintings
            losses[head] = (1 - share) * losses[head] + share * distilled
        return losses

    def of_tasks(self, head_losses: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """The loss of each task: the weighted sum of its heads' losses."""
        return [
            tf.add_n([self.loss_weights[head] * head_losses[head] for head in heads])
            for heads in self.heads_of_task.values()
        ]

    def taught_heads(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Whether the batch teaches a head anything: {head: 1.0 or 0.0}. A teacher has an answer for every painting."""
        weights = shown_labels(batch).weights
        labelled = {head: tf.cast(tf.reduce_max(weights[head]) > 0, tf.float32) for head in self.loss_weights}
        labelled |= dict.fromkeys(self.taught_by_others, tf.ones(()))
        return {head: float(self.loss_weights[head] > 0) * value for head, value in labelled.items()}
