"""The last step: a head with few labels is fitted once more, and nothing else moves."""

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import make_data, tiny_settings

from painters_mtl import dataset, pipeline
from painters_mtl.dataset import Dataset
from painters_mtl.model import network_of, producer
from painters_mtl.readout import refit
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
    "changes", [{}, {"task_layers": (8,), "shared_layers": (16,)}, {"shared_projection": 8}], ids=str
)
def test_a_head_with_few_labels_is_fitted_and_all_else_stays(changes: dict, data: Dataset) -> None:
    model = network(data, **changes)
    before = {v.path: v.numpy() for v in model.variables}
    assert accuracy(model, data, "test") < 0.6
    assert refit(model, data, data.tasks, 32, seed=0) == ["painter"]
    moved = {v.path for v in model.variables if not np.array_equal(before[v.path], v.numpy())}
    assert moved == {"painter/kernel", "painter/bias"}
    assert accuracy(model, data, "test") > 0.75  # red tells the painter, and random features tell red

    again = network(data, **changes)
    assert refit(again, data, data.tasks, 32, seed=0) == ["painter"]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_head_that_is_better_as_it_is_stays(data: Dataset) -> None:
    model = network(data)
    refit(model, data, data.tasks, 32, seed=0)
    wrong = dict(data.labels)
    rows = data.rows("train")
    wrong["painter"] = wrong["painter"].copy()
    wrong["painter"][rows] = np.where(wrong["painter"][rows] >= 0, (wrong["painter"][rows] + 1) % 3, -1)
    misled = Dataset(data.table, data.tasks, wrong, data.split, data.store, data.pixel_rows)
    before = producer(model.output["painter"]).operation.get_weights()
    assert refit(model, misled, data.tasks, 32, seed=0) == []
    for one, other in zip(before, producer(model.output["painter"]).operation.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_heads_with_many_labels_or_none_to_judge_by_stay(data: Dataset) -> None:
    model = network(data)
    before = model.get_weights()
    assert refit(model, data, ["style", "genre"], 32, seed=0) == []
    unjudged = dict(data.labels)
    unjudged["painter"] = np.where(data.split == "validation", -1, data.labels["painter"])
    assert (
        refit(
            model,
            Dataset(data.table, data.tasks, unjudged, data.split, data.store, data.pixel_rows),
            ["painter"],
            32,
            0,
        )
        == []
    )
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
