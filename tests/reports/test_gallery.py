"""The gallery: every picture in its shape, in pages, and nobody else's file replaced."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import trained
from PIL import Image

from painters_mtl import predict
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.inference.result_files import ResultJournal
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
    with ResultJournal(output, {}) as journal:
        for k in range(1001):
            journal.write({"path": f"{k}.jpg", "error": "empty"})
    with ResultJournal(tmp_path / "monet.html", {}) as journal:
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
        with ResultJournal(output, {}) as journal:
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
