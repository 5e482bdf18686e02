"""Training: it learns, the same again from the same seed, masks what has no label, and leaves a complete folder."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
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
from sklearn import metrics as sk

from painters_mtl import train
from painters_mtl.common.errors import UserError
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
        "model.keras", "labels.json", "config.json", "split.csv", "history.csv", "metrics.json",
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
    for name in ("paintings", "curves", "differences", "reliability", *(f"confusion_{task}" for task in TASK_NAMES)):
        assert (folder / "figures" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 7 and "http://" not in page and "https://" not in page


def test_it_learns_and_says_so(run: tuple[Path, TrainSettings]) -> None:
    folder, settings = run
    measured = strict_json(folder / "metrics.json")
    for part in ("test", "validation"):
        assert set(measured[part]) == set(TASK_NAMES)
        for values in measured[part].values():
            assert set(values) == {"accuracy", "top3", "macro_f1", "majority", "n"}
            assert values["accuracy"] >= max(0.8, values["majority"] + 0.25)
            assert values["accuracy"] <= values["top3"] <= 1
    assert measured["epochs"] == settings.epochs and measured["interrupted"] is False and measured["demo"] is False
    three = [w for w in runs.open_run(folder).model().weights if not w.path.startswith("painter_known")]
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


def prepare_data_folder(folder: Path) -> Path:
    data = TrainSettings.load(folder / "config.json").data
    assert data is not None
    return data


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
        settings = tiny_settings(small, tmp_path, epochs=2, dropout=0.3, baselines=False, name=name)
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


def test_what_cannot_work_is_said_before_the_copies_are_made(small: Path, tmp_path: Path) -> None:
    for changes, said in (
        ({"painters": ("Nobody",)}, "Nobody"),
        ({"split": tmp_path / "typo.csv"}, "typo.csv is not there"),
    ):
        with pytest.raises(UserError, match=said):
            prepare(tiny_settings(small, tmp_path, **changes))
    empty = shutil.copytree(small, tmp_path / "template")
    table = pd.read_csv(empty / "labels.csv", dtype=str)
    table.assign(painter="", style="", genre="").to_csv(empty / "labels.csv", index=False)
    with pytest.raises(UserError, match="no picture has a painter, style or genre"):
        prepare(tiny_settings(empty, tmp_path))
    assert not (tmp_path / "cache").exists()


def test_a_sample_is_a_part_of_the_paintings_and_the_same_each_time(small: Path, tmp_path: Path) -> None:
    def ids(**changes: Any) -> list[str]:
        data = prepare(tiny_settings(small, tmp_path, **changes))
        assert len(data.table) == len(data.split) == len(data.image_rows)
        return list(data.table["id"])

    everything, part = ids(), ids(sample=50)
    assert len(part) == 50 and [name for name in everything if name in set(part)] == part
    assert ids(sample=50) == part != ids(sample=50, seed=1)
    assert ids(sample=80) == ids(sample=1000) == everything


# ------------------------------------------------------------------------------------------------- loss and labels


def initial(data: Dataset, settings: TrainSettings, **more: Any) -> keras.Model:
    """The network before its first step."""
    keras.utils.set_random_seed(settings.seed)
    return build_model(data.tasks | more, dataclasses.replace(settings, fine_tune="all", dropout=0))


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
    assert np.isnan(again.metrics["test"]["genre"]["accuracy"]) and "genre" in train.table(again.metrics["test"])


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


# ------------------------------------------------------------------------------------------------- the verb


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_run(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1000, patience=1000)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "painters_mtl.train", *arguments(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 4 "):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, "".join(lines) + out + err
    assert "Traceback" not in err and "interrupted after" in out
    folder = settings.models / "run"
    measured = strict_json(folder / "metrics.json")
    history = pd.read_csv(folder / "history.csv")
    assert measured["interrupted"] is True and 3 <= measured["epochs"] == len(history) < 1000
    assert measured["best_epoch"] == int(history["val_score"].idxmax()) + 1
    assert (folder / "report.html").is_file() and not [f for f in folder.iterdir() if f.name.startswith(".")]
    rows = read_rows(folder / "test_predictions.csv")
    data = prepare(dataclasses.replace(settings, split=folder / "split.csv"))
    run = runs.open_run(folder)
    forward = forward_function(run.model(), run.image_size)
    found = predict_in_batches(forward, data.images.pixels, data.image_rows[data.rows("test")])
    for task in TASK_NAMES:
        assert run.tasks[task].decode(found[task].argmax(axis=1)) == [r[task] for r in rows]
