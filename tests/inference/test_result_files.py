"""The journal of a prediction: killed, gone on with, in order; a full disk costs nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import largest_file, read_rows, trained

from painters_mtl import predict
from painters_mtl.common.files import file_lock
from painters_mtl.common.journal import read_records, record_bytes
from painters_mtl.inference import labelling
from painters_mtl.inference.result_files import ResultJournal, journal_rows, sort_rows
from painters_mtl.runs import run as runs
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    return trained(tmp_path_factory)


@pytest.fixture
def folder(trained_run: tuple[Path, TrainSettings]) -> Path:
    return trained_run[0]


@pytest.fixture
def pictures(trained_run: tuple[Path, TrainSettings]) -> Path:
    data = trained_run[1].data
    assert data is not None
    return data / "images"


def run(folder: Path, *words: object, status: int = 0) -> None:
    assert predict.main([*map(str, words), "--model", str(folder)]) == status


def test_a_run_that_was_killed_goes_on_to_the_same_table(folder: Path, pictures: Path, tmp_path: Path) -> None:
    """kill -9 while it writes; then --resume labels only what is missing."""
    (tmp_path / "in").mkdir()
    for k, file in enumerate(sorted(pictures.iterdir()) * 8):
        os.link(file, tmp_path / "in" / f"{k:05}.png") if k % 50 else (tmp_path / "in" / f"{k:05}.png").write_bytes(b"")
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    run(folder, tmp_path / "in", "--output", whole, "--batch-size", 4, status=1)
    words = [tmp_path / "in", "--model", folder, "--output", cut, "--batch-size", 4]
    process = subprocess.Popen([sys.executable, "-m", "painters_mtl.predict", *map(str, words)], stderr=subprocess.PIPE)
    part = tmp_path / "cut.csv.part"
    deadline = time.monotonic() + 300
    while (not part.exists() or part.stat().st_size < 20_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not cut.exists()
    records = [record.content for record in read_records(part)]
    assert 20 < len(records) - 1 < 1600
    marked = json.loads(records[7]) | {"style": "written by hand"}
    records[7] = json.dumps(marked).encode()
    part.write_bytes(b"".join([*record_bytes(records), b'{"path": "torn']))
    run(folder, *words[:1], *words[3:], "--resume", status=1)
    wanted = read_rows(whole)
    for row in wanted:
        if row["path"] == marked["path"]:
            row["style"] = "written by hand"  # what was done was not done again
    assert read_rows(cut) == wanted and not part.exists()


def test_two_processes_do_not_write_the_same_table(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    with file_lock(tmp_path / ".out.csv.lock", "", wait=False):  # as the first of them does
        run(folder, pictures, "--output", output, status=2)
    assert f"is writing {output}" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_is_done_is_not_done_again(folder: Path, pictures: Path, tmp_path: Path) -> None:
    files = sorted(pictures.iterdir())[:6]
    output = tmp_path / "out.jsonl"
    opened = runs.open_run(folder)
    made_with = {"model": opened.digest, "--top-k": 1, "--unknown": ["painter"], "--tta": "none"}
    made_with |= {"--runtime": "keras", "--output": ".jsonl"}
    with ResultJournal(output, made_with) as journal:
        journal.write({"path": str(files[2]), "painter": "written by hand", "error": ""})
    run(folder, *files, "--output", output, "--resume", "--runtime", "keras")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [r["path"] for r in rows] == [str(file) for file in files]  # as if it had never been cut off
    assert [r["painter"] == "written by hand" for r in rows] == [k == 2 for k in range(6)]


def test_another_model_or_option_does_not_go_on(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    with ResultJournal(output, {"model": "another", "--top-k": 3}) as journal:
        journal.write({"path": "a.jpg", "error": ""})
    run(folder, pictures, "--output", output, "--resume", status=2)
    assert "was made with another" in capsys.readouterr().err and (tmp_path / "out.csv.part").is_file()
    run(folder, pictures, "--output", output)  # without --resume it begins anew
    assert len(read_rows(output)) == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_one_sentence(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.csv.part").symlink_to("/dev/full")
    run(folder, pictures, "--output", tmp_path / "out.csv", status=2)
    error = capsys.readouterr().err
    assert "No space left on device" in error and "Traceback" not in error
    assert not (tmp_path / "out.csv").exists()


def test_a_disk_that_is_full_when_the_table_is_written_costs_nothing(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gallery is larger than its journal: rows and thumbnails are all there when the disk is full."""
    output, few = tmp_path / "out.html", sorted(pictures.iterdir())[:3]
    run(folder, *few, "--output", output)
    wanted = output.read_bytes()
    output.unlink()
    with largest_file(len(wanted) - 1):
        run(folder, *few, "--output", output, status=2)
    error = capsys.readouterr().err
    assert "out.html.part holds what is done: the same command with --resume goes on" in error
    assert "File too large" in error and "Traceback" not in error
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith(".")] == ["out.html.part"]
    run(folder, *few, "--output", output, "--resume")
    assert "going on: 3 pictures done already" in capsys.readouterr().out
    assert output.read_bytes() == wanted


@pytest.mark.parametrize("done", [0, 2])
def test_ctrl_c_promises_a_journal_only_where_there_is_one(
    done: int,
    folder: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is done where it comes while the network is opened."""

    def rows(*_: object) -> Iterator[dict[str, str]]:
        yield from ({"path": f"{k}.png", "error": ""} for k in range(done))
        raise KeyboardInterrupt

    monkeypatch.setattr(labelling, "prediction_rows", rows)
    run(folder, *sorted(pictures.iterdir())[:3], "--output", tmp_path / "out.csv", "--runtime", "keras", status=130)
    assert ("with --resume goes on" in capsys.readouterr().err) is bool(done)
    assert (tmp_path / "out.csv.part").exists() is bool(done)


def test_rows_are_put_in_order(tmp_path: Path) -> None:
    paths = [f"{i}.jpg" for i in range(50)] + ["caf\udce9.jpg"]
    mixed = random.Random(0).sample(paths, len(paths))
    with ResultJournal(tmp_path / "out.csv", {"model": "x"}) as journal:
        for path in ["gone.jpg", *mixed]:
            journal.write({"path": path, "painter": f"of {path}"})
    head = next(read_records(journal.file))
    sort_rows(journal.file, paths)
    assert list(journal_rows(journal.file)) == [{"path": p, "painter": f"of {p}"} for p in ["gone.jpg", *paths]]
    assert next(read_records(journal.file)) == head
    assert [f.name for f in tmp_path.iterdir()] == ["out.csv.part"]
