"""The last step: a head with few labels is fitted once more, and nothing else moves."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import fitted, make_data, same_weights, tiny_settings
from sklearn.linear_model import LogisticRegression

from painters_mtl import dataset, pipeline, readout
from painters_mtl.dataset import Dataset
from painters_mtl.model import network_of, producer
from painters_mtl.readout import fit_head, refit
from painters_mtl.runs import open_run
from painters_mtl.trainer import predict


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("readout")
    found = dataset.prepare(tiny_settings(make_data(out / "data", count=300, missing=0.1), out, painters=("3",)))
    rows = found.rows("train")
    scarce = found.labels["painter"].copy()
    scarce[rows[len(rows) // 3 :]] = -1  # of the validation paintings all keep their labels
    found.labels["painter"] = scarce
    return found


def network(data: Dataset, **changes: object) -> keras.Model:
    keras.utils.set_random_seed(0)
    return network_of(data.tasks, tiny_settings(Path(), Path(), **changes))


def probabilities(model: keras.Model, data: Dataset, part: str) -> np.ndarray:
    return predict(pipeline.inference(model, 32), data.store.pixels, data.pixel_rows[data.rows(part)])["painter"]


def accuracy(model: keras.Model, data: Dataset, part: str) -> float:
    labels = data.labels["painter"][data.rows(part)]
    return float(np.mean(probabilities(model, data, part).argmax(axis=1)[labels >= 0] == labels[labels >= 0]))


@pytest.mark.parametrize(
    "changes", [{}, {"task_layers": (64,), "shared_layers": (64,)}, {"shared_projection": 64}], ids=str
)
def test_a_head_with_few_labels_is_fitted_and_all_else_stays(changes: dict, data: Dataset) -> None:
    model = network(data, **changes)
    before = {v.path: v.numpy() for v in model.variables}
    assert accuracy(model, data, "test") < 0.6
    assert refit(model, data, data.tasks, 32, seed=0) == list(data.tasks)  # from random heads, all are better
    moved = {v.path for v in model.variables if not np.array_equal(before[v.path], v.numpy())}
    assert moved == {f"{name}/{part}" for name in data.tasks for part in ("kernel", "bias")}
    assert accuracy(model, data, "test") > 0.75  # red tells the painter, and random features tell red


def test_what_lies_between_the_old_head_and_the_new_may_be_best(data: Dataset) -> None:
    """Made so that their mean is the head under which the validation paintings' labels are likeliest."""
    rng = np.random.default_rng(0)
    held_out = data.rows("validation")
    labels = data.labels["painter"].copy()
    labels[held_out] = np.where(rng.random(len(held_out)) < 0.4, rng.integers(3, size=len(held_out)), labels[held_out])
    data = dataclasses.replace(data, labels=data.labels | {"painter": labels})
    model = network(data, task_layers=(5,))
    node = producer(model.output["painter"])
    forward = pipeline.inference(keras.Model(model.input, {"features": node.input_tensors[0]}), 32)

    def known(part: str) -> tuple[np.ndarray, np.ndarray]:
        rows = data.rows(part)[labels[data.rows(part)] >= 0]
        return predict(forward, data.store.pixels, data.pixel_rows[rows])["features"], labels[rows]

    (own, truth), (others, wanted) = known("train"), known("validation")
    new = fit_head(own[:, None], truth, 3, readout.UPDATES, 0, "")
    fit = LogisticRegression(C=1e6, max_iter=10000).fit(others, wanted)
    best = [fit.coef_.T, fit.intercept_]
    node.operation.set_weights([2 * a - b for a, b in zip(best, new, strict=True)])
    assert refit(model, data, ["painter"], 32, seed=0) == ["painter"]
    for found, a in zip(node.operation.get_weights(), best, strict=True):
        np.testing.assert_allclose(found, a, atol=1e-3 * np.abs(a).max())


def test_a_training_ends_with_it_and_the_same_again(tmp_path: Path) -> None:
    settings = tiny_settings(
        make_data(tmp_path / "data", count=300),
        tmp_path,
        epochs=2,
        refit=True,
        painter_known=False,
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
    one, two, three = (open_run(f).model().get_weights() for f in (folder, third, other))
    assert same_weights(one, two)
    assert not same_weights(one, three)


def test_a_head_that_is_better_as_it_is_stays(data: Dataset) -> None:
    model = network(data)
    refit(model, data, data.tasks, 32, seed=0)
    wrong = dict(data.labels)
    rows = data.rows("train")
    wrong["painter"] = wrong["painter"].copy()
    wrong["painter"][rows] = np.where(wrong["painter"][rows] >= 0, (wrong["painter"][rows] + 1) % 3, -1)
    misled = Dataset(data.table, data.tasks, wrong, data.split, data.store, data.pixel_rows)
    before = producer(model.output["painter"]).operation.get_weights()
    assert refit(model, misled, ["painter"], 32, seed=0) == []
    assert same_weights(before, producer(model.output["painter"]).operation.get_weights())


def test_heads_with_many_labels_or_none_to_judge_by_stay(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(data)
    before = model.get_weights()
    unjudged = data.labels | {"painter": np.where(data.split == "validation", -1, data.labels["painter"])}
    other = Dataset(data.table, data.tasks, unjudged, data.split, data.store, data.pixel_rows)
    assert refit(model, other, ["painter"], 32, seed=0) == []
    rows = data.rows("train")
    monkeypatch.setattr(readout, "FEW", int((data.labels["style"][rows] >= 0).sum()) - 1)
    assert refit(model, data, ["style"], 32, seed=0) == []
    assert same_weights(before, model.get_weights())
