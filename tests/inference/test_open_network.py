"""Run folders open from arrays, and say what they say from `model.keras`; what is damaged or changed is refused."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.inference.open_network import open_network, save_network
from painters_mtl.network.multitask import build_model, with_known_head
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs import network_files
from painters_mtl.runs.run import Run, open_run, save_labels, save_model

TASKS = {"painter": Task("painter", ("a", "b", "c")), "style": Task("style", ("d", "e"))}
SETTINGS = NetworkSettings(backbone="small_convnet", image_size=32, weights="none")
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)


def new_network(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    network = build_model(TASKS, SETTINGS)
    return with_known_head(network, Task("painter_known", ("another", "known")), 9, painters=5)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run with both."""
    (tmp_path / "run").mkdir()
    save_network(new_network(0), SETTINGS, tmp_path / "run")
    save_labels(tmp_path / "run", TASKS, 32, 40, demo=False, thresholds={"painter": 0.2})
    return open_run(tmp_path / "run")


def outputs(network: keras.Model) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in network(IMAGES, training=False).items()}


def test_arrays_and_keras_file_give_the_same_bytes(run: Run) -> None:
    assert sorted(file.name for file in run.folder.iterdir()) == [
        "labels.json", "model.keras", "network.json", "weights.npz"
    ]  # fmt: skip
    built, loaded = outputs(open_network(run)), outputs(run.model())
    assert list(built) == ["painter", "style", "painter_known"]
    for name, values in built.items():
        np.testing.assert_array_equal(values, loaded[name])


def test_the_arrays_are_what_is_opened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a version of Keras that cannot read the other one's file."""

    def unreadable(*_: object, **__: object) -> None:
        raise TypeError("Could not locate class 'Functional'")

    wanted = outputs(open_network(run))
    monkeypatch.setattr(keras.saving, "load_model", unreadable)
    for name, values in outputs(open_network(run)).items():
        np.testing.assert_array_equal(values, wanted[name])
    with pytest.raises(UserError, match=r"model\.keras cannot be loaded by Keras"):
        run.model()


def test_a_run_of_version_0_4_opens_from_its_keras_file(run: Run) -> None:
    wanted = outputs(run.model())
    for name in ("network.json", "weights.npz"):
        (run.folder / name).unlink()
    for name, values in outputs(open_network(run)).items():
        np.testing.assert_array_equal(values, wanted[name])


def test_a_network_that_is_saved_later_is_the_one_that_opens(run: Run) -> None:
    """Also where a kill came behind the new model.keras: the old arrays are gone by then."""
    later = new_network(1)
    save_model(later, run.folder)
    assert not network_files.has_network_files(run.folder)
    unfinished = dataclasses.replace(run, digest="", network_digest="")
    np.testing.assert_array_equal(outputs(open_network(unfinished))["style"], outputs(later)["style"])
    last = new_network(2)
    save_network(last, SETTINGS, run.folder)
    np.testing.assert_array_equal(outputs(open_network(unfinished))["style"], outputs(last)["style"])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(bytes(data))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def brackets(file: Path) -> None:
    file.write_text("[" * 100_000)


@pytest.mark.parametrize("name", ["network.json", "weights.npz", "model.keras"])
@pytest.mark.parametrize(
    "damage", [cut, flip, lambda file: file.write_bytes(b""), lambda file: file.write_text("[" * 9999)]
)
def test_damage_of_any_file_is_one_sentence(name: str, damage: Callable[[Path], None], run: Run) -> None:
    damage(run.folder / name)
    with pytest.raises(UserError, match="get a sound copy") as error:
        open_network(run)
    assert "\n" not in str(error.value) and str(run.folder) in str(error.value)


def test_arrays_of_another_network_are_refused(run: Run, tmp_path: Path) -> None:
    """Both files are sound, and fit each other: only the labels know that they are not the training's."""
    (tmp_path / "other").mkdir()
    save_network(new_network(1), SETTINGS, tmp_path / "other")
    for name in ("network.json", "weights.npz"):
        shutil.copy(tmp_path / "other" / name, run.folder / name)
    with pytest.raises(UserError, match="not as the training wrote them"):
        open_network(run)


def test_arrays_that_hold_objects_are_refused_and_run_nothing(run: Run) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (run.folder / "ran",)

    manifest = json.loads((run.folder / "network.json").read_text())
    with (run.folder / "weights.npz").open("wb") as stream:
        np.savez(stream, trap=np.array([Trap()], object))
    manifest["weights_checksum"] = network_files._checksum((run.folder / "weights.npz").read_bytes())
    (run.folder / "network.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is damaged"):
        open_network(dataclasses.replace(run, network_digest=""))
    assert not (run.folder / "ran").exists()


@pytest.mark.parametrize("key", ["heads", "settings", "known_heads", "rescaling", "multi_scale", "keras"])
def test_a_manifest_that_lacks_something_is_one_sentence(key: str, run: Run) -> None:
    manifest = json.loads((run.folder / "network.json").read_text())
    del manifest[key]
    (run.folder / "network.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=rf"network\.json is damaged .*{key}"):
        open_network(dataclasses.replace(run, network_digest=""))


def test_a_manifest_with_other_heads_does_not_belong_to_the_labels(run: Run) -> None:
    manifest = json.loads((run.folder / "network.json").read_text())
    manifest["heads"]["style"] = 4
    (run.folder / "network.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"labels\.json does not belong"):
        open_network(dataclasses.replace(run, network_digest=""))
