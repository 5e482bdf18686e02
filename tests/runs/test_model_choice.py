"""Which model answers where none is named: the newest run of real paintings, else the bundled model."""

import os
import shutil
from pathlib import Path

import pytest
from small_runs import make_run, package, trained_run

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_json, write_json
from painters_mtl.runs import model_choice
from painters_mtl.runs.model_choice import bundled_model, open_named_run, open_run_for_pictures
from painters_mtl.runs.run import Run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of real paintings and one of the demo, each as a training leaves it."""
    folder = tmp_path_factory.mktemp("choice")
    trained_run(folder / "real")
    trained_run(folder / "demo", demo=True)
    return folder


@pytest.fixture
def none_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled_model, "__defaults__", ((),))


@pytest.fixture
def one_comes_along(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    made = package(trained_run(tmp_path / "bundled"), tmp_path / "elsewhere" / "_paintings")
    monkeypatch.setattr(bundled_model, "__defaults__", ((tmp_path / "not there", made.folder),))
    return made


def put(source: Path, to: Path, seconds: int, without: str = "") -> Path:
    """A run folder whose model was written at this time."""
    to.mkdir(parents=True)
    for file in source.iterdir():
        if file.name != without:
            shutil.copyfile(file, to / file.name)
    os.utime(to / "model.keras", (0, seconds))
    return to


def test_the_newest_finished_run_of_real_paintings_answers(base: Path, one_comes_along: Run, tmp_path: Path) -> None:
    models = tmp_path / "models"
    for seconds, name in enumerate(["c", "a", "b"]):
        put(base / "real", models / name, 100 * seconds)
    put(base / "real", models / ".hidden", 1000)
    put(base / "real", models / "unfinished", 1001, without="metrics.json")
    put(base / "demo", models / "demo", 1002)
    put(base / "real", models / "stopped", 1003)
    metrics = read_json(models / "stopped" / "metrics.json")
    write_json(models / "stopped" / "metrics.json", metrics | {"interrupted": True})
    package(trained_run(tmp_path / "another"), models / "paintings")  # it has its own place in the order
    run = open_run_for_pictures(None, models)
    assert (run.folder, run.title) == (models / "b", f"{models / 'b'}, the newest run of real paintings")
    os.utime(models / "c" / "model.keras", (0, 500))
    assert open_run_for_pictures(None, models).folder == models / "c"


def test_without_a_run_of_real_paintings_the_bundled_model_answers(
    base: Path, one_comes_along: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(base / "demo", tmp_path / "models" / "demo", 0)
    for models in (tmp_path / "models", tmp_path / "nowhere"):
        run = open_run_for_pictures(None, models)
        assert (run.folder, run.title) == (one_comes_along.folder, "the bundled model")
    assert capsys.readouterr().err == ""


def test_the_word_paintings_names_the_bundled_model(
    base: Path, one_comes_along: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_named_run(Path("paintings")).folder == one_comes_along.folder
    Path("paintings").mkdir()  # of pictures, as many have one
    assert open_named_run(Path("paintings")).folder == one_comes_along.folder
    Path("paintings").rmdir()
    put(base / "real", tmp_path / "paintings", 0)  # a run that is called so comes first
    assert open_named_run(Path("paintings")).folder == Path("paintings")


def test_a_run_of_the_demo_answers_where_it_is_named_and_with_a_note(
    base: Path, none_comes_along: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = put(base / "demo", tmp_path / "models" / "mine", 0)
    with pytest.raises(UserError, match=r"no model of real paintings .*mine knows the demo only.* --model .*mine"):
        open_run_for_pictures(None, tmp_path / "models")
    assert open_run_for_pictures(folder).title == str(folder)
    assert "drawn by code" in capsys.readouterr().err


def test_without_any_model_one_is_told_to_train(none_comes_along: None, tmp_path: Path) -> None:
    for models in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"no model of real paintings in .*: train one with painters-mtl train"):
            open_run_for_pictures(None, models)
    with pytest.raises(UserError, match="--model paintings: no model is bundled"):
        open_named_run(Path("paintings"))


def test_a_damaged_newest_run_is_named_not_passed_over(base: Path, one_comes_along: Run, tmp_path: Path) -> None:
    folder = put(base / "real", tmp_path / "models" / "a", 0)
    (folder / "labels.json").unlink()
    (folder / "labels.json").write_text("{")
    with pytest.raises(UserError, match=r"a/labels\.json is damaged"):
        open_run_for_pictures(None, tmp_path / "models")


def test_a_run_without_metrics_is_not_finished(none_comes_along: None, tmp_path: Path) -> None:
    make_run(tmp_path / "models" / "a")
    with pytest.raises(UserError, match="no model of real paintings"):
        open_run_for_pictures(None, tmp_path / "models")


def test_what_comes_along_is_looked_for_in_the_package_and_in_the_checkout() -> None:
    place, checkout = model_choice.PLACES
    assert place.parent.name == "painters_mtl" and (place.parent / "predict.py").is_file()
    assert checkout.parts[-2:] == ("models", "paintings") and (checkout.parents[1] / "painters_mtl") == place.parent
