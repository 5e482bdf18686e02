"""The loop: what it trains on, what stands still, when it ends, which network it keeps."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers import fitted, make_data, same_weights, tiny_settings

from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.network.multitask import build_model
from painters_mtl.runs import run as runs
from painters_mtl.training import fit as training
from painters_mtl.training.batches import BatchSequence, crop_batches
from painters_mtl.training.fit import fit
from painters_mtl.training.sampling import EpochSampler, label_repeats, steps_in_epoch
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few paintings for trainings of one epoch."""
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


def initial(data: Dataset, settings: TrainSettings, **more: Any) -> keras.Model:
    """The network before its first step."""
    keras.utils.set_random_seed(settings.seed)
    return build_model(data.tasks | more, dataclasses.replace(settings, fine_tune="all", dropout=0))


@pytest.mark.slow
def test_a_task_without_weight_has_no_turn(small: Path, tmp_path: Path) -> None:
    changes = {"strategy": "alternate", "task_weights": {"painter": 1.0, "style": 1.0, "genre": 0.0}, "epochs": 4}
    changes["task_sampling"] = "uniform"
    _, outcome, _ = fitted(tiny_settings(small, tmp_path, **changes))
    assert set(outcome.metrics["turns"]) == {"painter", "style"}


def test_weights_of_0_for_all_tasks_with_labels_are_said(small: Path, tmp_path: Path) -> None:
    """The data may lack the one task that has a weight."""
    settings = tiny_settings(small, tmp_path, task_weights={"style": 0.0, "genre": 0.0}, other_painters=0.0)
    data = prepare(settings)
    with pytest.raises(UserError, match=r"--task-weights are 0 for all tasks that have labels here \(style, genre\)"):
        fit(data, settings, tmp_path / "run", {name: data.tasks[name] for name in ("style", "genre")})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other_painters", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_the_loss_is_the_masked_cross_entropy(other_painters: float, small: Path, tmp_path: Path) -> None:
    """With a learning rate that moves nothing, each batch's loss can be had by hand, and their mean is the epoch's."""
    settings = tiny_settings(
        small, tmp_path, epochs=1, learning_rate=1e-30, other_painters=other_painters, label_share=0.6,
        task_weights={"style": 0.5, "genre": 2.0}, batch_size=4, label_smoothing=0.0,
    )  # fmt: skip
    data, outcome, _ = fitted(settings)
    loss_weights = {"painter": 1.0, "style": 0.5, "genre": 2.0}
    labels, more = dict(data.labels), {}
    if other_painters:
        task, numbers = data.all_painters_task()
        labels[task.name], more[task.name], loss_weights[task.name] = numbers, task, other_painters
        assert len(task.classes) == 3 > len(data.tasks["painter"].classes)
    train_rows = data.rows("train")
    labelled = np.any([labels[name][train_rows] >= 0 for name in labels], axis=0)
    rows = train_rows[labelled]
    assert (labels["style"][rows] < 0).any()
    network = initial(data, settings, **more)
    of_rows = {name: values[rows] for name, values in labels.items()}
    repeats = label_repeats({name: of_rows[name] for name in data.tasks}, settings.label_share)
    assert repeats.max() > 1
    losses: dict[str, list[float]] = {name: [] for name in labels}
    sampler = EpochSampler(repeats, 4, steps_in_epoch(repeats, 4))
    sequence = BatchSequence(of_rows, lambda epoch: sampler.plan(epoch, 0), epochs=1, seed=0)
    epoch = crop_batches(data.images.pixels, data.image_rows[rows], sequence, [32])
    for image, classes, present, *_ in epoch.as_numpy_iterator():
        probabilities = network(image, training=True)
        for name in labels:
            p = np.asarray(probabilities[name], np.float64)[np.arange(4), classes[name]]
            mask = present[name] > 0
            if mask.any():
                losses[name].append(float(-np.log(p[mask]).mean()))
    history = outcome.history.iloc[0]
    for name in labels:
        assert history[f"{name}_loss"] == pytest.approx(np.mean(losses[name]), rel=1e-5)
    total = sum(weight * np.mean(losses[name]) for name, weight in loss_weights.items())
    assert history["loss"] == pytest.approx(total, rel=1e-5)


def test_a_head_without_a_label_stands_still(small: Path, tmp_path: Path) -> None:
    """Not moved by its gradient of 0, nor by weight decay."""
    settings = tiny_settings(small, tmp_path, epochs=1, weight_decay=0.5, other_painters=0.0)
    data = prepare(settings)
    genre = data.labels["genre"].copy()
    genre[data.rows("train")] = -1
    data = dataclasses.replace(data, labels=data.labels | {"genre": genre})
    before = initial(data, settings)
    training.fit(data, settings, settings.models / "run")
    after = runs.open_run(settings.models / "run").model()
    assert same_weights(after.get_layer("genre").get_weights(), before.get_layer("genre").get_weights())
    assert (after.get_layer("style").get_weights()[0] != before.get_layer("style").get_weights()[0]).any()


def test_a_training_ends_after_so_many_epochs_without_progress(small: Path, tmp_path: Path) -> None:
    """Nothing moves at a rate of next to nothing, so no epoch is better than the first."""
    changes = {"fine_tune": "heads", "learning_rate": 1e-30, "patience": 2, "epochs": 9, "baselines": False}
    _, outcome, _ = fitted(tiny_settings(small, tmp_path, **changes))
    assert (outcome.metrics["epochs"], outcome.metrics["best_epoch"]) == (3, 1)


def test_patience_begins_when_the_freeze_ends_and_the_freeze_must_end(small: Path, tmp_path: Path) -> None:
    changes = {"learning_rate": 1e-30, "patience": 1, "epochs": 9, "baselines": False, "freeze": "heads"}
    _, outcome, _ = fitted(tiny_settings(small, tmp_path, **changes, freeze_epochs=3))
    assert outcome.metrics["epochs"] == 4 and outcome.metrics["best_epoch"] < 3
    settings = tiny_settings(small, tmp_path, name="other", **{**changes, "epochs": 0}, freeze_epochs=20)
    with pytest.raises(UserError, match="--freeze-epochs 20 is the whole training of 20 epochs"):
        fitted(settings)


def test_without_labels_in_validation_the_last_epoch_is_kept(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=4, patience=1)
    data = prepare(settings)
    style = data.labels["style"].copy()
    style[data.rows("validation")] = -1
    data = dataclasses.replace(data, labels=data.labels | {"style": style})
    outcome = training.fit(data, settings, settings.models / "run", {"style": data.tasks["style"]})
    assert outcome.metrics["epochs"] == outcome.metrics["best_epoch"] == 4


def statistics(folder: Path) -> list[np.ndarray]:
    """The moving means and variances of the network of a run."""
    backbone = runs.open_run(folder).model().get_layer("small_convnet")
    return [v.numpy() for layer in backbone.layers for v in layer.non_trainable_variables if "moving" in v.path]


def test_a_frozen_backbone_without_pretrained_weights_keeps_its_statistics(small: Path, tmp_path: Path) -> None:
    """Until the epoch in which it begins to train; the network is saved as one that can train."""
    common = {"freeze": "backbone", "epochs": 2, "baselines": False}
    settings = tiny_settings(small, tmp_path, name="frozen", **common)
    _, _, frozen = fitted(settings)
    _, _, later = fitted(dataclasses.replace(settings, name="later", freeze_epochs=1))
    means, variances = statistics(frozen)[::2], statistics(frozen)[1::2]
    assert len(means) == 5 and all((m == 0).all() for m in means) and all((v == 1).all() for v in variances)
    assert not any(map(np.array_equal, statistics(frozen), statistics(later)))
    assert all(layer.trainable for layer in runs.open_run(frozen).model().get_layer("small_convnet").layers)
