"""The heads are fitted again at the end of a training, as far as that is better, and nothing else moves."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import fitted, make_data, painter_probabilities, same_weights, tiny_settings, untrained_network
from sklearn.linear_model import LogisticRegression

from painters_mtl.data import dataset
from painters_mtl.data.dataset import Dataset
from painters_mtl.network import features
from painters_mtl.network.backbones import small_convnet
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.graph import producing_node
from painters_mtl.network.linear_head import FitSettings, fit_linear_head
from painters_mtl.network.multitask import (
    backbone_of,
    build_model,
    features_model,
    with_multi_scale_heads,
)
from painters_mtl.runs.run import open_run
from painters_mtl.training import head_refit
from painters_mtl.training.fit import fit
from painters_mtl.training.head_refit import refit_heads


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("readout")
    found = dataset.prepare(tiny_settings(make_data(out / "data", count=300, missing=0.1), out, painters=("3",)))
    rows = found.rows("train")
    scarce = found.labels["painter"].copy()
    scarce[rows[len(rows) // 3 :]] = -1  # of the validation paintings all keep their labels
    found.labels["painter"] = scarce
    return found


def accuracy(model: keras.Model, data: Dataset, part: str) -> float:
    labels = data.labels["painter"][data.rows(part)]
    return float(np.mean(painter_probabilities(model, data, part).argmax(axis=1)[labels >= 0] == labels[labels >= 0]))


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({}, ["painter", "style", "genre"]),
        ({"task_layers": (64,), "shared_layers": (64,)}, ["painter"]),
        ({"shared_projection": 64}, ["painter"]),
    ],
    ids=str,
)
def test_a_head_with_few_labels_is_fitted_and_all_else_stays(changes: dict, tasks: list[str], data: Dataset) -> None:
    assert set(tasks) <= set(data.tasks)
    model = untrained_network(data, **changes)
    before = {v.path: v.numpy() for v in model.variables}
    assert accuracy(model, data, "test") < 0.6
    # From random heads, all are better.
    assert refit_heads(model, data, tasks, 0, FeatureExtractor(model, data, 32)) == tasks
    moved = {v.path for v in model.variables if not np.array_equal(before[v.path], v.numpy())}
    assert moved == {f"{name}/{part}" for name in tasks for part in ("kernel", "bias")}
    assert accuracy(model, data, "test") > 0.75  # red tells the painter, and random features tell red


def test_what_lies_between_the_old_head_and_the_new_may_be_best(data: Dataset) -> None:
    """Made so that their mean is the head under which the validation paintings' labels are likeliest."""
    rng = np.random.default_rng(0)
    held_out = data.rows("validation")
    labels = data.labels["painter"].copy()
    labels[held_out] = np.where(rng.random(len(held_out)) < 0.4, rng.integers(3, size=len(held_out)), labels[held_out])
    data = dataclasses.replace(data, labels=data.labels | {"painter": labels})
    model = untrained_network(data, task_layers=(5,))
    node = producing_node(model.output["painter"])
    forward = forward_function(keras.Model(model.input, {"features": node.input_tensors[0]}), 32)

    def known(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = data.rows(part)[labels[data.rows(part)] >= 0]
        return predict_in_batches(forward, data.images.pixels, data.image_rows[rows])["features"], labels[rows]

    (own, truth), (others, wanted) = known("train"), known("validation")
    spread = own.std(axis=0) + head_refit.LEAST_SPREAD * own.std(axis=0).mean()
    settings = FitSettings(head_refit.UPDATES, rate=head_refit.FAST)
    kernel, bias = fit_linear_head(own[:, None] / spread, truth, 3, settings)
    new = [kernel / spread[:, None], bias]
    fit = LogisticRegression(C=1e6, max_iter=10000).fit(others, wanted)
    best = [fit.coef_.T, fit.intercept_]
    node.operation.set_weights([2 * a - b for a, b in zip(best, new, strict=True)])
    assert refit_heads(model, data, ["painter"], 0, FeatureExtractor(model, data, 32)) == ["painter"]
    for found, a in zip(node.operation.get_weights(), best, strict=True):
        np.testing.assert_allclose(found, a, atol=1e-3 * np.abs(a).max())


@pytest.mark.slow
def test_a_training_ends_with_it_and_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_refit, "UPDATES", 100)
    settings = tiny_settings(
        make_data(tmp_path / "data", count=300),
        tmp_path,
        epochs=2,
        refit=True,
        task_weights={"genre": 0.0},
    )
    _, outcome, folder = fitted(settings)
    assert "genre" in outcome.metrics["refitted"]  # in the training its head learned nothing
    assert outcome.metrics["test"]["genre"]["accuracy"] > outcome.metrics["test"]["genre"]["majority"]
    _, without, other = fitted(dataclasses.replace(settings, name="without", refit=False))
    assert without.metrics["refitted"] == []
    pd.testing.assert_frame_equal(outcome.history, without.history)
    _, again, third = fitted(dataclasses.replace(settings, name="again"))
    assert again.metrics["test"] == outcome.metrics["test"]
    one, two, three = (open_run(f).model() for f in (folder, third, other))
    assert same_weights(one.get_weights(), two.get_weights())
    assert not same_weights(one.get_weights(), three.get_weights())
    assert features_model(one).output.shape[-1] == 64 + 16 + 24 + 32 and features_model(three).output.shape[-1] == 64
    for name in three.output:  # another training can start from the heads as they were
        assert same_weights(open_run(folder).trained_head(name), three.get_layer(name).get_weights())
    assert same_weights(backbone_of(one).get_weights(), backbone_of(three).get_weights())


def test_a_head_that_is_better_as_it_is_stays(data: Dataset) -> None:
    model = untrained_network(data)
    refit_heads(model, data, ["painter"], 0, FeatureExtractor(model, data, 32))
    wrong = dict(data.labels)
    rows = data.rows("train")
    wrong["painter"] = wrong["painter"].copy()
    wrong["painter"][rows] = np.where(wrong["painter"][rows] >= 0, (wrong["painter"][rows] + 1) % 3, -1)
    misled = Dataset(data.table, data.tasks, wrong, data.split, data.images, data.image_rows)
    before = producing_node(model.output["painter"]).operation.get_weights()
    assert refit_heads(model, misled, ["painter"], 0, FeatureExtractor(model, misled, 32)) == []
    assert same_weights(before, producing_node(model.output["painter"]).operation.get_weights())


def test_an_earlier_head_takes_the_place_of_one_that_is_worse(data: Dataset) -> None:
    """That of networks whose mean it began with; the painters' labels in training are wrong, so no fit is better."""
    model, good = untrained_network(data), untrained_network(data)
    refit_heads(good, data, ["painter"], 0, FeatureExtractor(good, data, 32))
    earlier = {"painter": good.get_layer("painter").get_weights()}
    shifted = np.where(data.labels["painter"] >= 0, (data.labels["painter"] + 1) % 3, -1)
    wrong = np.where(data.split == "train", shifted, data.labels["painter"])
    misled = dataclasses.replace(data, labels=data.labels | {"painter": wrong})
    worse = {"painter": [-array for array in earlier["painter"]]}
    features = FeatureExtractor(model, misled, 32)
    refit_heads(model, misled, ["painter"], 0, features, worse)
    assert not same_weights(model.get_layer("painter").get_weights(), worse["painter"])
    assert refit_heads(model, misled, ["painter"], 0, features, earlier) == ["painter"]
    assert same_weights(model.get_layer("painter").get_weights(), earlier["painter"])


def test_heads_with_no_labels_to_judge_by_stay(data: Dataset) -> None:
    model = untrained_network(data)
    before = model.get_weights()
    unjudged = data.labels | {"painter": np.where(data.split == "validation", -1, data.labels["painter"])}
    other = Dataset(data.table, data.tasks, unjudged, data.split, data.images, data.image_rows)
    assert refit_heads(model, other, ["painter"], 0, FeatureExtractor(model, other, 32)) == []
    assert same_weights(before, model.get_weights())


def test_a_widened_network_says_the_same_until_its_heads_are_fitted_to_the_finer_levels(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_refit, "OF_EVERY_MAP", (0.0,))
    model = untrained_network(data)
    wide = with_multi_scale_heads(model, data.tasks, tiny_settings(Path(), Path()))
    np.testing.assert_allclose(
        painter_probabilities(wide, data, "test"), painter_probabilities(model, data, "test"), atol=1e-6
    )
    last = features_model(model).output.shape[-1]
    assert [v.path for v in wide.trainable_variables] == [v.path for v in model.trainable_variables]
    kernels = {name: wide.get_layer(name).kernel.numpy() for name in data.tasks}
    assert all((kernel[last:] == 0).all() and kernel[:last].any() for kernel in kernels.values())
    assert refit_heads(wide, data, data.tasks, 0, FeatureExtractor(wide, data, 32)) == list(data.tasks)
    for name, kernel in kernels.items():  # the old head's part in the new one is one of five shares, none of it fitted
        after = wide.get_layer(name).kernel.numpy()
        share = after[:last].ravel() @ kernel[:last].ravel() / np.square(kernel[:last]).sum()
        assert any(abs(share - (1 - s)) < 1e-6 for s in head_refit.SHARES[1:])
        np.testing.assert_allclose(after[:last], share * kernel[:last], atol=1e-6)
        assert after[last:].any()
    assert accuracy(wide, data, "test") > 0.75


def test_a_head_may_gain_from_all_maps_after_the_pyramid_maps(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """With labels of which a third is wrong, no head fits all; a penalised one beside it makes validation likelier."""
    data = with_wrong_labels(data)
    kernels, losses = [], []
    for shares in ((0.0,), head_refit.OF_EVERY_MAP):
        model = untrained_network(data)
        wide = with_multi_scale_heads(model, data.tasks, tiny_settings(Path(), Path()))
        monkeypatch.setattr(head_refit, "OF_EVERY_MAP", shares)
        refit_heads(wide, data, data.tasks, 0, FeatureExtractor(wide, data, 32))
        outputs = predict_in_batches(
            forward_function(wide, 32), data.images.pixels, data.image_rows[data.rows("validation")]
        )
        kernels.append({name: wide.get_layer(name).kernel.numpy() for name in data.tasks})
        losses.append(
            {name: lowest_loss(data.labels[name][data.rows("validation")], outputs[name]) for name in outputs}
        )
    last = features_model(model).output.shape[-1]
    moved = []
    for name in data.tasks:
        plain, mixed = kernels[0][name], kernels[1][name]
        if np.array_equal(plain, mixed):
            assert losses[1][name] == losses[0][name]
            continue
        moved.append(name)
        assert losses[1][name] < losses[0][name]
        # The head before the fits had nothing to do with the labels: what is new in the last map's part is the fit's.
        assert not np.allclose(mixed[:last], plain[:last])
    assert moved


def test_a_head_behind_a_hidden_layer_is_fitted_once(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads no pyramid maps: a second fit would be to the same channels."""
    data, heads = with_wrong_labels(data), []
    for shares in ((0.0,), head_refit.OF_EVERY_MAP):
        model = untrained_network(data, task_layers=(8,))
        monkeypatch.setattr(head_refit, "OF_EVERY_MAP", shares)
        refit_heads(model, data, data.tasks, 0, FeatureExtractor(model, data, 32))
        heads.append([weights for name in data.tasks for weights in model.get_layer(name).get_weights()])
    assert same_weights(*heads)


@pytest.mark.slow
def test_a_training_ends_with_the_fit_to_all_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_refit, "UPDATES", 100)
    settings = tiny_settings(make_data(tmp_path / "data", count=300, missing=0.0), tmp_path, epochs=1, refit=True)
    fit(with_wrong_labels(dataset.prepare(settings)), settings, tmp_path / "run")
    run = open_run(tmp_path / "run")
    moved = []
    for name in run.tasks:
        before, after = run.trained_head(name)[0], run.model().get_layer(name).get_weights()[0][:64]
        share = after.ravel() @ before.ravel() / np.square(before).sum()
        moved.append(not np.allclose(after, share * before, atol=1e-5))  # else the last map's part is the old head's
    assert any(moved)


def with_wrong_labels(data: Dataset) -> Dataset:
    """The same paintings; a third of the labels is drawn at random."""
    rng = np.random.default_rng(0)
    labels = {
        name: np.where(rng.random(len(of)) < 1 / 3, rng.integers(len(data.tasks[name].classes), size=len(of)), of)
        for name, of in data.labels.items()
    }
    return dataclasses.replace(data, labels=labels)


def lowest_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean cross-entropy of the labels at the best of 400 temperatures."""
    known = labels >= 0
    logits = np.log(np.maximum(probabilities[known], 1e-30))
    found = []
    for temperature in np.geomspace(0.05, 20, 400):
        scaled = logits / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        right = scaled[np.arange(len(scaled)), labels[known]] - np.log(np.exp(scaled).sum(axis=1))
        found.append(-right.mean())
    return float(min(found))


def test_a_backbone_that_is_another_without_imagenets_weights_stays_what_it_is(data: Dataset) -> None:
    """Keras gives EfficientNet a layer without weights more where the weights are ImageNet's."""
    backbone = small_convnet()
    image = keras.Input((None, None, 3))
    brighter = keras.Model(image, backbone(keras.layers.Rescaling(2.0)(image)))
    brighter = keras.Model(image, keras.layers.Conv2D(8, 3, 2, "same")(brighter.output), name="brighter")
    model = build_model(data.tasks, backbone=brighter)
    wide = with_multi_scale_heads(model, data.tasks, tiny_settings(Path(), Path()))
    np.testing.assert_allclose(
        painter_probabilities(wide, data, "test"), painter_probabilities(model, data, "test"), atol=1e-6
    )
    assert features_model(wide).output.shape[-1] == 8 + 64


def test_features_are_computed_once_and_are_those_of_their_paintings(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = untrained_network(data), []

    def counted(forward: Any, pixels: np.ndarray, rows: np.ndarray, words: str) -> dict[str, np.ndarray]:
        asked.extend(rows)
        return predict_in_batches(forward, pixels, rows, words)

    monkeypatch.setattr(features, "predict_in_batches", counted)
    finished, rows = FeatureExtractor(model, data, 32), np.arange(40)
    first, second, third = finished.of(rows[10:20], ""), finished.of(rows[::-1], ""), finished.of(rows[5:15], "")
    assert sorted(asked) == sorted(data.image_rows[rows])
    whole = FeatureExtractor(model, data, 32).of(rows, "")
    for found, wanted in ((first, whole[10:20]), (second, whole[::-1]), (third, whole[5:15])):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"task_layers": (8,)}, {"shared_layers": (8,)}, {"shared_projection": 8}, {"views": ("whole", "detail")}],
)
def test_networks_with_hidden_layers_or_two_views_are_not_widened(changes: dict, data: Dataset) -> None:
    model = untrained_network(data, **changes)
    assert with_multi_scale_heads(model, data.tasks, tiny_settings(Path(), Path(), **changes)) is model
