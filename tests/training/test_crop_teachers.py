"""Teachers that answer for the crops that the network is shown."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers import fitted, make_data, small_network, tiny_settings
from steps import OBJECTIVE, SIZE, TASKS, WEIGHTS, partly_labelled_batch, still_network

from painters_mtl.common.errors import UserError
from painters_mtl.network.multitask import build_model
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.training.batches import Partners
from painters_mtl.training.crop_teachers import CropTeachers
from painters_mtl.training.losses import Losses
from painters_mtl.training.preflight import check_sources
from painters_mtl.training.settings import TrainSettings


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """By the definition: the logits divided, then the softmax."""
    powers = np.asarray(probabilities, np.float64) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def test_of_several_teachers_of_a_head_the_mean_is_softened() -> None:
    images = partly_labelled_batch(0).images
    first, second = still_network(1), still_network(2)
    only_style = tf.keras.Model(second.input, {"style": second.output["style"]})
    teachers = CropTeachers.of([first, only_style], ["style", "genre", "period"])
    answers = teachers.soft_targets(images, 3.0)
    one, other = first(images, training=False), second(images, training=False)
    wanted = {"style": (one["style"] + other["style"]) / 2, "genre": one["genre"]}
    assert set(answers) == set(wanted)
    for head, probabilities in wanted.items():
        np.testing.assert_allclose(answers[head], softened(probabilities, 3.0), rtol=2e-4, atol=1e-6)


def test_crops_are_large_enough_for_every_teacher() -> None:
    """Also for one whose heads read pyramid maps, as after the fits at the end of a training."""
    tasks = {"style": TASKS["style"]}
    small, wide = (small_network(tasks, multi_scale=multi_scale) for multi_scale in (False, True))
    assert CropTeachers.of([small, wide], ["style"]).least_side(160) == 32
    inception = build_model(tasks, NetworkSettings(backbone="InceptionV3", weights="none", image_size=160))
    least = CropTeachers.of([wide, inception], ["style"]).least_side(160)
    assert least > 32 and np.isfinite(inception(np.zeros((1, least, least, 3), np.float32))["style"]).all()


def test_the_teacher_is_asked_about_the_crop_whatever_it_is_mixed_of() -> None:
    """Its answer is one, for a crop that shows two paintings; labels count by their shares as ever."""
    batch, other = partly_labelled_batch(0), partly_labelled_batch(1)
    mixed = batch._replace(partners=Partners(other.labels, other.label_weights, other.rows, tf.fill((SIZE,), 0.7)))
    network, teacher = still_network(1), still_network(2)
    outputs, answers = network(batch.images), teacher(batch.images)
    settings = TrainSettings(teacher_weight=0.4, temperature=2.0)
    alone = Losses(OBJECTIVE, settings).of_heads(outputs, mixed)
    objective = dataclasses.replace(OBJECTIVE, crop_teachers=CropTeachers.of([teacher], ["style"]))
    taught = Losses(objective, settings)
    losses = taught.of_heads(outputs, mixed)
    target, answer = softened(answers["style"], 2.0), softened(outputs["style"], 2.0)
    divergence = (target * np.log(target / answer)).sum(axis=1).mean()
    assert float(losses["style"]) == pytest.approx(0.6 * float(alone["style"]) + 0.4 * 4 * divergence, rel=1e-4)
    for head in set(WEIGHTS) - {"style"}:
        assert float(losses[head]) == float(alone[head])
    unlabelled = {head: tf.zeros(SIZE) for head in WEIGHTS}
    present = taught.taught_heads(batch._replace(label_weights=unlabelled))
    assert {head: float(value) for head, value in present.items() if float(value)} == {"style": 1.0}


@pytest.mark.slow
def test_who_knows_all_that_the_teacher_knows_has_nothing_to_learn_from_crops(tmp_path: Path) -> None:
    """The teacher's own copy answers as the teacher does on any crop; whole paintings are not what it is shown."""
    settings = tiny_settings(make_data(tmp_path / "data", count=80), tmp_path, name="first", other_painters=0.0)
    _, _, first = fitted(dataclasses.replace(settings, painter_known=True))
    taught = dataclasses.replace(
        settings,
        start_from=(first,),
        teachers=(first,),
        teacher_weight=1.0,
        freeze="backbone",
        dropout=0.0,
        mix=0.5,
        epochs=1,
        learning_rate=1e-30,  # else Adam makes steps of its size of what is left by rounding
    )
    losses = {}
    for view in ("crop", "whole"):
        _, outcome, _ = fitted(dataclasses.replace(taught, name=view, teacher_view=view))
        losses[view] = float(outcome.history["loss"].iloc[0])
    assert losses["crop"] < 1e-5 < 1e-4 < losses["whole"]


def test_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--teacher-view crop is about the crops that a backbone trains on"):
        TrainSettings(teacher_view="crop", fine_tune="heads")
    with pytest.raises(UserError, match="--teacher-view crop does nothing without --teachers or --distill"):
        check_sources(TrainSettings(teacher_view="crop"), tmp_path / "new")
