"""The check of a folder: table, CSV, exit status."""

import csv
import os
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from painters_mtl import check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three good pictures (one in a zip), one cut, two refused."""
    root = tmp_path / "paintings"
    root.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    Image.fromarray(noise).save(root / "good.jpg")
    Image.fromarray(noise[..., 0]).save(root / "grey, old.png")
    data = (root / "good.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(data[: len(data) * 3 // 4])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text\nfile.jpg").write_text("hello")
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.writestr("in/good.jpg", data)
    return root


def test_table_and_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:7]] == [
        ["6", "pictures"],
        ["3", "ok"],
        ["1", "repaired"],
        ["1", "truncated"],
        ["2", "refused"],
        ["1", "empty"],
        ["1", "not", "an", "image"],
    ]
    (cut,) = (line for line in lines if line.startswith("repaired  truncated"))
    assert "cut.jpg" in cut and "could be read" in cut
    assert any(line.startswith("refused   not an image") and r"text\nfile.jpg" in line for line in lines)
    for name in ("empty.jpg", "text\nfile.jpg"):
        (folder / name).unlink()
    assert check.main([str(folder)]) == 0  # repaired counts as readable


def test_csv(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")
    Path(strange).write_bytes((folder / "good.jpg").read_bytes())
    output = tmp_path / "check.csv"
    assert check.main([str(folder), "--output", str(output), "--threads", "3"]) == 1
    assert f"wrote 7 rows to {output}" in capsys.readouterr().out
    with output.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = {row["path"].removeprefix(f"{folder}/"): row for row in csv.DictReader(file)}
    names = {"good.jpg", "grey, old.png", "cut.jpg", "empty.jpg", "text\nfile.jpg", "\udcff.jpg"}
    assert set(rows) == names | {"more.zip/in/good.jpg"}
    good = rows["more.zip/in/good.jpg"]
    assert {**good, "path": "", "bytes": ""} == {**rows["good.jpg"], "path": "", "bytes": ""}
    columns = ("status", "width", "height", "format", "mode")
    assert [good[column] for column in columns] == ["ok", "80", "60", "JPEG", "RGB"]
    assert good["bytes"] == str((folder / "good.jpg").stat().st_size)
    assert (rows["grey, old.png"]["format"], rows["grey, old.png"]["mode"]) == ("PNG", "L")
    assert (rows["cut.jpg"]["status"], rows["cut.jpg"]["reason"]) == ("repaired", "truncated")
    empty = rows["empty.jpg"]
    assert (empty["status"], empty["reason"], empty["width"]) == ("refused", "empty", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check.csv", "paintings"]


def test_an_interrupted_check_leaves_no_csv(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "check.csv"
    output.write_text("older")

    def interrupt(file: object) -> check.Row:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "examine", interrupt)
    assert check.main([str(folder), "--output", str(output)]) == 130
    assert output.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["check.csv", "paintings"]


def test_long_lists_are_shortened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(60):
        (folder / f"text{i}.jpg").write_text("hello")
    assert check.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith(("refused ", "repaired "))]) == check.LISTED
    assert lines[-1] == "... and 23 more, --output FILE lists them all"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{}/nowhere"], "nowhere"),
        (["{}"], "no pictures in"),
        ([], "name a folder"),
        (["{}/x.jpg", "--output", "{}/no/such/c.csv"], "no folder"),
        (["{}/x.jpg", "--output", "{}"], "is a folder"),
        (["{}/x.jpg", "--threads", "-2"], "--threads"),
        (["{}/x.jpg", "--tasks", "school"], "--tasks is for check --data FOLDER"),
    ],
)
def test_misuse(arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if any("x.jpg" in argument for argument in arguments):
        (tmp_path / "x.jpg").write_text("hello")
    assert check.main([argument.format(tmp_path) for argument in arguments]) == 2
    captured = capsys.readouterr()
    error = captured.err.splitlines()[-1]
    assert error.startswith("error: ") and says in error and captured.out == ""


def test_a_data_folder_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layout, classes with counts, what is left out and why, and what comes next; nothing is written."""
    for name, count in (("Claude Monet", 5), ("Edgar Degas", 4), ("Nobody", 2)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for k in range(count):
            (tmp_path / "data" / name / f"{k}.jpg").touch()
    assert check.main(["--data", str(tmp_path / "data")]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'data'}: 11 paintings, read as class folders: painter from the folder")
    (counts,) = (line.split() for line in lines if line.startswith("painter "))
    assert counts == ["painter", "11", "3", "2", "9"]
    assert "painter: Claude Monet (5), Edgar Degas (4)" in lines
    assert "note: painter has 2 classes, not 8: no other name has 3 paintings or more." in lines
    assert "note: genre is left out: no painting has such a label." in lines
    assert shlex.split(lines[-1]) == ["painters-mtl", "train", "--data", str(tmp_path / "data"), "--dry-run"]
    assert captured.err == "" and [p.name for p in tmp_path.iterdir()] == ["data"]


def test_what_train_cannot_use_ends_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the works that may be trained on, not by those that somebody keeps for the test."""
    works = {("Ada", "train"): 5, ("Bea", "train"): 5, ("Cid", "train"): 1, ("Cid", "test"): 9, ("Dora", "test"): 6}
    rows = [(painter, part, k) for (painter, part), count in works.items() for k in range(count)]
    lines = ["filename,painter,split"]
    for painter, part, k in rows:
        (tmp_path / f"{painter}{part}{k}.jpg").write_bytes(b"")
        lines.append(f"{painter}{part}{k}.jpg,{painter},{part}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert check.main(["--data", str(tmp_path), "--painters", "2"]) == 0
    assert "painter: Ada (5), Bea (5)\n" in capsys.readouterr().out
    (tmp_path / "labels.csv").write_text("\n".join(line for line in lines if "Bea" not in line))
    assert check.main(["--data", str(tmp_path)]) == 2
    assert "nothing can be trained on this" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert check.main(["--data", "demo"]) == 2
    assert "painters-mtl train --data demo --dry-run draws it" in capsys.readouterr().err


def test_wrong_option_ends_with_two() -> None:
    with pytest.raises(SystemExit) as caught:
        check.main(["--no-such-option", "1"])
    assert caught.value.code == 2


def test_originals(paintings: Path, tmp_path: Path) -> None:
    output = tmp_path / "check.csv"
    assert check.main([str(paintings / "originals"), "--output", str(output)]) == 1
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 75
    assert sorted(Path(row["path"]).name for row in rows if row["status"] != "ok") == [
        "lfspointer_Claude_Monet_1.jpg",
        "lfspointer_Rembrandt_1.jpg",
    ]
    assert {row["mode"] for row in rows} == {"RGB", "L", "CMYK", "RGBA", ""}
