"""A batch in parts, whose losses and gradients add up to those of the whole batch.

A part is what one device sees of one micro-batch (`--accumulate`, `--distribute`). Each label weighs the same in
whichever part it is: the losses are given the totals of the whole batch.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from painters_mtl.training.batches import Batch, shown_labels
from painters_mtl.training.devices import Devices
from painters_mtl.training.losses import BatchTotals

PartFunction = Callable[[Batch, BatchTotals | None], list[tf.Tensor]]


class BatchParts:
    """How the batches of a training are divided."""

    def __init__(self, micro_batches: int, devices: Devices) -> None:
        self.micro_batches, self.devices = micro_batches, devices
        self.sum: Callable[[Batch, PartFunction, Sequence[Sequence[int]]], list[tf.Tensor]]
        """The sums, over all parts of a batch, of the tensors that a function makes of a part; the same on each device.

        Its arguments are the batch, the function, and the shapes of the tensors. The function is called with a part and
        the totals of the batch, or with the whole batch and None.
        """
        if devices.count > 1:
            self.sum = self._sum_over_devices
        elif micro_batches > 1:
            self.sum = self._sum_over_micro_batches
        else:
            self.sum = self._whole_batch

    def _whole_batch(self, batch: Batch, of_part: PartFunction, shapes: Sequence[Sequence[int]]) -> list[tf.Tensor]:
        return of_part(batch, None)

    def _sum_over_micro_batches(
        self, batch: Batch, of_part: PartFunction, shapes: Sequence[Sequence[int]]
    ) -> list[tf.Tensor]:
        """One after the other, so that the activations of one are in memory at a time."""
        totals = _totals(batch)

        def add(i: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
            return [i + 1, *(s + v for s, v in zip(sums, of_part(self._part(batch, i), totals), strict=True))]

        start = [0, *(tf.zeros(shape) for shape in shapes)]
        return tf.while_loop(lambda i, *_: i < self.micro_batches, add, start, parallel_iterations=1)[1:]

    def _sum_over_devices(
        self, batch: Batch, of_part: PartFunction, shapes: Sequence[Sequence[int]]
    ) -> list[tf.Tensor]:
        """The micro-batches of this device one after the other, then the sums over all devices.

        Without a loop in the graph: in one, devices cannot wait for each other, as BatchNormalization makes them.
        """
        totals = _totals(batch)
        sums = of_part(self._part(batch, 0), totals)
        for i in range(1, self.micro_batches):
            with tf.control_dependencies(sums):
                sums = [s + v for s, v in zip(sums, of_part(self._part(batch, i), totals), strict=True)]
        return self.devices.summed(sums)

    def _part(self, batch: Batch, micro_batch: tf.Tensor | int) -> Batch:
        """What this device sees of a micro-batch."""
        count, local_count = self.devices.count, self.devices.local_count
        number = self.devices.number()
        size = batch.rows.shape[0] // (self.micro_batches * count)

        def cut(values: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
            return tf.ensure_shape(values[place * size : (place + 1) * size], (size, *values.shape[1:]))

        # The images are those of the devices of this process; of labels and rows it has those of all.
        local_place, place = micro_batch * local_count + number - self.devices.first, micro_batch * count + number
        images = tf.nest.map_structure(lambda v: cut(v, local_place), batch.images)
        labels, weights, rows, partners = tf.nest.map_structure(
            lambda v: cut(v, place), (batch.labels, batch.label_weights, batch.rows, batch.partners)
        )
        return Batch(images, labels, weights, batch.task, rows, partners)


def _totals(batch: Batch) -> BatchTotals:
    label_weights = {head: tf.reduce_sum(values) for head, values in shown_labels(batch).weights.items()}
    return BatchTotals(label_weights, batch.rows.shape[0])
