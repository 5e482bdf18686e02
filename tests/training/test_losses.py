"""Losses of heads, by hand: labels, label smoothing, a teacher's answers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.training.batches import Batch, Partners
from painters_mtl.training.losses import Losses, Objective, smoothed_crossentropy
from painters_mtl.training.settings import TrainSettings


def test_label_smoothing_and_its_mean_over_the_labelled() -> None:
    """By hand: the smoothed label against the logarithms, over the two of three rows that have a weight."""
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]], np.float32)
    labels = tf.constant([0, 2, 1])
    loss = smoothed_crossentropy(labels, p, tf.constant([1.0, 1.0, 0.0]), 0.3)
    rows = [0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1)]
    rows += [0.8 * math.log(0.8) + 0.2 * math.log(0.1)]
    assert float(loss) == pytest.approx(-np.mean(rows), rel=1e-5)
    plain = keras.losses.SparseCategoricalCrossentropy()(np.array([0, 2, 1]), p)
    assert float(smoothed_crossentropy(labels, p, tf.ones(3), 0.0)) == pytest.approx(float(plain), rel=1e-6)


def test_the_loss_with_a_teacher_by_hand() -> None:
    """Of paintings with and without a label: (1 - w) cross-entropy + w T^2 KL(teacher || student)."""
    rng = np.random.default_rng(0)
    teacher = rng.dirichlet(np.ones(3), 10).astype(np.float32)
    settings = TrainSettings(label_smoothing=0.0, teacher_weight=0.3, temperature=2.0)
    losses = Losses(
        Objective({"style": ["style"]}, {"style": 1.0}, {"style": apply_temperature(teacher, 2.0)}), settings
    )
    p = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    rows = np.array([7, 0, 3, 7])
    labels, label_weights = np.array([1, 0, 2, 0]), np.array([1.0, 0.0, 1.0, 1.0], np.float32)
    batch = Batch(None, {"style": labels}, {"style": tf.constant(label_weights)}, None, tf.constant(rows))
    loss = losses.of_heads({"style": tf.constant(p)}, batch)["style"]
    hard = -np.log(p[[0, 2, 3], labels[[0, 2, 3]]]).mean()
    q, s = apply_temperature(teacher, 2.0)[rows], apply_temperature(p, 2.0)
    divergence = 4 * (q * np.log(q / s)).sum(axis=1).mean()
    assert float(loss) == pytest.approx(0.7 * hard + 0.3 * divergence, rel=1e-4)
    unlabelled = batch._replace(label_weights={"style": tf.zeros(4)})
    loss = losses.of_heads({"style": tf.constant(p)}, unlabelled)["style"]
    assert float(loss) == pytest.approx(0.3 * divergence, rel=1e-4)
    assert float(losses.taught_heads(unlabelled)["style"]) == 1


def test_the_share_of_teachers_falls_in_a_straight_line() -> None:
    progress = tf.Variable(0.0)
    objective = Objective({"style": ["style"]}, {"style": 1.0})
    for weight, shares in ((0.5, [1.0, 0.75, 0.0]), (0.8, [1.0, 1.0, 0.0]), (0.2, [0.4, 0.3, 0.0])):
        settings = TrainSettings(teacher_weight=weight, teacher_schedule="annealed")
        losses = Losses(objective, settings, lambda: progress.value())
        for done, share in zip((0.0, 0.25, 1.0), shares, strict=True):
            progress.assign(done)
            assert float(losses.teachers_share()) == pytest.approx(share)
    assert Losses(objective, TrainSettings(teacher_weight=0.3)).teachers_share() == 0.3


def test_the_loss_of_mixed_crops_by_hand() -> None:
    """Each label counts by the share of the crop that shows its painting, a missing one not at all."""
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), 4).astype(np.float32)
    own, other = np.array([1, 0, 2, 0]), np.array([2, 2, 1, 0])
    has, other_has = np.array([1, 0, 1, 1], np.float32), np.array([1, 1, 0, 1], np.float32)
    shares = np.array([0.7, 0.5, 0.9, 1.0], np.float32)
    teacher = rng.dirichlet(np.ones(3), 10).astype(np.float32)
    rows, other_rows = np.array([7, 0, 3, 7]), np.array([1, 2, 3, 4])
    partners = Partners(
        {"style": other}, {"style": tf.constant(other_has)}, tf.constant(other_rows), tf.constant(shares)
    )
    batch = Batch(None, {"style": own}, {"style": tf.constant(has)}, None, tf.constant(rows), partners)
    weights, other_weights = shares * has, (1 - shares) * other_has
    numbers = np.arange(4)
    hard = -(weights * np.log(p[numbers, own]) + other_weights * np.log(p[numbers, other])).sum()
    hard /= (weights + other_weights).sum()
    divergence = [(t * np.log(t / p)).sum(axis=1) for t in (teacher[rows], teacher[other_rows])]
    soft = (shares * divergence[0] + (1 - shares) * divergence[1]).mean()
    objective = Objective({"style": ["style"]}, {"style": 1.0}, {"style": teacher})
    losses = Losses(objective, TrainSettings(label_smoothing=0.0, teacher_weight=0.3, temperature=1.0))
    assert float(losses.of_heads({"style": tf.constant(p)}, batch)["style"]) == pytest.approx(
        0.7 * hard + 0.3 * soft, rel=1e-4
    )
