"""--resume with a finished output: rows that the same network made are kept, and only new pictures are labelled."""

import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import read_rows, trained

from painters_mtl import predict
from painters_mtl.data.tasks import UNKNOWN
from painters_mtl.inference.finished_results import _same_labels
from painters_mtl.inference.labelling import LabelJob, _made_with
from painters_mtl.inference.predictor import PredictOptions
from painters_mtl.inference.result_files import ResultJournal, write_journal
from painters_mtl.inference.result_tables import Row
from painters_mtl.runs import run as runs


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory)[0]


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> list[Path]:
    """Twelve pictures and one that cannot be read; the name of one is not UTF-8."""
    data = trained(tmp_path_factory)[1].data
    assert data is not None
    (tmp_path / "in").mkdir()
    for file in sorted((data / "images").iterdir())[:11]:
        shutil.copy(file, tmp_path / "in")
    shutil.copy(tmp_path / "in" / "000.png", os.fsencode(tmp_path / "in") + b"/caf\xe9.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    return sorted((tmp_path / "in").iterdir())


def label(folder: Path, output: Path, files: list[Path], *more: str) -> int:
    return predict.main([*map(str, files), "--model", str(folder), "--output", str(output), *more])


def write_csv(file: Path, rows: list[dict[str, str]], columns: list[str]) -> None:
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        table = csv.DictWriter(out, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "html"])
def test_only_new_pictures_are_labelled(
    ending: str, folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    output, whole = tmp_path / f"out.{ending}", tmp_path / "whole" / f"out.{ending}"
    whole.parent.mkdir()
    assert label(folder, whole, files) == 1
    assert label(folder, output, files[3:], "--resume") == 1  # there is nothing yet
    capsys.readouterr()
    assert label(folder, output, files, "--resume") == 1
    told = capsys.readouterr()
    assert "going on: 9 pictures done already" in told.out and "labelling 4 pictures" in told.out  # bad.png once more
    assert "1 picture could not be read (1 empty)" in told.err
    assert output.read_bytes() == whole.read_bytes()
    written = output.stat()
    assert label(folder, output, files[:5], "--resume") == 0  # nobody asked about the one that cannot be read
    assert f"all 5 pictures are in {output} already" in capsys.readouterr().out
    assert output.stat().st_mtime_ns == written.st_mtime_ns and output.stat().st_ino == written.st_ino
    bad = next(file for file in files if file.name == "bad.png")
    shutil.copy(files[0], bad)  # mended
    assert label(folder, output, files, "--resume") == 0 and "labelling 1 picture " in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", f"out.{ending}", "whole"]


def test_a_table_from_before_the_column_doubtful_is_not_gone_on_with(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty cell would say that no task is doubtful."""
    assert label(folder, tmp_path / "out.csv", files[3:7]) == 0
    rows = read_rows(tmp_path / "out.csv")
    columns = [name for name in rows[0] if name != "doubtful"]
    write_csv(tmp_path / "out.csv", [{name: row[name] for name in columns} for row in rows], columns)
    assert label(folder, tmp_path / "out.csv", files, "--resume") == 2
    assert "was made by another model or with another --top-k (doubtful)" in capsys.readouterr().err


def test_rows_of_other_pictures_stay_and_come_first(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    assert label(folder, output, files[:4]) == 0
    before = read_rows(output)
    assert label(folder, output, files[8:10], "--resume") == 0
    assert read_rows(output)[:4] == before and len(read_rows(output)) == 6
    for file in files[:4]:
        file.unlink()
    files[8].unlink()
    files[9].unlink()
    assert label(folder, output, files[4:6], "--resume") == 0
    assert "its rows are kept unchecked" in capsys.readouterr().out and len(read_rows(output)) == 8


def test_what_may_be_readable_now_is_tried_again(folder: Path, files: list[Path], tmp_path: Path) -> None:
    """A network drive that was away: in a finished table, and in the journal of a run that was cut off."""
    output = tmp_path / "out.csv"
    assert label(folder, output, files) == 1
    whole, rows = output.read_bytes(), read_rows(output)
    errors = {
        str(files[2]): "read error (Input/output error)",
        str(files[5]): "no permission",
        "elsewhere.png": "missing",
    }
    cells = [{"path": row["path"], "error": errors[row["path"]]} if row["path"] in errors else row for row in rows]
    write_csv(output, [*cells, {"path": "elsewhere.png", "error": "missing"}], list(rows[0]))
    assert label(folder, output, files, "--resume") == 1
    assert sorted(output.read_bytes().splitlines()[2:]) == sorted(whole.splitlines()[1:])
    assert read_rows(output)[0]["path"] == "elsewhere.png"  # nobody asked for it now
    output.unlink()
    with ResultJournal(
        output, _made_with(LabelJob(runs.open_run(folder), files, PredictOptions(runtime="auto")), "csv")
    ) as journal:
        journal.write({"path": str(files[1]), "error": "missing"})
    assert label(folder, output, files, "--resume") == 1
    assert output.read_bytes() == whole


def test_rows_of_a_finished_table_go_into_the_journal_together_or_not_at_all(tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield from ({"path": f"{k}.jpg", "error": ""} for k in range(40))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_journal(tmp_path / "out.csv", {"model": "x"}, rows())
    assert not list(tmp_path.iterdir())  # else the next --resume would forget the table for it


def test_what_another_model_made_is_not_mixed_in(
    folder: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"

    def refused(model: Path, *more: str) -> str:
        before = output.read_bytes()
        assert label(model, output, files, "--resume", *more) == 2 and output.read_bytes() == before
        assert not (tmp_path / "out.csv.part").exists()
        return capsys.readouterr().err

    label(folder, output, files[:6])
    assert "with another --top-k (genre_2, " in refused(folder, "--top-k", "2")
    other = shutil.copytree(folder, tmp_path / "other")
    run = runs.open_run(folder)
    temperatures = {name: 2 * value for name, value in run.temperatures.items()}
    sizes = (run.image_size, run.cache_side, run.demo, run.views)
    runs.save_labels(other, run.tasks, *sizes, temperatures, run.thresholds)
    assert "was made by another model or with other options" in refused(other)
    runs.save_labels(other, run.tasks, *sizes, run.temperatures, {"painter": 1.0})
    assert "was made by another model or with other options" in refused(other)  # it would call all of them unknown
    runs.save_labels(other, run.tasks, *sizes, run.temperatures, {"style": 1.1})  # of which all styles are in doubt
    output.unlink()
    label(other, output, files[:6])
    assert "was made with other --unknown-tasks (style)" in refused(other, "--unknown-tasks", "style")
    label(other, output, files[:6], "--unknown-tasks", "style")
    assert "was made with other --unknown-tasks (style)" in refused(other)
    assert label(other, output, files[:6], "--resume", "--unknown-tasks", "style") == 0
    output.write_bytes(b"\xef\xbb\xbf" + output.read_bytes())  # as Excel saves a table in UTF-8
    assert label(other, output, files[:6], "--resume", "--unknown-tasks", "style") == 0
    output.write_text("path;painter\n")
    assert label(folder, output, files, "--resume") == 2
    assert "is no table that predict wrote" in capsys.readouterr().err


def test_a_score_on_the_threshold_of_any_task_may_fall_on_either_side(folder: Path) -> None:
    run = runs.open_run(folder)
    row = {f"{task}_confidence": 0.8 for task in run.tasks} | {task: run.tasks[task].classes[0] for task in run.tasks}
    more = {f"{task}_2_confidence": 0.1 for task in run.tasks}
    score = run.thresholds["painter"] + 0.5
    for task in run.tasks:
        other = row | more | {"painter_known": score, task: run.tasks[task].classes[1]}
        assert not _same_labels(row, other, run, 1e-3)  # another class, as sure as before
        doubted = row | more | {"painter_known": score, task: UNKNOWN}
        assert _same_labels(row, doubted, run, 1e-3) == (task != "painter")  # whose score is in the table, and far off
    near = row | more | {"painter_known": run.thresholds["painter"] + 5e-4, "painter": UNKNOWN}
    assert _same_labels(row, near, run, 1e-3)
