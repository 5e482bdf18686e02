"""What a command line names: files, patterns, lists, members of a zip."""

import io
import os
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import python
from PIL import Image

from painters_mtl.common.errors import UserError
from painters_mtl.images.inputs import images_from_arguments


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a0.png to a2.png, below/a3.png, "b[1].png", "Renoir, Pierre.png", and two of them in z.zip under odd names."""
    (tmp_path / "below").mkdir()
    for name in ("a0", "a1", "a2", "below/a3", "b[1]", "Renoir, Pierre"):
        Image.new("RGB", (40, 30), "teal").save(tmp_path / f"{name}.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for name in ("c[1].png", "d.png", "in/e.png", "in/f.png", "in/notes.txt"):
            archive.write(tmp_path / "a0.png", name)
    return tmp_path


def names(folder: Path, *paths: str) -> list[str]:
    return [os.path.relpath(str(file), folder) for file in images_from_arguments(str(folder / path) for path in paths)]


def test_patterns_files_and_members(folder: Path) -> None:
    assert names(folder, "a*.png") == ["a0.png", "a1.png", "a2.png"]
    assert names(folder, "**/a*.png") == ["a0.png", "a1.png", "a2.png", "below/a3.png"]
    assert names(folder, "a[12].png", "a0.png", "a1.png") == ["a1.png", "a2.png", "a0.png"]  # none twice
    assert names(folder, "b[1].png", "Renoir, Pierre.png") == ["b[1].png", "Renoir, Pierre.png"]  # they are files
    assert names(folder, "z.zip/c[1].png") == ["z.zip/c[1].png"]  # a member, no pattern
    assert names(folder, "*.zip") == ["z.zip/c[1].png", "z.zip/d.png", "z.zip/in/e.png", "z.zip/in/f.png"]
    assert names(folder, "z.zip/in/*.png") == names(folder, "z.zip/in/") == ["z.zip/in/e.png", "z.zip/in/f.png"]
    assert names(folder, "z.zip/in/notes.txt") == ["z.zip/in/notes.txt"]  # named directly: whatever it is called
    for gone in ("z.zip/gone.png", "z.zip/gone/*.png"):
        with pytest.raises(UserError, match=r"z\.zip holds no picture gone"):
            names(folder, gone)
    with pytest.raises(UserError, match=r"no file fits the pattern .*x\*\.png"):
        names(folder, "x*.png")
    with pytest.raises(UserError, match="there is no file or folder"):
        names(folder, "nowhere.png")


def test_a_list_on_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [folder / "a1.png", folder / "gone.png", "", folder / "below", folder / "z.zip/d.png", folder / "a*.png"]
    text = "\r\n".join(map(str, lines)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    found = [os.path.relpath(str(file), folder) for file in images_from_arguments(["-"])]
    assert found == ["a1.png", "gone.png", "below/a3.png", "z.zip/d.png", "a*.png"]  # a line is a name as it stands


def test_check_takes_patterns_too(folder: Path) -> None:
    done = python("-m", "painters_mtl.check", "a*.png", "--output", "rows.csv", cwd=folder)
    assert done.returncode == 0 and len((folder / "rows.csv").read_text().splitlines()) == 4
