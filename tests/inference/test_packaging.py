"""A run in 16 bits: what comes back is the rounding of the run, and what was altered is refused by its name."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from small_runs import package, trained_run

from painters_mtl.common.errors import UserError
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.inference import packaging, painter_pairs
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.forward import forward_function
from painters_mtl.network.manifest import network_arrays
from painters_mtl.runs.packaged import is_packaged
from painters_mtl.runs.run import Run, open_run

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 40, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def made(run: Run) -> Run:
    return package(run, run.folder.with_name("paintings"))


@pytest.fixture
def copy(made: Run, tmp_path: Path) -> Path:
    shutil.copytree(made.folder, tmp_path / "copy")
    return tmp_path / "copy"


def outputs(network: keras.Model) -> dict[str, np.ndarray]:
    return {name: np.asarray(values) for name, values in forward_function(network, 32)(IMAGES).items()}


def test_every_output_is_that_of_the_run_with_rounded_weights(run: Run, made: Run) -> None:
    rounded = open_network(run)
    for layer in [rounded, *(x for x in rounded.layers if isinstance(x, keras.Model))]:
        for variable in layer.weights:
            if len(variable.shape) > 1:
                values = np.asarray(variable)
                if "painter_known_" in variable.path:  # what that head reads, in 8 bits
                    step = np.abs(values).max(axis=1, keepdims=True) / 127
                    variable.assign(np.round(values / step) * step)
                else:
                    variable.assign(values.astype(np.float16).astype(np.float32))
    found, wanted, before = outputs(open_network(made)), outputs(rounded), outputs(open_network(run))
    assert list(found) == ["painter", "style", "painter_known"]
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6)
        assert 0 < np.abs(found[name] - before[name]).max() < 0.02  # rounded, and no more than that
    arrays, in_run = network_arrays(open_network(made)), network_arrays(open_network(run))
    assert all(np.array_equal(arrays[name], in_run[name]) for name in arrays if arrays[name].ndim == 1)


def test_a_package_opens_as_a_run_does(run: Run, made: Run) -> None:
    assert (made.tasks, made.image_size, made.cache_side, made.views) == (run.tasks, 32, 40, ("whole",))
    assert (made.temperatures, made.thresholds, made.demo) == (run.temperatures, run.thresholds, run.demo)
    assert made.packaged and is_packaged(made.folder) and not is_packaged(run.folder)
    assert len(made.digest) == 32 and made.digest == made.network_checksum() != run.digest
    stored = np.load(made.folder / "weights.npz")
    assert {stored[name].dtype.name for name in stored} == {"uint8", "int8", "float32"}
    assert (made.folder / "weights.npz").stat().st_size < 0.6 * (run.folder / "weights.npz").stat().st_size


def test_whatever_else_labels_say_comes_along(run: Run, tmp_path: Path) -> None:
    """What a later version of the program adds to labels.json, a package has too."""
    labels = json.loads((run.folder / "labels.json").read_text()) | {"news": {"painter": [0.5, 0.5]}, "checksum": ""}
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "labels.json").write_text(json.dumps(labels))
    made = package(open_run(tmp_path / "run"), tmp_path / "paintings")
    assert json.loads((made.folder / "labels.json").read_text())["news"] == {"painter": [0.5, 0.5]}


def test_the_same_run_gives_the_same_bytes(run: Run, made: Run, tmp_path: Path) -> None:
    again = package(run, tmp_path / "again")
    names = sorted(file.name for file in made.folder.iterdir())
    assert names == ["labels.json", "manifest.json", "metrics.json", "network.json", "weights.npz"]
    for name in names:
        assert (again.folder / name).read_bytes() == (made.folder / name).read_bytes(), name


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["labels.json", "manifest.json", "metrics.json", "network.json", "weights.npz"])
@pytest.mark.parametrize("damage", [flip, lambda file: file.write_bytes(b""), lambda file: file.write_text("{}")])
def test_a_file_that_was_altered_is_refused_by_its_name(name: str, damage: Callable[[Path], None], copy: Path) -> None:
    damage(copy / name)
    with pytest.raises(UserError, match=name.replace(".", r"\.")) as error:
        open_network(open_run(copy))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["labels.json", "metrics.json", "network.json", "weights.npz"])
def test_a_file_that_is_missing_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        open_network(open_run(copy))


def test_a_manifest_of_a_newer_version_asks_for_an_update(copy: Path) -> None:
    from painters_mtl.runs import packaged

    content = json.loads((copy / "manifest.json").read_text()) | {"version": packaged.VERSION + 1}
    content["sha256"] = packaged._of_manifest(content)
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="update painters-mtl"):
        open_network(open_run(copy))


def test_a_manifest_cannot_name_files_elsewhere(copy: Path) -> None:
    from painters_mtl.runs import packaged

    content = json.loads((copy / "manifest.json").read_text())
    content["files"]["../secret.txt"] = content["files"]["metrics.json"]
    content["sha256"] = packaged._of_manifest(content)
    (copy / "manifest.json").write_text(json.dumps(content))
    (copy.parent / "secret.txt").write_bytes((copy / "metrics.json").read_bytes())
    with pytest.raises(UserError, match=r"copy/secret\.txt cannot be read"):
        open_network(open_run(copy))


def test_the_head_of_pairs_comes_along(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = painter_pairs.PainterHead(
        rng.normal(size=(64, 5)).astype(np.float32),
        rng.normal(size=5).astype(np.float32),
        1.5,
        ("a", "b", "c", "d", "é"),
        {"learned": (0.8, 0.7, 0.75), "cosine": (0.7, 0.7, 0.7)},
    )
    made = package(run, tmp_path / "paintings", head)
    found = painter_pairs.load_head(made)
    assert found is not None
    assert (found.painters, found.temperature, found.validation) == (head.painters, 1.5, head.validation)
    features = rng.normal(size=(9, 64)).astype(np.float32)
    np.testing.assert_allclose(found.probabilities(features), head.probabilities(features), atol=0.02)


def test_what_would_be_too_large_is_left_out_and_the_rest_refused(
    run: Run, made: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = packaging.size_of(made.folder)
    head = painter_pairs.PainterHead(np.ones((64, 5), np.float32), np.zeros(5, np.float32), 1.0, tuple("abcde"), {})
    monkeypatch.setattr(packaging, "LARGEST", size)
    assert painter_pairs.load_head(package(run, tmp_path / "paintings", head)) is None
    assert "same_painter.npz is left out" in capsys.readouterr().out
    monkeypatch.setattr(packaging, "LARGEST", size - 1)
    comparison = packaging.compare_package(run, made.folder, IMAGES)
    assert "MB, and at most" in packaging.package_faults(run, made.folder, comparison)


def test_another_network_is_no_package_of_the_run(run: Run, tmp_path: Path) -> None:
    other = trained_run(tmp_path / "other", seed=7)
    made = package(other, tmp_path / "paintings")
    labels = {name: np.arange(len(IMAGES)) % len(task.classes) for name, task in run.tasks.items()}
    comparison = packaging.compare_package(run, made.folder, IMAGES, labels)
    assert "of the paintings with the run in 32 bits" in packaging.package_faults(run, made.folder, comparison)
    assert comparison["accuracy"]["painter"]["paintings"] == len(IMAGES)
    same = packaging.compare_package(other, made.folder, IMAGES)
    assert packaging.package_faults(other, made.folder, same) == ""


def test_a_package_that_doubts_other_paintings_is_refused(run: Run, made: Run) -> None:
    """Half of the painters are unknown, by a threshold in the middle; of a network without its bias other ones are."""
    found = outputs(open_network(run))
    score = known_score(apply_temperature(found["painter"], run.temperatures["painter"]), found["painter_known"])
    in_between = dataclasses.replace(run, thresholds={**run.thresholds, "painter": float(np.median(score))})
    doubts = packaging._doubts(in_between, found)
    assert doubts["painter"].tolist() == (score < np.median(score)).tolist() and not doubts["style"].any()
    comparison = packaging.compare_package(in_between, made.folder, IMAGES)
    after = outputs(open_network(made))
    score = known_score(apply_temperature(after["painter"], run.temperatures["painter"]), after["painter_known"])
    same = (score < in_between.thresholds["painter"]) == doubts["painter"]
    assert comparison["same_doubt"] == {"painter": same.mean(), "style": 1.0}
    for same_doubt, fault in ((0.95, "whether the style is unknown on 95.0%"), (1 - 1 / 64, "")):
        altered = comparison | {"same_doubt": {"painter": 1.0, "style": same_doubt}}
        assert packaging.package_faults(run, made.folder, altered).startswith(fault)
    assert packaging.package_faults(run, made.folder, altered) == ""


def test_weights_that_16_bits_cannot_hold_are_refused(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "run", largest=1e5)
    (tmp_path / "paintings").mkdir()
    with pytest.raises(UserError, match="style/kernel are too large for 16 bits"):
        packaging.save_package(run, tmp_path / "paintings", None)


def test_a_run_of_version_0_4_is_to_be_trained_again(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "old", ignore=shutil.ignore_patterns("network.json", "weights.npz"))
    with pytest.raises(UserError, match=r"version 0\.4 made it"):
        packaging.save_package(open_run(tmp_path / "old"), tmp_path, None)
