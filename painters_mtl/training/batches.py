"""From the store to batches: which paintings, in which order, seen through which crop.

All randomness comes from (seed, epoch, step): any batch can be made again without the ones before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from painters_mtl.network.forward import augmented_crops

MAX_REPEAT = 3  # a work with a scarce label is drawn at most so often in an epoch
MIN_AREA = 0.3  # of a painting, in a training crop
ASPECT = 0.1  # log of how much a crop's sides may differ from the painting's


def repeats(labels: Mapping[str, np.ndarray], label_share: float) -> np.ndarray:
    """How often each training painting is drawn in an epoch: float64 of shape (n,), 1 to `MAX_REPEAT`.

    A task whose labels are on a share s < `label_share` of the paintings would see few of its own in each batch. Its
    works are repeated r times, so that they make up `label_share` of the epoch: r s / (1 - s + r s) = label_share.
    """
    n = len(next(iter(labels.values())))
    factor = np.ones(n)
    for values in labels.values():
        share = float(np.mean(values >= 0))
        if 0 < share < label_share:
            r = label_share * (1 - share) / (share * (1 - label_share))
            factor[values >= 0] = np.maximum(factor[values >= 0], min(r, MAX_REPEAT))
    return factor


def epoch_order(factor: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The paintings of an epoch, shuffled: int64 positions. Of 1.7 repeats, 0.7 is one more by chance."""
    rng = np.random.default_rng([seed, epoch])
    whole = np.floor(factor).astype(np.int64)
    times = whole + (rng.random(len(factor)) < factor - whole)
    return rng.permutation(np.repeat(np.arange(len(factor)), times))


def crops(n: int, rng: np.random.Generator) -> np.ndarray:
    """Random views of n paintings: float32 (n, 4), each (top, left, bottom, right) in parts of the side.

    A crop holds at least 0.3 of the painting and is mirrored half of the time (left > right). Never turned or upside
    down: a genre has an up and a down.
    """
    scale, aspect = np.sqrt(rng.uniform(MIN_AREA, 1, n)), np.exp(rng.uniform(-ASPECT, ASPECT, n))
    height, width = np.minimum(1, scale * aspect), np.minimum(1, scale / aspect)
    top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    return _mirrored(top, left, height, width, rng)


def details(n: int, part: float, rng: np.random.Generator) -> np.ndarray:
    """Random squares of n details, each `part` of the side, mirrored half of the time; as `crops`."""
    top, left = rng.uniform(0, 1 - part, (2, n))
    return _mirrored(top, left, part, part, rng)


def _mirrored(
    top: np.ndarray, left: np.ndarray, height: np.ndarray | float, width: np.ndarray | float, rng: np.random.Generator
) -> np.ndarray:
    """Boxes of these corners and sizes as float32 (n, 4), left and right exchanged half of the time."""
    mirrored = rng.random(len(top)) < 0.5
    start, end = np.where(mirrored, left + width, left), np.where(mirrored, left, left + width)
    return np.stack([top, start, top + height, end], axis=1).astype(np.float32)


def masked(labels: Mapping[str, np.ndarray], rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels and sample weights of a batch, as Keras wants them: a missing label is class 0 with weight 0."""
    picked = {name: values[rows] for name, values in labels.items()}
    weights = {name: (values >= 0).astype(np.float32) for name, values in picked.items()}
    return {name: np.maximum(values, 0) for name, values in picked.items()}, weights


def steps_in_epoch(factor: np.ndarray, batch_size: int) -> int:
    """Whole batches in an epoch of `epoch_order`, the same in each; at least one."""
    return max(1, int(factor.sum()) // batch_size)


@dataclass(frozen=True)
class Plan:
    """The batches of an epoch: paintings, int64 (steps, batch size), and whose turn it is, int32 (steps,)."""

    rows: np.ndarray
    turns: np.ndarray


def plan_epoch(factor: np.ndarray, batch_size: int, steps: int, seed: int, epoch: int) -> Plan:
    """Batches in which every painting teaches all it has a label for; turns are 0 and mean nothing."""
    rows = np.resize(epoch_order(factor, seed, epoch), steps * batch_size).reshape(steps, batch_size)
    return Plan(rows, np.zeros(steps, np.int32))


def plan_turns(
    pools: Mapping[str, np.ndarray],
    counts: Sequence[int],
    factor: np.ndarray,
    sampling: str | float,
    batch_size: int,
    steps: int,
    seed: int,
    epoch: int,
) -> Plan:
    """Batches for one task each, from the paintings that can teach it.

    Args:
        pools: {task: bool (n,)}, which paintings can; one that none can teach has no turn.
        counts: labels of each task.
        factor: float (n,), from `repeats`: how often each painting is drawn in a round through its pool.
        sampling: "uniform", "proportional" to the counts, or a number between: at 0 proportional, at 1 uniform,
            between them the counts to the power of 1 - sampling (Stickland & Murray 2019, arXiv 1902.02671, annealed
            sampling).
    """
    rng = np.random.default_rng([seed, epoch, 2])
    power = {"uniform": 0.0, "proportional": 1.0}[sampling] if isinstance(sampling, str) else 1.0 - sampling
    can = np.array([values.any() for values in pools.values()])
    share = np.where(can, np.maximum(np.asarray(counts, float), 1) ** power, 0)
    turns = rng.choice(len(pools), size=steps, p=share / share.sum()).astype(np.int32)
    rows = np.empty((steps, batch_size), np.int64)
    for task, values in enumerate(pools.values()):
        mine, pool = np.flatnonzero(turns == task), np.flatnonzero(values)
        order = np.empty(0, np.int64)
        while len(order) < len(mine) * batch_size:
            times = np.floor(factor[pool] + rng.random(len(pool))).astype(np.int64)
            order = np.concatenate([order, rng.permutation(np.repeat(pool, times))])
        rows[mine] = order[: len(mine) * batch_size].reshape(len(mine), batch_size)
    return Plan(rows, turns)


def training_batches(
    pixels: np.ndarray,
    rows: np.ndarray,
    labels: Mapping[str, np.ndarray],
    plan: Callable[[int], Plan],
    sides: Sequence[int],
    seed: int,
    first: int = 0,
    first_step: int = 0,
    mine: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Augmented batches (image, {task: label}, {task: weight}, turn, rows) of all epochs, in one sequence.

    Args:
        pixels: uint8 (copies, side, side, 3), in memory or mapped from disk; of two views (copies, 2, side, side, 3),
            and then image is {"image": the whole, "detail": ...}.
        rows: int (n,): the copy of each training painting.
        labels: {task: int32 (n,)}, -1 for "no label".
        plan: the batches of each epoch, counted from 0.
        sides: of the images in pixels, for each epoch.
        first: the epoch to begin with.
        first_step: the step of that epoch to begin with.
        mine: the positions in a batch of which this process wants the images, where it trains with others; of all the
            rest of the batch each of them knows everything.
    """
    batch_size = plan(0).rows.shape[1]
    mine = np.arange(batch_size) if mine is None else mine

    def batches() -> Iterator[tuple]:
        for epoch, image_size in list(enumerate(sides))[first:]:
            planned = plan(epoch)
            for step in range(first_step if epoch == first else 0, len(planned.rows)):
                chosen, turn = planned.rows[step], planned.turns[step]
                rng = np.random.default_rng([seed, epoch, step])
                boxes = crops(batch_size, rng)
                if detailed:
                    boxes = np.concatenate([boxes, details(batch_size, min(1.0, image_size / side), rng)], axis=1)
                seen = pixels[rows[chosen[mine]]], boxes[mine], image_size
                yield seen, *masked(labels, chosen), turn, chosen.astype(np.int32)

    side, detailed = pixels.shape[2], pixels.ndim == 5
    per_task = {name: tf.TensorSpec((batch_size,), tf.int32) for name in labels}
    weights = {name: tf.TensorSpec((batch_size,), tf.float32) for name in labels}
    copies = (
        tf.TensorSpec((len(mine), *pixels.shape[1:]), tf.uint8),
        tf.TensorSpec((len(mine), 8 if detailed else 4), tf.float32),
    )
    signature = (
        (*copies, tf.TensorSpec((), tf.int32)),
        per_task,
        weights,
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((batch_size,), tf.int32),
    )
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)

    def seen_views(copies: tf.Tensor, boxes: tf.Tensor, size: tf.Tensor) -> Any:
        if not detailed:
            return augmented_crops(copies, boxes, size)
        return {
            "image": augmented_crops(copies[:, 0], boxes[:, :4], size),
            "detail": augmented_crops(copies[:, 1], boxes[:, 4:], size),
        }

    dataset = dataset.map(
        lambda seen, *rest: (seen_views(*seen), *rest),
        num_parallel_calls=2,
        deterministic=True,
    )
    return dataset.prefetch(4).with_options(_untuned())


def _untuned() -> tf.data.Options:
    """Nothing is left to tune, and the tuner's thread, asleep for up to a minute, holds up the end of an iterator."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def feature_batches(
    features: np.ndarray,
    labels: Mapping[str, np.ndarray],
    plans: Sequence[Plan],
    seed: int,
    first: int = 0,
    first_step: int = 0,
    mine: np.ndarray | None = None,
) -> tf.data.Dataset:
    """The same for cached features, float32 (n, views, channels): each painting through one of its views at random."""
    mine = np.arange(plans[0].rows.shape[1]) if mine is None else mine
    chosen, turns = np.concatenate([p.rows for p in plans]), np.concatenate([p.turns for p in plans])
    view = np.random.default_rng([seed, len(plans[0].rows)]).integers(features.shape[1], size=chosen.shape)
    held = tf.constant(features, tf.float32)
    truth, weights = ({k: tf.constant(v) for k, v in part.items()} for part in masked(labels, np.arange(len(features))))

    def batch(rows: tf.Tensor, seen_view: tf.Tensor, turn: tf.Tensor) -> tuple:
        seen = tf.gather_nd(held, tf.gather(tf.stack([rows, seen_view], axis=1), mine))
        return (
            seen,
            {k: tf.gather(v, rows) for k, v in truth.items()},
            {k: tf.gather(v, rows) for k, v in weights.items()},
            turn,
            tf.cast(rows, tf.int32),
        )

    done = sum(len(p.rows) for p in plans[:first]) + first_step
    return (
        tf.data.Dataset.from_tensor_slices((chosen[done:], view[done:], turns[done:]))
        .map(batch)
        .prefetch(8)
        .with_options(_untuned())
    )
