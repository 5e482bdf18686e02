"""Where the paintings of a run are."""

import json
from pathlib import Path

import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.demo.collection import DEMO_VERSION
from painters_mtl.data.tasks import Task
from painters_mtl.runs import run as runs
from painters_mtl.runs import training_data
from painters_mtl.training.settings import TrainSettings


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


def make_folder(folder: Path, data: Path | None) -> runs.Run:
    folder.mkdir()
    TrainSettings(data=data).save(folder / "config.json")
    return runs.Run(folder, {"painter": Task("painter", ("a", "b"))}, 32, 40, False, {"painter": 1.0})


def test_the_paintings_of_a_run_are_where_its_training_found_them(tmp_path: Path) -> None:
    (tmp_path / "paintings" / "Monet").mkdir(parents=True)
    (tmp_path / "paintings" / "Monet" / "lilies.jpg").touch()
    run = make_folder(tmp_path / "run", tmp_path / "paintings")
    assert [Path(file.path).name for file in training_data.paintings_of_run(run)] == ["lilies.jpg"]
    (tmp_path / "paintings").rename(tmp_path / "elsewhere")
    assert training_data.paintings_of_run(run) == []
    (run.folder / "config.json").write_text("{")
    assert training_data.paintings_of_run(run) == []


def test_a_run_that_lacks_its_split_or_paintings_says_the_way_out(tmp_path: Path) -> None:
    run = make_folder(tmp_path / "run", tmp_path / "gone")
    with pytest.raises(UserError, match=r"lacks split\.csv, so its own paintings are not known: name some"):
        training_data.run_data_settings(run, None, "name some")
    (run.folder / "split.csv").touch()
    with pytest.raises(UserError, match=r"are not in .*gone: name some"):
        training_data.run_data_settings(run, None, "name some")
    assert training_data.run_data_settings(run, tmp_path, "").data == tmp_path


def test_a_run_whose_paintings_train_found_by_itself_is_not_given_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train` without --data took the competition's, which are elsewhere now."""
    monkeypatch.chdir(tmp_path)
    run = make_folder(tmp_path / "run", None)
    (run.folder / "split.csv").touch()
    with pytest.raises(UserError, match="which --data did not name, are not found: give --data"):
        training_data.run_data_settings(run, None, "give --data")
    assert not Path("data").exists()
    folder = Path("data/painter-by-numbers")
    folder.mkdir(parents=True)
    (folder / "all_data_info.csv").touch()
    (folder / "1.jpg").touch()
    assert training_data.run_data_settings(run, None, "").data == folder
