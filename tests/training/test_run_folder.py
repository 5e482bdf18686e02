"""The run folder: what may be replaced, and the old run that is kept until the new one is whole."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import arguments, fitted, locked_elsewhere, make_data, tiny_settings

from painters_mtl import train
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training import fit as training
from painters_mtl.training.run_folder import aside_of, changes, new_run_folder, prepare_run_folder, restore_replaced
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few paintings for trainings of one epoch."""
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def old_run(folder: Path, interrupted: bool = False) -> dict[str, bytes]:
    """What stands for a run: files with the names by which one is known."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.keras").write_text("the old network")
    (folder / "metrics.json").write_text(json.dumps({"interrupted": interrupted, "fingerprint": "old"}))
    return content(folder)


def fill(folder: Path, *names: str, interrupted: bool = False) -> None:
    """Write what a training writes, as far as it comes."""
    for name in names:
        (folder / name).write_text(json.dumps({"interrupted": interrupted, "fingerprint": "new"}))


# ------------------------------------------------------------------------------------------------- replacing


def test_the_old_run_goes_when_the_new_one_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = old_run(folder)
    with new_run_folder(folder, replace=True):
        assert content(folder) == {} and content(aside_of(folder)) == before
        fill(folder, "config.json", "metrics.json")
    assert set(content(folder)) == {"config.json", "metrics.json"} and not aside_of(folder).exists()


@pytest.mark.parametrize("error", [UserError("a slip"), KeyboardInterrupt(), ZeroDivisionError()])
def test_the_old_run_comes_back_where_nothing_takes_its_place(error: BaseException, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = old_run(folder)
    with pytest.raises(type(error)), new_run_folder(folder, replace=True):
        fill(folder, "config.json", "history.csv")
        raise error
    assert content(folder) == before and [f.name for f in tmp_path.iterdir()] == ["run"]
    with pytest.raises(type(error)), new_run_folder(tmp_path / "other", replace=True):
        raise error
    assert [f.name for f in tmp_path.iterdir()] == ["run"]  # a folder that is new goes again


def test_the_old_run_is_kept_while_the_new_one_is_unfinished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    before = old_run(folder)
    with new_run_folder(folder, replace=True):  # Ctrl-C: it can be used, and gone on with
        fill(folder, "config.json", "model.keras", "checkpoint.npz", "metrics.json", interrupted=True)
    assert content(aside_of(folder)) == before and "model.keras" in content(folder)
    assert f"{aside_of(folder)} holds the run that is replaced" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), new_run_folder(folder, replace=False):  # it goes on, and fails
        raise ZeroDivisionError
    assert content(aside_of(folder)) == before and "checkpoint.npz" in content(folder)
    with pytest.raises(ZeroDivisionError), new_run_folder(folder, replace=True):  # it starts anew, and fails
        assert content(folder) == {}
        raise ZeroDivisionError
    assert content(folder) == before and not aside_of(folder).exists()


@pytest.mark.parametrize(("done", "kept"), [(1, True), (5, False)])
def test_the_old_study_is_kept_until_all_seeds_are_done(done: int, kept: bool, tmp_path: Path) -> None:
    folder = tmp_path / "study"

    def study(seeds: int) -> None:
        (folder / "runs/seed0/joint").mkdir(parents=True, exist_ok=True)
        (folder / "runs/seed0/joint/metrics.json").touch()
        (folder / "config.json").write_text('{"seeds": 5}')
        (folder / "comparison.json").write_text(json.dumps({"seeds": seeds, "strategies": {}}))

    study(5)
    with new_run_folder(folder, replace=True):
        study(done)
    assert aside_of(folder).exists() is kept


def test_after_a_kill_the_old_run_comes_back_or_goes(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom painters_mtl.training.run_folder import new_run_folder\n"
        "folder = Path(sys.argv[1])\nwith new_run_folder(folder, replace=True):\n"
        "    for name in sys.argv[2:]:\n        (folder / name).write_text('{\"interrupted\": false}')\n"
        "    print('ready', flush=True)\n    time.sleep(100)\n"
    )
    for names, kept in (
        (["config.json"], "old"),
        (["config.json", "checkpoint.npz"], "both"),
        (["config.json", "metrics.json"], "new"),
    ):
        folder = tmp_path / kept / "run"
        before = old_run(folder)
        process = subprocess.Popen([sys.executable, "-c", code, folder, *names], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        restore_replaced(folder)
        assert (content(folder) == before) == (kept == "old")
        assert aside_of(folder).exists() == (kept == "both")
        if kept == "old":  # a verb that only looks at the folder has it back, too
            folder.replace(aside_of(folder))
            assert prepare_run_folder(TrainSettings(models=folder.parent, name="run", overwrite=True)) == folder
            assert content(folder) == before


# ------------------------------------------------------------------------------------------------- what is refused


def test_fit_replaces_nothing_but_a_run(small: Path, tmp_path: Path) -> None:
    """The folder of all runs, a folder of photographs, a study, a file; also where the settings say overwrite."""
    settings = tiny_settings(small, tmp_path, epochs=1)
    data = prepare(settings)
    models, photographs, study, file = settings.models, tmp_path / "holiday", tmp_path / "study", tmp_path / "file"
    old_run(models / "one")
    old_run(models / "two")
    photographs.mkdir()
    (photographs / "beach.jpg").touch()
    old_run(study / "runs" / "seed0" / "style")
    (study / "config.json").write_text('{"seeds": 5}')
    file.touch()
    before = content(tmp_path)
    for folder, overwrite, words in (
        (models, False, "is not the folder of a run and is not replaced"),
        (models, True, "is not the folder of a run and is not replaced"),
        (photographs, True, "is not the folder of a run and is not replaced"),
        (study / "runs", True, "is not the folder of a run and is not replaced"),
        (study, False, "is the folder of a study"),
        (models / "one", False, "was trained with other paintings, labels or settings"),
        (file, True, "is a file"),
    ):
        with pytest.raises(UserError, match=words):
            training.fit(data, dataclasses.replace(settings, overwrite=overwrite), folder)
        assert content(tmp_path) == before


def test_overwriting_has_to_be_asked_for(tmp_path: Path) -> None:
    def folder(**changes: Any) -> Path:
        return prepare_run_folder(TrainSettings(models=tmp_path, **changes))

    assert folder(name="new") == tmp_path / "new" and not (tmp_path / "new").exists()
    assert re.fullmatch(r"\d{8}-\d{6}", folder().name)
    (tmp_path / "empty").mkdir()
    assert folder(name="empty") == tmp_path / "empty"
    for name, file, words in (
        ("run", "labels.json", "run is there already"),
        ("holiday", "beach.jpg", "not the folder of a run and is not replaced"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
        with pytest.raises(UserError, match=words):
            folder(name=name)
    assert folder(name="run", overwrite=True) == tmp_path / "run"
    with pytest.raises(UserError, match="not the folder of a run and is not replaced"):
        folder(name="holiday", overwrite=True)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".123-config.json").touch()  # while the first file was being written
    assert folder(name="killed") == tmp_path / "killed"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file"):
        folder(name="file", overwrite=True)
    assert (tmp_path / "holiday" / "beach.jpg").exists() and (tmp_path / "run" / "labels.json").exists()


def test_a_run_of_a_version_with_fewer_settings_goes_on(tmp_path: Path) -> None:
    settings = TrainSettings(models=tmp_path, name="run", epochs=3)
    (tmp_path / "run").mkdir()
    kept = settings.to_dict()
    del kept["sample"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(kept))
    assert prepare_run_folder(settings) == tmp_path / "run"
    with pytest.raises(UserError, match=r"other settings \(sample\)"):
        prepare_run_folder(dataclasses.replace(settings, sample=5))


def test_a_place_may_be_written_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = TrainSettings(data=Path("paintings"), name="run", epochs=3)
    (tmp_path / "models" / "run").mkdir(parents=True)
    settings.save(tmp_path / "models" / "run" / "config.json")
    for place in (tmp_path / "paintings", Path("models/../paintings")):
        moved = dataclasses.replace(settings, data=place, budget="equal-updates")
        assert prepare_run_folder(moved).name == "run"
    with pytest.raises(UserError, match=r"with other settings \(data\)"):
        prepare_run_folder(dataclasses.replace(settings, data=tmp_path / "others"))


# ------------------------------------------------------------------------------------------------- the verb


@pytest.mark.slow
def test_a_run_can_be_replaced_with_its_own_split(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1, seed=3)
    _, _, folder = fitted(settings)
    (folder / "note.txt").write_text("of the old run")
    split = (folder / "split.csv").read_bytes()
    again = dataclasses.replace(settings, seed=4, split=folder / "split.csv", overwrite=True, baselines=False)
    assert train.main(arguments(again)) == 0
    assert (folder / "split.csv").read_bytes() == split and not (folder / "note.txt").exists()
    assert json.loads((folder / "config.json").read_text())["seed"] == 4
    assert not aside_of(folder).exists()


@pytest.mark.slow
def test_a_training_that_diverges_costs_no_old_run(small: Path, tmp_path: Path) -> None:
    """It fails behind its first steps, and before its first checkpoint."""
    settings = tiny_settings(small, tmp_path, epochs=1, overwrite=True, baselines=False, learning_rate=1e30)
    before = old_run(settings.models / "run")
    assert train.main(arguments(settings)) == 2
    assert content(settings.models / "run") == before
    assert [f.name for f in settings.models.iterdir()] == ["run"]


SLIPS: dict[str, dict[str, Any]] = {
    "a name": {"backbone": "small_convnett"},
    "no such file": {"weights": "nowhere.keras"},
    "no weights in it": {"weights": __file__},
}


@pytest.mark.parametrize("slip", list(SLIPS))
def test_a_slip_of_the_pen_does_not_cost_the_old_run(slip: str, small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, overwrite=True, **SLIPS[slip])
    before = old_run(settings.models / "run")
    assert train.main(arguments(settings)) == 2
    assert content(settings.models / "run") == before


@pytest.mark.parametrize("slip", list(SLIPS))
def test_a_slip_of_the_pen_leaves_nothing_half_written(slip: str, small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, **SLIPS[slip])
    assert train.main(arguments(settings)) == 2
    assert not settings.models.exists() or not list(settings.models.iterdir())


def test_a_run_is_trained_by_one_process(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1)
    settings.models.mkdir(parents=True)
    with locked_elsewhere(settings.models / ".run.lock"), pytest.raises(UserError, match="is training"):
        fitted(settings)


def test_a_run_whose_baseline_is_being_trained_is_not_replaced(tmp_path: Path) -> None:
    """The network for all tasks is done by then, and its lock is free."""
    folder = tmp_path / "run"
    (folder / "baselines").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with (
        locked_elsewhere(folder / "baselines" / ".style.lock"),
        pytest.raises(UserError, match=r"is training .*baselines/style"),
        new_run_folder(folder, replace=True),
    ):
        raise AssertionError
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"] and (folder / "config.json").exists()


@pytest.mark.parametrize("budget", ["early-stop", "equal-updates"])
def test_the_first_strategy_of_a_study_stays_where_baselines_have_its_steps(tmp_path: Path, budget: Any) -> None:
    before = CompareSettings(strategies=("joint",), budget=budget)
    before.save(tmp_path / "config.json")
    for strategies, refused in ((("joint", "pcgrad"), False), (("pcgrad", "joint"), budget == "equal-updates")):
        found = changes(dataclasses.replace(before, strategies=strategies), tmp_path / "config.json")
        assert found == (["strategies"] if refused else [])
