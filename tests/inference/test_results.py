"""The table of a prediction: every format says the same, and a run that was cut off goes on to the same end."""

import base64
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import largest_file, make_data, read_rows, trained
from PIL import Image

from painters_mtl import predict
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.images import files as images
from painters_mtl.inference import result_files
from painters_mtl.inference.predictor import PredictOptions, label, with_augmentations
from painters_mtl.reports import gallery
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


# ------------------------------------------------------------------------------------------------- formats


def test_every_format_says_the_same(folder: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    files = [*sorted(pictures.iterdir())[:7], tmp_path / 'bad, "one".jpg']
    files[-1].write_bytes(b"no picture")
    for ending in ("csv", "jsonl", "parquet"):
        run(folder, *files, "--output", tmp_path / f"out.{ending}", "--top-k", 2, status=1)
    rows = read_rows(tmp_path / "out.csv")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert [list(line) for line in lines] == [list(table.columns)] * 8 == [list(rows[0])] * 8
    for row, line, (_, cells) in zip(rows, lines, table.iterrows(), strict=True):
        for name, text in row.items():
            if text == "":
                assert line[name] in (None, "") and (cells[name] in (None, "") or np.isnan(cells[name]))
            elif name.endswith(("_confidence", "_known")):
                assert float(text) == line[name] == pytest.approx(cells[name], abs=1e-7)
            else:
                assert text == line[name] == cells[name]
    assert sorted(f.name for f in tmp_path.iterdir()) == [files[-1].name, "out.csv", "out.jsonl", "out.parquet"]


def test_the_gallery_shows_every_picture_in_its_shape(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for k in range(3):
        Image.fromarray(rng.integers(0, 256, (30, 90 + k, 3), np.uint8)).save(tmp_path / "in" / f"<b>{k}&.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    run(folder, tmp_path / "in", "--output", tmp_path / "out.html", status=1)
    page = (tmp_path / "out.html").read_text()
    shown = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert [Image.open(io.BytesIO(base64.b64decode(s))).size for s in shown] == [(160, 53), (160, 53), (160, 52)]
    assert "<b>0" not in page and "&lt;b&gt;0&amp;.png" in page and "empty (0 bytes)" in page
    widths = [float(w) for w in re.findall(r'<i style="width:([\d.]+)%', page)]
    classes = sum(min(3, len(task.classes)) for task in runs.open_run(folder).tasks.values())
    assert len(widths) == 3 * classes and sum(widths) == pytest.approx(3 * 3 * 100, abs=0.1 * len(widths))
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # self-contained


def test_a_long_gallery_has_pages(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.html"
    with result_files.Journal(output, {}) as journal:
        for k in range(1001):
            journal.write({"path": f"{k}.jpg", "error": "empty"})
    with result_files.Journal(tmp_path / "monet.html", {}) as journal:
        journal.write({"path": "0.jpg", "error": "empty"})
    (another,) = gallery.write_gallery(tmp_path / "monet.html", runs.open_run(folder))
    others = ["somebody else's", (folder / "report.html").read_text(), another.read_text()]
    another.unlink()
    for text in others:
        other = tmp_path / "out-2.html"
        other.write_text(text)
        with pytest.raises(UserError, match=r"out-2\.html is not a page of the gallery .*and is not replaced"):
            gallery.write_gallery(output, runs.open_run(folder))
        assert other.read_text() == text and (tmp_path / "out.html.part").exists() and not output.exists()
        other.unlink()
    written = gallery.write_gallery(output, runs.open_run(folder))
    assert [f.name for f in written] == ["out.html", "out-2.html", "out-3.html"]
    assert {f.name for f in tmp_path.iterdir()} == {f.name for f in written}
    names = [re.findall(r'title="(\d+)\.jpg"', file.read_text()) for file in written]
    assert [len(found) for found in names] == [500, 500, 1]
    assert [int(n) for found in names for n in found] == list(range(1001))

    for text in ("", *others):  # a shorter one: pages of the longer go, another's file does not
        with result_files.Journal(output, {}) as journal:
            journal.write({"path": "0.jpg", "error": "empty"})
        if text:
            (tmp_path / "out-2.html").write_text(text)
        assert gallery.write_gallery(output, runs.open_run(folder)) == [output]
        assert {f.name for f in tmp_path.iterdir()} == ({"out.html", "out-2.html"} if text else {"out.html"})


def test_the_gallery_shows_as_many_classes_as_were_asked_for() -> None:
    classes = tuple(f"painter {k}" for k in range(12))
    run = runs.Run(Path(), {"painter": Task("painter", classes)}, 32, 40, False, {"painter": 1.0})
    row = {"path": "a.jpg", "error": "", "doubtful": []}
    for k, name in enumerate(classes, start=1):
        key = "painter" if k == 1 else f"painter_{k}"
        row |= {key: name, f"{key}_confidence": 1 / 2**k}
    bars = [(name, 1 / 2**k) for k, name in enumerate(classes, start=1)]
    assert gallery._card(row, run)["answers"] == [("painter", False, False, bars)]
    doubted = row | {"painter": "unknown", "likeliest": {"painter": classes[0]}, "doubtful": ["painter"]}
    assert gallery._card(doubted, run)["answers"] == [("painter", True, True, bars)]
    assert gallery._card(doubted, run)["labels"] == {"painter": "unknown"}


# ------------------------------------------------------------------------------------------------- going on


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
    done = len(part.read_bytes().splitlines()) - 1
    assert 20 < done < 1600
    lines = part.read_bytes().splitlines(keepends=True)[: done + 1]
    marked = json.loads(lines[7]) | {"style": "written by hand"}
    lines[7] = json.dumps(marked).encode() + b"\n"
    part.write_bytes(b"".join(lines) + b'{"path": "torn')
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
    with result_files.Journal(output, made_with) as journal:
        journal.write({"path": str(files[2]), "painter": "written by hand", "error": ""})
    run(folder, *files, "--output", output, "--resume")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [r["path"] for r in rows] == [str(file) for file in files]  # as if it had never been cut off
    assert [r["painter"] == "written by hand" for r in rows] == [k == 2 for k in range(6)]


def test_another_model_or_option_does_not_go_on(
    folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    with result_files.Journal(output, {"model": "another", "--top-k": 3}) as journal:
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
    assert "going on behind 3 pictures" in capsys.readouterr().out
    assert output.read_bytes() == wanted


# ------------------------------------------------------------------------------------------------- none of these


def test_unknown_is_what_lies_below_the_threshold(folder: Path, pictures: Path, tmp_path: Path) -> None:
    run(folder, pictures, "--output", tmp_path / "doubt.csv")
    run(folder, pictures, "--output", tmp_path / "bare.csv", "--no-unknown")
    run(folder, pictures, "--output", tmp_path / "all.csv", "--unknown-tasks", "painter,style,genre")
    limits = runs.open_run(folder).thresholds
    assert set(limits) == set(TASK_NAMES)
    tables = [read_rows(tmp_path / f"{name}.csv") for name in ("doubt", "bare", "all")]
    unknown = 0
    for doubt, bare, every in zip(*tables, strict=True):
        score = float(bare["painter_known"])
        if abs(score - limits["painter"]) > 1e-4:
            assert doubt["painter"] == ("unknown" if score < limits["painter"] else bare["painter"])
        unknown += doubt["painter"] == "unknown"
        assert {k: v for k, v in doubt.items() if k != "painter"} == {k: v for k, v in bare.items() if k != "painter"}
        for task in ("style", "genre"):  # no head of their own for it: the confidence is the score
            if abs(float(bare[f"{task}_confidence"]) - limits[task]) > 1e-4:
                low = float(bare[f"{task}_confidence"]) < limits[task]
                assert every[task] == ("unknown" if low else bare[task])
    assert 0 < unknown < len(tables[0])


def test_the_third_painter_is_told_apart(trained_run: tuple[Path, TrainSettings], tmp_path: Path) -> None:
    """Red told the painter, and one of three is none of the two: a network that was shown its works knows it."""
    folder, _ = trained_run
    measured = json.loads((folder / runs.METRICS).read_text())["unknown"]
    assert measured["groups"]["in training"]["auroc"] > 0.95 and measured["kept"] > 0.8
    make_data(tmp_path / "new", count=60, seed=7, missing=0)
    run(folder, tmp_path / "new" / "images", "--output", tmp_path / "out.csv")
    known = runs.open_run(folder).tasks["painter"].classes
    truth = [r["painter"] in known for r in read_rows(tmp_path / "new" / "labels.csv")]
    said = [r["painter"] != "unknown" for r in read_rows(tmp_path / "out.csv")]
    assert np.mean(np.array(truth) == np.array(said)) > 0.85


# ------------------------------------------------------------------------------------------------- what is named


def test_patterns_and_lists(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(folder, pictures / "00*.png", "--output", tmp_path / "a.csv")
    assert [Path(r["path"]).name for r in read_rows(tmp_path / "a.csv")] == [f"00{k}.png" for k in range(10)]
    listed = [str(pictures / "003.png"), str(tmp_path / "gone.png"), "", str(pictures / "001.png")]
    process = subprocess.run(
        [sys.executable, "-m", "painters_mtl.predict", "-", "--model", str(folder), "--output", "b.csv"],
        input="\r\n".join(listed).encode(), capture_output=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert process.returncode == 1
    rows = read_rows(tmp_path / "b.csv")
    assert [r["path"] for r in rows] == [name for name in listed if name]
    assert [r["error"].split(" (")[0] for r in rows] == ["", "missing", ""]
    run(folder, pictures / "x*.png", "--output", tmp_path / "c.csv", status=2)
    assert "no file fits the pattern" in capsys.readouterr().err


def test_several_looks_are_their_mean(folder: Path, pictures: Path) -> None:
    """Of a network that averages its input, the mean over the looks is known."""

    def forward(copies: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": copies[:, :, :3].mean(axis=(1, 2, 3))[:, None]}  # the three columns on the left

    rng = np.random.default_rng(3)
    copies = rng.integers(0, 256, (4, 40, 40, 3), np.uint8)
    flipped = with_augmentations(forward, "flip")(copies)["x"][:, 0]
    both = np.concatenate([copies[:, :, :3], copies[:, :, -3:]], axis=2)
    np.testing.assert_allclose(flipped, both.mean(axis=(1, 2, 3)))
    assert with_augmentations(forward, "none") is forward
    flat = np.full((2, 2, 16, 16, 3), 77, np.uint8)  # two views; of one colour every look is the same
    np.testing.assert_allclose(
        with_augmentations(lambda c: {"x": c.mean(axis=(1, 2, 3, 4))[:, None]}, "crops")(flat)["x"], 77
    )
    corner = np.zeros((1, 40, 40, 3), np.uint8)
    corner[:, :5, :5] = 255  # only one of the crops has all of it, and none but those at that corner any
    seen: list[float] = []

    def note(copies: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(float(copies.mean()))
        return {"x": np.zeros((1, 1))}

    with_augmentations(note, "crops")(corner)
    assert len(seen) == 12 and np.count_nonzero(np.array(seen) > 3) == 4 and np.ptp(seen[2:4]) == 0


def test_files_that_vanish_while_they_are_read_are_rows(folder: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "in")
    files = images.find_images(tmp_path / "in")
    found = []
    for k, one in enumerate(label(runs.open_run(folder), files, PredictOptions(batch_size=4))):
        found.append(one.error.split(" (")[0])
        if k == 3:
            shutil.rmtree(tmp_path / "in")
    assert len(found) == len(files) and set(found[:4]) == {""} and set(found[-50:]) == {"missing"}


def test_an_output_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for name in ("out.txt", "nowhere/out.csv", ""):
        with pytest.raises(UserError):
            result_files.check_output(tmp_path / name)
