"""One training: a complete folder, the same again from the same seed, one task alone, the heads alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import (
    GENRES,
    PAINTERS,
    STYLES,
    arguments,
    fitted,
    make_data,
    python,
    read_rows,
    same_weights,
    tiny_settings,
    trained,
)

from painters_mtl import train
from painters_mtl.common.row_cache import RowCache
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.images.cache import cache_side
from painters_mtl.network.features import cached_features
from painters_mtl.network.forward import forward_function, predict_in_batches, whole_crops
from painters_mtl.network.multitask import build_model, features_model
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


def weights_of(folder: Path) -> list[np.ndarray]:
    return runs.open_run(folder).model().get_weights()


def strict_json(file: Path) -> Any:
    """Read as every other language reads JSON: NaN is none."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


# ------------------------------------------------------------------------------------------------- the run folder


def test_the_folder_is_complete(run: tuple[Path, TrainSettings]) -> None:
    folder, settings = run
    names = {f.name for f in folder.iterdir()}
    assert names >= {
        "model.keras", "weights.npz", "network.json", "labels.json", "config.json", "split.csv", "history.csv",
        "metrics.json",
        "figures", "report.html", "test_predictions.csv", "refused.csv", "logs",
    }  # fmt: skip
    assert not [n for n in names if n.startswith(".")]
    assert TrainSettings.load(folder / "config.json") == settings
    labels = strict_json(folder / "labels.json")
    assert labels["classes"]["painter"] == [p for p in labels["classes"]["painter"] if p in PAINTERS]
    assert len(labels["classes"]["painter"]) == 2
    assert sorted(labels["classes"]["style"]) == sorted(STYLES) and sorted(labels["classes"]["genre"]) == sorted(GENRES)
    assert (labels["image_size"], labels["copy_side"], labels["demo"]) == (32, cache_side(32), False)
    assert list((folder / "logs").rglob("events.out.tfevents.*"))
    of_tasks = [f"{figure}_{task}" for figure in ("confusion", "reliability") for task in TASK_NAMES]
    for name in ("paintings", "loss", "accuracy", "differences", *of_tasks):
        assert (folder / "figures" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 7 and "http://" not in page and "https://" not in page


def test_the_head_that_helped_is_no_part_of_the_network(run: tuple[Path, TrainSettings]) -> None:
    model = runs.open_run(run[0]).model()
    assert set(model.output) == {*TASK_NAMES, "painter_known"}
    assert not [v.path for v in model.weights if "all_painters" in v.path]


@pytest.mark.slow
def test_the_same_settings_give_the_same_run_bit_for_bit(run: tuple[Path, TrainSettings]) -> None:
    folder, settings = run
    # no split is given, the copies are there by now, and the name is another: the rest must be as it was
    again = dataclasses.replace(settings, name="again", baselines=False)
    assert train.main(arguments(again)) == 0
    other = settings.models / "again"
    assert same_weights(weights_of(folder), weights_of(other))
    for name in ("history.csv", "split.csv", "test_predictions.csv", "labels.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    timeless = [{**strict_json(f / "metrics.json"), "training_seconds": 0} for f in (folder, other)]
    assert timeless[0] == timeless[1]


@pytest.mark.slow
def test_several_threads_give_the_same_run_bit_for_bit(small: Path, tmp_path: Path) -> None:
    """The other tests may well have one thread."""
    for name in ("one", "again"):
        changes = {"epochs": 2, "dropout": 0.3, "baselines": False, "painter_known": True}
        settings = tiny_settings(small, tmp_path, name=name, **changes)
        process = python("-m", "painters_mtl.train", *arguments(settings), TF_NUM_INTRAOP_THREADS="3")
        assert process.returncode == 0, process.stderr
    one, again = (settings.models / name for name in ("one", "again"))
    assert same_weights(weights_of(one), weights_of(again))
    assert (one / "test_predictions.csv").read_bytes() == (again / "test_predictions.csv").read_bytes()


@pytest.mark.slow
def test_another_seed_gives_another_split_and_network(small: Path, tmp_path: Path) -> None:
    settings = [tiny_settings(small, tmp_path, epochs=1, seed=seed, name=str(seed)) for seed in (0, 1)]
    one, other = (fitted(s)[2] for s in settings)
    assert (one / "split.csv").read_bytes() != (other / "split.csv").read_bytes()
    assert not same_weights(weights_of(one), weights_of(other))

    reused = dataclasses.replace(settings[1], name="2", split=one / "split.csv")
    data = prepare(reused)
    parts = {r["id"]: r["split"] for r in read_rows(one / "split.csv")}
    assert data.split.tolist() == [parts[name] for name in data.table["id"]]


def initial(data: Dataset, settings: TrainSettings, **more: Any) -> keras.Model:
    """The network before its first step."""
    keras.utils.set_random_seed(settings.seed)
    return build_model(data.tasks | more, dataclasses.replace(settings, fine_tune="all", dropout=0))


@pytest.mark.slow
def test_one_task_alone(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1)
    data = prepare(settings)
    outcome = training.fit(data, settings, settings.models / "run", {"style": data.tasks["style"]})
    assert set(outcome.metrics["test"]) == {"style"} and set(outcome.test_probabilities) == {"style"}
    assert set(runs.open_run(settings.models / "run").tasks) == {"style"}
    assert not [c for c in outcome.history if "painter" in c or "genre" in c]


# ------------------------------------------------------------------------------------------------- heads only


@pytest.mark.slow
def test_features_are_those_of_the_network_computed_once(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, fine_tune="heads", epochs=3)
    data, first, folder = fitted(settings)
    (file,) = settings.cache.glob("features-*.sqlite")
    features = cached_features(runs.open_run(folder).model(), data, 32)
    copies = data.images.pixels[data.image_rows]
    encoder = features_model(runs.open_run(folder).model())
    for view, seen in enumerate((copies, np.flip(copies, axis=2))):
        wanted = encoder(whole_crops(seen, 32), training=False)
        np.testing.assert_allclose(features[:, view], np.asarray(wanted), rtol=1e-4, atol=1e-5)
    before = file.read_bytes()

    _, second, other = fitted(dataclasses.replace(settings, name="second"))
    assert file.read_bytes() == before
    assert [f.name for f in settings.cache.glob("features-*")] == [file.name]
    assert same_weights(weights_of(folder), weights_of(other))
    pd.testing.assert_frame_equal(first.history, second.history)

    cache = RowCache(settings.cache, file.stem.removeprefix("features-"))
    contents = [str(content) for content in data.images.contents]
    cache.write(dict.fromkeys(contents, np.zeros(features[0].size, np.float32)))  # whoever reads it now learns nothing
    _, _, third = fitted(dataclasses.replace(settings, name="third"))
    assert not same_weights(weights_of(folder), weights_of(third))


def test_heads_alone_leave_the_backbone_as_it_was(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, fine_tune="heads", epochs=2, other_painters=0.0)
    data, outcome, folder = fitted(settings)
    model = runs.open_run(folder).model()
    before = initial(data, settings).get_layer("small_convnet").get_weights()
    assert same_weights(before, model.get_layer("small_convnet").get_weights())
    rows = data.rows("validation")
    forward = forward_function(model, 32)  # what was measured on features holds for the pictures
    found = predict_in_batches(forward, data.images.pixels, data.image_rows[rows])
    for name, p in ((name, found[name]) for name in data.tasks):
        known = data.labels[name][rows] >= 0
        accuracy = (p.argmax(axis=1) == data.labels[name][rows])[known].mean()
        assert outcome.metrics["validation"][name]["accuracy"] == pytest.approx(accuracy)
