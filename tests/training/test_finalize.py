"""What follows the last step: the metrics are those of the network that is saved, and all figures follow from it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import make_data, read_rows, tiny_settings, trained
from sklearn import metrics as sk

from painters_mtl import train
from painters_mtl.data.dataset import prepare
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.runs import run as runs
from painters_mtl.training import fit as training
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few paintings for trainings of one epoch."""
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


def strict_json(file: Path) -> Any:
    """Read as every other language reads JSON: NaN is none."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def prepare_data_folder(folder: Path) -> Path:
    data = TrainSettings.load(folder / "config.json").data
    assert data is not None
    return data


def test_it_learns_and_says_so(run: tuple[Path, TrainSettings]) -> None:
    folder, settings = run
    measured = strict_json(folder / "metrics.json")
    for part in ("test", "validation"):
        assert set(measured[part]) == set(TASK_NAMES)
        for values in measured[part].values():
            assert set(values) == {"accuracy", "top3", "mean_recall", "macro_f1", "majority", "n"}
            assert values["accuracy"] >= max(0.8, values["majority"] + 0.25)
            assert values["accuracy"] <= values["top3"] <= 1
    assert measured["epochs"] == settings.epochs and measured["interrupted"] is False and measured["demo"] is False
    three = [w for w in runs.open_run(folder).model().weights if "_known" not in w.path]
    assert measured["parameters"] == sum(w.value.shape.num_elements() for w in three)


def test_the_metrics_follow_from_the_predictions(run: tuple[Path, TrainSettings]) -> None:
    folder, _ = run
    rows = read_rows(folder / "test_predictions.csv")
    measured = strict_json(folder / "metrics.json")["test"]
    in_test = [r["id"] for r in read_rows(folder / "split.csv") if r["split"] == "test"]
    assert [r["id"] for r in rows] == in_test
    classes = strict_json(folder / "labels.json")["classes"]
    truth = {r["filename"]: r for r in read_rows(prepare_data_folder(folder) / "labels.csv")}
    for task in TASK_NAMES:
        for r in rows:
            assert r[f"{task}_true"] == (truth[r["id"]][task] if truth[r["id"]][task] in classes[task] else "")
        known = [r for r in rows if r[f"{task}_true"]]
        true, found = [r[f"{task}_true"] for r in known], [r[task] for r in known]
        assert 0 < len(known) < len(rows) and measured[task]["n"] == len(known)
        assert measured[task]["accuracy"] == pytest.approx(sk.accuracy_score(true, found), abs=1e-12)
        assert measured[task]["macro_f1"] == pytest.approx(sk.f1_score(true, found, average="macro"), abs=1e-12)


def test_the_history_tells_each_epoch_and_the_best_is_kept(run: tuple[Path, TrainSettings]) -> None:
    folder, settings = run
    history = pd.read_csv(folder / "history.csv")
    measured = strict_json(folder / "metrics.json")
    assert history["epoch"].tolist() == list(range(1, settings.epochs + 1))
    assert history["loss"].iloc[-1] < 0.6 * history["loss"].iloc[0]  # the smoothed labels leave a rest
    accuracies = [f"val_{task}_accuracy" for task in TASK_NAMES]
    np.testing.assert_allclose(history[accuracies].mean(axis=1), history["val_score"])
    best = measured["best_epoch"]
    assert best == int(history["val_score"].idxmax()) + 1
    for task in TASK_NAMES:
        assert history[f"val_{task}_accuracy"][best - 1] == pytest.approx(measured["validation"][task]["accuracy"])
    # `loss` is the weighted sum; the head beside the painters' is part of it
    total = sum(history[f"{task}_loss"] for task in TASK_NAMES) + settings.other_painters * history["all_painters_loss"]
    np.testing.assert_allclose(history["loss"], total, rtol=1e-4)


@pytest.mark.slow
def test_metrics_are_json_also_without_any_label_of_a_task(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1)
    data = prepare(settings)
    genre = data.labels["genre"].copy()
    genre[data.rows("test")] = -1
    data = dataclasses.replace(data, labels=data.labels | {"genre": genre})
    training.fit(data, settings, settings.models / "run")
    measured = strict_json(settings.models / "run" / "metrics.json")["test"]
    assert measured["genre"]["n"] == 0 and measured["genre"]["accuracy"] is None
    again = training.fit(data, settings, settings.models / "run")  # it is finished, and read back
    assert np.isnan(again.metrics["test"]["genre"]["accuracy"]) and "genre" in train.table(again.metrics["test"], {})


def test_probabilities_and_thresholds_are_those_of_the_saved_network(run: tuple[Path, TrainSettings]) -> None:
    """The network that is loaded again, its temperatures by hand, and the fifth percentile of the validation scores."""
    folder, settings = run
    data = prepare(dataclasses.replace(settings, split=folder / "split.csv"))
    saved = runs.open_run(folder)
    forward = forward_function(saved.model(), saved.image_size)

    def outputs(part: str) -> dict[str, np.ndarray]:
        return predict_in_batches(forward, data.images.pixels, data.image_rows[data.rows(part)])

    def at_temperature(probabilities: np.ndarray, task: str) -> np.ndarray:
        powers = np.maximum(probabilities.astype(np.float64), 1e-12) ** (1 / saved.temperatures[task])
        return powers / powers.sum(axis=1, keepdims=True)

    test, validation = outputs("test"), outputs("validation")
    with np.load(folder / "test_probabilities.npz") as stored:
        for task in TASK_NAMES:
            np.testing.assert_allclose(stored[task], at_temperature(test[task], task), atol=1e-5)
    for task in TASK_NAMES:
        scores = at_temperature(validation[task], task).max(axis=1)
        if task == "painter":
            other, known = validation["painter_known"].astype(np.float64).T
            scores = known * scores / (known * scores + other)
        scores = np.sort(scores[data.labels[task][data.rows("validation")] >= 0])
        assert saved.thresholds[task] == pytest.approx(scores[int(0.05 * len(scores))], abs=1e-5)
