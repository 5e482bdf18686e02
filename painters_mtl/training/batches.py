"""The batches of a training, in one sequence: the images, the labels, and which task's step it is.

All randomness comes from (seed, epoch, step): any batch can be made again without the ones before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from painters_mtl.network.forward import augmented_crops
from painters_mtl.training.augmentation import (
    mixes_in_epoch,
    random_colors,
    random_crops,
    random_mixes,
    random_squares,
)
from painters_mtl.training.pixel_effects import colored, mixed
from painters_mtl.training.sampling import EpochPlan


class Partners(NamedTuple):
    """Of crops that show two paintings, the second ones; fields as in `Batch`."""

    labels: Mapping[str, tf.Tensor]
    label_weights: Mapping[str, tf.Tensor]
    rows: tf.Tensor
    shares: tf.Tensor
    """How much of each crop shows the first painting: float32 (n,), 1 where there is no second one."""


class Batch(NamedTuple):
    """What one step is given; with several processes, the images of this one and the rest of the whole batch."""

    images: Any
    """What the network reads: float32 (n, side, side, 3), for two inputs {"image": ..., "detail": ...}; or features,
    float32 (n, channels)."""
    labels: Mapping[str, tf.Tensor]
    """{head: int32 (n,)}; 0 where the weight is 0."""
    label_weights: Mapping[str, tf.Tensor]
    """{head: float32 (n,)}: 1 for a label, 0 for a missing one."""
    task: tf.Tensor
    """The number of the task whose step it is, int32 scalar; means nothing where every step trains all tasks."""
    rows: tf.Tensor
    """Which training paintings these are, int32 (n,)."""
    partners: Partners | tuple[()] = ()
    """What is mixed into the crops; () where nothing is."""


class ShownLabels(NamedTuple):
    """The labels of all paintings that the crops of a batch show: of n, or of the n partners behind them too."""

    labels: Mapping[str, tf.Tensor]
    """{head: int32 (n or 2n,)}."""
    weights: Mapping[str, tf.Tensor]
    """{head: float32 (n or 2n,)}: the share of the crop that shows the painting, 0 for a missing label."""
    rows: tf.Tensor
    """int32 (n or 2n,)."""
    shares: tf.Tensor
    """float32 (n or 2n,)."""
    paintings_per_crop: int


def shown_labels(batch: Batch) -> ShownLabels:
    """The labels of a batch, each with the share of its crop that shows its painting."""
    if not isinstance(batch.partners, Partners):
        return ShownLabels(batch.labels, batch.label_weights, batch.rows, tf.ones(batch.rows.shape), 1)
    partners = batch.partners
    shares = tf.concat([partners.shares, 1 - partners.shares], 0)
    labels = {head: tf.concat([values, partners.labels[head]], 0) for head, values in batch.labels.items()}
    weights = {
        head: shares * tf.concat([values, partners.label_weights[head]], 0)
        for head, values in batch.label_weights.items()
    }
    return ShownLabels(labels, weights, tf.concat([batch.rows, partners.rows], 0), shares, 2)


@dataclass(frozen=True)
class CropEffects:
    """What is done to crops beside the cutting."""

    mix: float = 0.0
    """Share of the crops that another painting is mixed into."""
    color: float = 0.0
    """The most that brightness, contrast and saturation vary by."""


@dataclass(frozen=True)
class BatchSequence:
    """Which batches are to come, of all epochs of a training."""

    labels: Mapping[str, np.ndarray]
    """{head: int32 (n,)} of the training paintings, -1 for "no label"."""
    plan: Callable[[int], EpochPlan]
    """The batches of each epoch, counted from 0."""
    epochs: int
    seed: int
    first_epoch: int = 0
    """The epoch to begin with."""
    first_step: int = 0
    """The step of that epoch to begin with."""
    local_places: np.ndarray | None = None
    """The places in a batch whose images this process wants, where it trains with others; None: all."""

    def places(self, batch_size: int) -> np.ndarray:
        """The places in a batch whose images are wanted: int64."""
        return np.arange(batch_size) if self.local_places is None else self.local_places


def labels_and_weights(
    labels: Mapping[str, np.ndarray], rows: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels and label weights of a batch: a missing label, -1, becomes class 0 with weight 0."""
    chosen = {name: values[rows] for name, values in labels.items()}
    weights = {name: (values >= 0).astype(np.float32) for name, values in chosen.items()}
    return {name: np.maximum(values, 0) for name, values in chosen.items()}, weights


def crop_batches(
    pixels: np.ndarray,
    image_rows: np.ndarray,
    sequence: BatchSequence,
    sides: Sequence[int],
    effects: CropEffects | None = None,
) -> tf.data.Dataset:
    """Batches of augmented crops: a dataset of `Batch`.

    Args:
        pixels: cached images, uint8 (images, side, side, 3), in memory or mapped from disk. For a network with two
            inputs (images, 2, side, side, 3): the whole painting and its middle at its own resolution.
        image_rows: int (n,), the cached image of each training painting.
        sides: of the crops in pixels, for each epoch.
        effects: for networks with one input only; None: the crops stay as they are.
    """
    crops = _Crops(pixels, image_rows, sequence, sides, effects or CropEffects())
    signature = _signature(crops, sequence.plan(0).rows.shape[1])
    return (
        tf.data.Dataset.from_generator(crops.batches, output_signature=signature)
        .map(crops.cut, num_parallel_calls=2, deterministic=True)
        .prefetch(4)
        .with_options(_without_autotune())
    )


@dataclass(frozen=True)
class _Crops:
    """What `crop_batches` is given, and its two stages: boxes and numbers in numpy, then pixels in TensorFlow."""

    pixels: np.ndarray
    image_rows: np.ndarray
    sequence: BatchSequence
    sides: Sequence[int]
    effects: CropEffects

    def batches(self) -> Iterator[tuple]:
        """Each batch, not cut yet, the crops to mix in, and the numbers for the colours."""
        sequence = self.sequence
        for epoch in range(sequence.first_epoch, sequence.epochs):
            plan = sequence.plan(epoch)
            for step in range(sequence.first_step if epoch == sequence.first_epoch else 0, len(plan.rows)):
                rows = plan.rows[step]
                images = self._boxes(rows, epoch, step)
                labels, weights = labels_and_weights(sequence.labels, rows)
                batch = Batch(images, labels, weights, plan.task_schedule[step], rows.astype(np.int32))
                yield self._with_effects(batch, rows, epoch, step)

    def _boxes(self, rows: np.ndarray, epoch: int, step: int) -> tuple:
        """The cached images of a batch, the boxes of their crops and the side of these."""
        batch_size, crop_side = len(rows), self.sides[epoch]
        places = self.sequence.places(batch_size)
        rng = np.random.default_rng([self.sequence.seed, epoch, step])
        boxes = random_crops(batch_size, rng)
        if self.pixels.ndim == 5:
            squares = random_squares(batch_size, min(1.0, crop_side / self.pixels.shape[2]), rng)
            boxes = np.concatenate([boxes, squares], axis=1)
        return self.pixels[self.image_rows[rows[places]]], boxes[places], crop_side

    def _with_effects(self, batch: Batch, rows: np.ndarray, epoch: int, step: int) -> tuple:
        """The batch, the crops to mix in, and the numbers for the colours."""
        sequence, effects = self.sequence, self.effects
        places = sequence.places(len(rows))
        rng = np.random.default_rng([sequence.seed, epoch, step, 1])  # the crops are those of a training without
        others: tuple = ()
        if effects.mix:
            mix = random_mixes(len(rows), effects.mix if mixes_in_epoch(epoch, sequence.epochs) else 0.0, rng)
            second = rows[mix.partners]
            partners = Partners(*labels_and_weights(sequence.labels, second), second.astype(np.int32), mix.shares)
            batch = batch._replace(partners=partners)
            crops = random_crops(len(rows), rng)[places]
            others = self.pixels[self.image_rows[second[places]]], crops, mix.opacities[places], mix.boxes[places]
        colors = (random_colors(len(rows), effects.color, rng)[places],) if effects.color else ()
        return batch, others, colors

    def cut(self, batch: Batch, others: tuple, colors: tuple) -> Batch:
        """The batch with its crops."""
        images, boxes, crop_side = batch.images
        if self.pixels.ndim == 5:
            whole = augmented_crops(images[:, 0], boxes[:, :4], crop_side)
            detail = augmented_crops(images[:, 1], boxes[:, 4:], crop_side)
            return batch._replace(images={"image": whole, "detail": detail})
        crops = augmented_crops(images, boxes, crop_side)
        if others:
            second, second_boxes, opacities, pasted = others
            crops = mixed(crops, augmented_crops(second, second_boxes, crop_side), opacities, pasted)
        return batch._replace(images=colored(crops, colors[0]) if colors else crops)


def _signature(crops: _Crops, batch_size: int) -> tuple:
    """Shapes and types of what `_Crops.batches` gives."""
    pixels, effects, heads = crops.pixels, crops.effects, list(crops.sequence.labels)
    places = len(crops.sequence.places(batch_size))
    images = tf.TensorSpec((places, *pixels.shape[1:]), tf.uint8)
    boxes = tf.TensorSpec((places, 8 if pixels.ndim == 5 else 4), tf.float32)
    numbers, floats = tf.TensorSpec((batch_size,), tf.int32), tf.TensorSpec((batch_size,), tf.float32)
    of_heads = dict.fromkeys(heads, numbers), dict.fromkeys(heads, floats)
    scalar = tf.TensorSpec((), tf.int32)
    partners = Partners(*of_heads, numbers, floats) if effects.mix else ()
    batch = Batch((images, boxes, scalar), *of_heads, scalar, numbers, partners)
    others = (images, boxes, tf.TensorSpec((places,), tf.float32), boxes) if effects.mix else ()
    return batch, others, (tf.TensorSpec((places, 3), tf.float32),) if effects.color else ()


def feature_batches(features: np.ndarray, sequence: BatchSequence) -> tf.data.Dataset:
    """Batches of cached features, for a training of the heads alone: a dataset of `Batch`.

    Args:
        features: float32 (n, flips, channels) of the training paintings; of the flips of a painting, one is drawn each
            time.
    """
    plans = [sequence.plan(epoch) for epoch in range(sequence.epochs)]
    steps, batch_size = plans[0].rows.shape
    places = sequence.places(batch_size)
    rows, schedule = np.concatenate([p.rows for p in plans]), np.concatenate([p.task_schedule for p in plans])
    flips = np.random.default_rng([sequence.seed, steps]).integers(features.shape[1], size=rows.shape)
    all_features = tf.constant(features, tf.float32)
    all_labels, all_weights = (
        {name: tf.constant(values) for name, values in part.items()}
        for part in labels_and_weights(sequence.labels, np.arange(len(features)))
    )

    def batch(rows: tf.Tensor, flips: tf.Tensor, task: tf.Tensor) -> Batch:
        return Batch(
            tf.gather_nd(all_features, tf.gather(tf.stack([rows, flips], axis=1), places)),
            {name: tf.gather(values, rows) for name, values in all_labels.items()},
            {name: tf.gather(values, rows) for name, values in all_weights.items()},
            task,
            tf.cast(rows, tf.int32),
        )

    done = steps * sequence.first_epoch + sequence.first_step
    return (
        tf.data.Dataset.from_tensor_slices((rows[done:], flips[done:], schedule[done:]))
        .map(batch)
        .prefetch(8)
        .with_options(_without_autotune())
    )


def _without_autotune() -> tf.data.Options:
    """Nothing is left to tune, and the tuner's thread, asleep for up to a minute, holds up the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
