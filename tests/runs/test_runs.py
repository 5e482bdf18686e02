"""Settings that survive a file, files that are written whole, run folders that say what they lack."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import small_network

from painters_mtl.common.errors import UserError
from painters_mtl.data.demo.collection import DEMO_VERSION
from painters_mtl.data.tasks import Task, tasks_from_dict, tasks_to_dict
from painters_mtl.runs import keras_file, training_data
from painters_mtl.runs import run as runs
from painters_mtl.training.settings import TrainSettings

# ------------------------------------------------------------------------------------------------- tasks


def test_names_become_labels_and_come_back() -> None:
    task = Task("style", ("Cubism", "Naïve Art", "Art, New"))
    labels = task.encode(["Art, New", None, "", float("nan"), "cubism", "Naïve Art", 3, "Cubism"])
    assert labels.dtype == np.int32 and labels.tolist() == [2, -1, -1, -1, -1, 1, -1, 0]
    assert task.decode(labels) == ["Art, New", "", "", "", "", "Naïve Art", "", "Cubism"]
    np.testing.assert_array_equal(task.encode(task.decode(labels)), labels)
    assert tasks_from_dict(json.loads(json.dumps(tasks_to_dict({"style": task})))) == {"style": task}


# ------------------------------------------------------------------------------------------------- run folders

TASKS = {"painter": Task("painter", ("Ä", 'B "b", c')), "genre": Task("genre", ("portrait", "landscape", "x"))}


def make_run(folder: Path, seed: int = 0) -> keras.Model:
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(seed)
    model = small_network(TASKS)
    runs.save_labels(folder, TASKS, 32, 40, demo=True)
    runs.save_model(model, folder)
    return model


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    model = make_run(tmp_path / "models" / "a")
    run = runs.open_run(tmp_path / "models" / "a")
    assert (run.folder, run.tasks) == (tmp_path / "models" / "a", TASKS)
    assert list(run.tasks) == ["painter", "genre"]
    assert (run.image_size, run.copy_side, run.demo) == (32, 40, True)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    for name, wanted in model(images, training=False).items():
        np.testing.assert_array_equal(np.asarray(run.model()(images, training=False)[name]), np.asarray(wanted))
    assert sorted(f.name for f in run.folder.iterdir()) == ["labels.json", "model.keras"]


def test_a_run_on_the_demo_finds_the_demo_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the competition's data have come since, where no --data means them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data/demo", "data/painter-by-numbers", "run"):
        Path(folder).mkdir(parents=True)
    Path("data/painter-by-numbers/all_data_info.csv").touch()
    Path("data/demo/demo.json").write_text(json.dumps({"version": DEMO_VERSION, "count": 2000, "size": 160, "seed": 0}))
    TrainSettings(painters=("2",)).save(Path("run/config.json"))
    Path("run/split.csv").touch()
    run = runs.Run(Path("run"), {"painter": Task("painter", ("a", "b"))}, 32, 40, True, {"painter": 1.0})
    found = training_data.run_data_settings(run, None, "")
    assert (found.data, found.split, found.painters) == (Path("data/demo"), Path("run/split.csv"), ("a", "b"))
    other = Path("data/painter-by-numbers")
    assert training_data.run_data_settings(run, other, "").data == other


def test_a_run_can_be_moved(tmp_path: Path) -> None:
    make_run(tmp_path / "models" / "a")
    shutil.move(tmp_path / "models" / "a", tmp_path / "elsewhere")
    assert runs.open_run(tmp_path / "elsewhere").model().output.keys() == TASKS.keys()


def test_the_newest_run_is_the_one_whose_model_was_written_last(tmp_path: Path) -> None:
    for i, name in enumerate(["c", "a", "b", ".hidden"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        (tmp_path / name / "labels.json").touch()
        os.utime(tmp_path / name / "model.keras", (0, [100, 300, 200, 400][i]))
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "labels.json").touch()
    assert runs.newest(tmp_path) == tmp_path / "a"
    os.utime(tmp_path / "b" / "model.keras", (0, 500))
    assert runs.newest(tmp_path) == tmp_path / "b"


def test_without_a_trained_run_one_is_told_to_train(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"no trained model in .*painters_mtl\.train"):
            runs.open_run(None, folder)


def test_a_run_that_lacks_something_says_what(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    with pytest.raises(UserError, match=r"aa is not a folder; there are a"):
        runs.open_run(tmp_path / "aa")
    for name in ("labels.json", "model.keras"):
        kept = (tmp_path / "a" / name).read_bytes()
        (tmp_path / "a" / name).unlink()
        with pytest.raises(UserError, match=f"a lacks {name}"):
            runs.open_run(tmp_path / "a")
        (tmp_path / "a" / name).write_bytes(kept)
    assert runs.open_run(tmp_path / "a").tasks == TASKS


@pytest.mark.parametrize("change", ["swapped names", "a threshold", "no checksum of the model"])
def test_labels_that_were_changed_are_refused(change: str, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    runs.save_labels(tmp_path / "a", TASKS, 32, 40, demo=True, thresholds={"painter": 0.25})
    assert runs.open_run(tmp_path / "a").tasks == TASKS
    labels = json.loads((tmp_path / "a" / "labels.json").read_text())
    if change == "swapped names":
        labels["classes"]["painter"].reverse()
    elif change == "a threshold":
        labels["thresholds"]["painter"] = 0.2500001
    else:
        del labels["model_checksum"]
    (tmp_path / "a" / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(UserError, match=r"labels\.json is not as the training wrote it"):
        runs.open_run(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '"text"', "{}", '{"classes": {"style": ["a"]}}', '{"classes": [1], "image_size": 32}',
        '{"classes": {"style": ["a", "b"]}, "image_size": "big", "copy_side": 40}',
        '{"classes": {"style": ["a", "b"]}, "image_size": null, "copy_side": 40}',
    ],
)  # fmt: skip
def test_damaged_labels_are_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"labels\.json is damaged") as error:
        runs.open_run(tmp_path)
    assert "\n" not in str(error.value)


def test_labels_that_are_not_text_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    (tmp_path / "labels.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match=r"labels\.json is damaged"):
        runs.open_run(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_damaged_model_is_one_sentence(kept: float, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    file = tmp_path / "a" / "model.keras"
    data = file.read_bytes()
    file.write_bytes(data[: int(kept if kept >= 1 else kept * len(data))])
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded") as error:
        runs.open_run(tmp_path / "a").model()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("at", "value"), [(8, 1), (10, 99), (6, 255)], ids=["encrypted", "method", "version"])
def test_a_model_with_another_header_is_one_sentence(at: int, value: int, tmp_path: Path) -> None:
    """One byte of each entry in the zip's directory, of those that make zipfile raise other errors than its own."""
    make_run(tmp_path / "a")
    file = tmp_path / "a" / "model.keras"
    data = bytearray(file.read_bytes())
    found = data.find(b"PK\x01\x02")
    while found >= 0:
        data[found + at] = value
        found = data.find(b"PK\x01\x02", found + 4)
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded"):
        runs.open_run(tmp_path / "a").model()


def test_a_model_in_a_thousand_brackets_or_too_large_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a" / "model.keras", "w") as archive:
        archive.writestr("config.json", "[" * 100_000 + "]" * 100_000)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded"):
        runs.open_run(tmp_path / "a").check()
    monkeypatch.setattr(keras_file, "MOST", 1000)
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded \(it would be larger"):
        runs.open_run(tmp_path / "a").check()


def test_who_uses_a_model_of_the_demo_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "a")
    runs.open_run(tmp_path / "a")
    assert capsys.readouterr().err == ""
    assert runs.open_run_for_pictures(tmp_path / "a").demo
    assert "drawn by code" in capsys.readouterr().err
    runs.save_labels(tmp_path / "a", TASKS, 32, 40, demo=False)
    runs.open_run_for_pictures(tmp_path / "a")
    assert capsys.readouterr().err == ""


def test_a_model_that_would_run_code_is_refused(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    image = keras.Input((32, 32, 3))
    trap = keras.Model(image, {"painter": keras.layers.Lambda(lambda x: x)(image)})
    trap.save(tmp_path / "a" / "model.keras")
    with pytest.raises(UserError, match=r"model\.keras is refused: it holds keras\.layers\.Lambda"):
        runs.open_run(tmp_path / "a").model()


def edited(file: Path, change: Callable[[dict], None]) -> None:
    """Change the configuration in a .keras file."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("module", ["os", "painters_mtl.network.batchnorm_folding", "builtins", "kerasx.layers"])
def test_a_model_with_anything_but_layers_of_keras_is_refused(module: str, tmp_path: Path) -> None:
    make_run(tmp_path / "a")

    def change(config: dict) -> None:
        config["config"]["layers"][1] |= {"module": module, "class_name": "system"}

    edited(tmp_path / "a" / "model.keras", change)
    with pytest.raises(UserError, match=rf"is refused: it holds {module}\.system"):
        runs.open_run(tmp_path / "a").model()


def test_a_finished_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    """The last bit of one weight: nothing but the checksum could tell."""
    make_run(tmp_path / "a")
    runs.save_labels(tmp_path / "a", TASKS, 32, 40, demo=True, thresholds={"painter": 0.25})
    run = runs.open_run(tmp_path / "a")
    assert run.thresholds == {"painter": 0.25} and run.model().count_params() > 0
    other = runs.open_run(tmp_path / "a").model()
    kernel = other.get_layer("genre").get_weights()
    kernel[0].flat[0] = np.nextafter(kernel[0].flat[0], 1)
    other.get_layer("genre").set_weights(kernel)
    runs.save_model(other, tmp_path / "a")
    with pytest.raises(UserError, match=r"model\.keras is not the one that the training wrote"):
        runs.open_run(tmp_path / "a").model()
