"""What can be asked of the page, without a browser and without gradio."""

import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import trained_run

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.inference import embeddings
from painters_mtl.page import folder, limits, render
from painters_mtl.page.collection import Collection
from painters_mtl.page.comparable_models import ALONE, ComparableModels
from painters_mtl.page.folder import label_pictures, pictures_in
from painters_mtl.page.model import PageModel
from painters_mtl.page.model_card import model_card
from painters_mtl.page.questions import Questions, sentence
from painters_mtl.page.share_image import write_share_image
from painters_mtl.page.uploads import Uploads
from painters_mtl.reports.sheets_explanation import UNPROVEN
from painters_mtl.runs.run import open_run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, of which one has a baseline."""
    where = tmp_path_factory.mktemp("models")
    trained_run(where / "first")
    trained_run(where / "second", seed=1)
    trained_run(where / "first" / "baselines" / "painter", seed=2)
    return where


@pytest.fixture(scope="module")
def questions(models: Path) -> Iterator[Questions]:
    uploads = Uploads()
    yield Questions(ComparableModels(PageModel(open_run(models / "first"))), uploads)
    uploads.close()


def drawn(seed: int, size: tuple[int, int] = (60, 40)) -> bytes:
    """A PNG of coarse noise."""
    width, height = size[0] // 10, size[1] // 10
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def uploaded(questions: Questions, name: str, content: bytes) -> dict[str, Any]:
    """What gradio gives for an upload."""
    made = questions.uploads.folder_for(None) / name
    made.write_bytes(content)
    return {"path": str(made), "meta": {"_type": "gradio.FileData"}}


def test_a_painting_is_said_in_json_and_in_html(questions: Questions) -> None:
    painting = questions.look(uploaded(questions, "lilies <b>.png", drawn(0)))
    values = json.loads(json.dumps(questions.values(painting)))
    assert values["file"] == "lilies <b>.png" and values["model"] == "first" and values["width"] == 60
    for task in questions.model.run.tasks:
        likeliest = values["labels"][task]["likeliest"]
        assert [found["confidence"] for found in likeliest] == sorted(
            (f["confidence"] for f in likeliest), reverse=True
        )
        assert sum(found["confidence"] for found in likeliest) == pytest.approx(1, abs=1e-3)
    page = render.answers(questions.model.run, painting)
    assert "lilies &lt;b&gt;.png" in page and "<b>.png" not in page


def test_unknown_is_said_in_words(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(questions.model.run.thresholds, "painter", 1.1)  # type: ignore[arg-type]
    monkeypatch.setitem(questions.model.run.thresholds, "style", 1.1)  # type: ignore[arg-type]
    painting = questions.look(uploaded(questions, "a.png", drawn(0)))
    labels = questions.values(painting)["labels"]
    assert labels["painter"]["answer"] == "unknown" and len(labels["painter"]["likeliest"]) == 3
    page = render.answers(questions.model.run, painting)
    assert "Unknown" in page and "none of the 3 painters that the model knows" in page and "doubtful" in page


def test_each_label_can_be_explained(questions: Questions) -> None:
    painting = questions.look(uploaded(questions, "a.png", drawn(0)))
    found = questions.explain(painting, "painter/b")
    assert found.label == "painter: b" and found.overlaid.shape == (40, 60, 3)
    assert questions.explain(painting, "style/").label.removeprefix("style: ") in ("d", "e")
    for wrong in ("painter/nobody", "period/1900", ""):
        with pytest.raises(UserError):
            questions.explain(painting, wrong)
    assert found.note in ("", UNPROVEN)
    assert UNPROVEN in render.before_after(painting, found.overlaid, found.heat, found.label, UNPROVEN)
    page = render.before_after(painting, found.overlaid, found.heat, found.label)
    assert page.count("data:image/jpeg;base64,") == 2 and 'type="range"' in page and "painter: b" in page


def test_a_share_image_is_a_png(questions: Questions) -> None:
    painting = questions.look(uploaded(questions, "a.png", drawn(0)))
    for explanation in (questions.explain(painting, "painter/b"), None):
        image = Image.open(io.BytesIO(questions.share_image(painting, explanation)))
        assert image.format == "PNG" and image.size == (1200, 800)


def test_a_share_image_has_room_for_many_tasks_and_long_names() -> None:
    """Nothing is drawn beyond its edges: its outermost pixels stay white, and each task has its answer."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (60, 40, 3), np.uint8)
    foot = [
        "IMG_2023-10-14 photograph of a painting " * 4,
        "of the map: " + "covering the bright cells changes little " * 4,
    ]
    for tasks in (1, 3, 4, 7, 8):
        likeliest = [{"class": f"class {k}" * 9, "confidence": 0.2} for k in range(5)]
        answers = {
            f"task {k}": {
                "answer": "Pierre-Auguste Renoir and his workshop in Paris",
                "doubtful": k == 1,
                "likeliest": likeliest,
            }
            for k in range(tasks)
        }
        image = np.asarray(
            Image.open(io.BytesIO(write_share_image(pixels, pixels, "x" * 90, answers, foot))).convert("L")
        )
        assert image.shape == (800, 1200)
        assert min(edge.min() for edge in (image[:8], image[-8:], image[:, :8], image[:, -8:])) == 255
        # Answers are in ink, the foot and all titles in grey: below the foot's lines nothing is darker.
        assert image[-70:, 40:].min() > 60 and (image[:730, 660:] < 60).any()


def test_what_fails_is_a_sentence_without_a_path(questions: Questions) -> None:
    for given in (uploaded(questions, "text.jpg", b"no picture"), {"path": "/etc/passwd"}, {"path": "gone.jpg"}):
        with pytest.raises(Unreadable) as caught:
            questions.look(given)
        said = sentence(caught.value)
        assert said[0].isupper() or said.startswith("text.jpg")
        assert "/" not in said.replace("JPEG, PNG", "") and said.endswith(".")


def test_two_models_and_the_baselines_are_compared(questions: Questions) -> None:
    assert questions.comparable_models.names()[:3] == ["first", f"first, {ALONE}", "second"]  # then the bundled one
    given = uploaded(questions, "a.png", drawn(0))
    columns = questions.compare(given, "first", "second")
    painting = questions.look(given)
    assert columns["first"] == questions.values(painting)["labels"] != columns["second"]
    assert "<h2>second</h2>" in render.compared(columns)
    assert list(questions.compare(given, "first", "first")) == ["first", "first (again)"]
    assert "Both give the same answers" in render.compared(questions.compare(given, "first", "first"))
    with pytest.raises(UserError, match="there is no model /etc here"):
        questions.compare(given, "first", "/etc")


def test_runs_with_underscores_are_all_there(models: Path, tmp_path: Path) -> None:
    for name in ("_x", "x"):
        shutil.copytree(models / "first", tmp_path / name)
    names = ComparableModels(PageModel(open_run(tmp_path / "_x"))).names()
    assert names == ["_x", f"_x, {ALONE}", "x", f"x, {ALONE}", "paintings"]


def test_why_a_model_cannot_be_opened_is_said_on_the_terminal_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(models, tmp_path / "models")
    damaged = tmp_path / "models" / "second" / "weights.npz"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    uploads = Uploads()
    try:
        asked = Questions(ComparableModels(PageModel(open_run(tmp_path / "models" / "first"))), uploads)
        with pytest.raises(UserError, match="the model second cannot be opened") as caught:
            asked.compare(uploaded(asked, "a.png", drawn(0)), "first", "second")
        assert str(tmp_path) not in sentence(caught.value) and str(damaged.parent) in capsys.readouterr().err
    finally:
        uploads.close()


def test_the_card_of_the_model_says_what_it_is_not_for(questions: Questions) -> None:
    card = questions.card_of_model()
    assert card["classes"] == {"painter": ["a", "b", "c"], "style": ["d", "e"]} and card["tested"] == {}
    assert "no attribution" in render.run_card(card)


def test_a_task_without_test_works_does_not_end_the_page(models: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(models / "first", tmp_path / "first")
    measured = {"accuracy": None, "top3": None, "n": 0}
    metrics = {"test": {"painter": measured, "style": {"accuracy": 0.5, "top3": 1.0, "n": 4}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    card = model_card(open_run(folder), "first")
    assert set(card["tested"]) == {"style"} and "50.0" in render.run_card(card)


# ------------------------------------------------------------------------------------------------- a collection


def wait_for(collection: Collection) -> None:
    until = time.monotonic() + 120
    while collection.reading and time.monotonic() < until:
        time.sleep(0.05)


def test_the_nearest_works_of_a_collection(questions: Questions, tmp_path: Path) -> None:
    works = tmp_path / "works"
    (works / "hall").mkdir(parents=True)
    for seed in range(5):
        (works / "hall" / f"{seed}.png").write_bytes(drawn(seed))
    (works / "broken.jpg").write_bytes(b"no picture")
    collection = Collection(works, questions.model, tmp_path / "cache")
    asked = Questions(questions.comparable_models, questions.uploads, collection)
    painting = asked.look(uploaded(asked, "copy.png", drawn(3)))
    assert asked.nearest(painting)[0] == [] and "Looking for pictures in works" in asked.nearest(painting)[1]
    collection.start()
    wait_for(collection)
    found, state = asked.nearest(painting, 3)
    assert found[0]["work"] == "hall/3.png" and len(found) == 3
    assert found[0]["likeness"] == pytest.approx(1, abs=1e-3) and set(found[0]["labels"]) == {"painter", "style"}
    assert state == "5 works of works; 1 could not be read"
    page = render.nearest(found, state)
    assert page.count("<img") == 3 and str(tmp_path) not in page


def test_an_upload_is_no_work_that_happens_to_have_its_name(
    questions: Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        (tmp_path / f"{seed}.png").write_bytes(drawn(seed))
    collection = Collection(Path(), questions.model, tmp_path / "cache")
    asked = Questions(questions.comparable_models, questions.uploads, collection)
    collection.start()
    wait_for(collection)
    found, _ = asked.nearest(asked.look(uploaded(asked, "2.png", drawn(1))), 3)
    assert [match["work"] for match in found][:1] == ["1.png"] and {match["work"] for match in found} == {
        f"{k}.png" for k in range(3)
    }


def test_a_collection_that_cannot_be_used_says_why(questions: Questions, tmp_path: Path) -> None:
    collection = Collection(tmp_path, questions.model, tmp_path / "cache")
    collection.start()
    wait_for(collection)
    assert not collection.ready and "there is no picture in " in collection.state()
    _, state = questions.nearest(questions.look(uploaded(questions, "a.png", drawn(0))))
    assert "--collection FOLDER" in state  # where none was given, how to give one


def test_a_collection_that_fails_is_not_read_for_ever(
    questions: Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(drawn(0))

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(embeddings, "compute", fails)
    collection = Collection(tmp_path, questions.model, tmp_path / "cache")
    collection.start()
    wait_for(collection)
    assert not collection.reading and "the terminal in which the page runs says why" in collection.state()
    assert str(tmp_path) not in collection.state() and "RuntimeError: out of memory" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- a folder


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_a_zip_becomes_a_table(questions: Questions, tmp_path: Path) -> None:
    members = {f"a/{k}.png": drawn(k) for k in range(3)} | {"a/text.jpg": b"no picture", "__MACOSX/._0.png": b"x"}
    files = [
        questions.uploads.file(uploaded(questions, "works.zip", zipped(members))),
        questions.uploads.file(uploaded(questions, "single.png", drawn(9))),
    ]
    csv = tmp_path / "labels.csv"
    steps = [p.done for p in label_pictures(questions.model, pictures_in(files), csv, threading.Event())]
    assert steps == [1, 2, 3, 4, 5, 5]
    lines = csv.read_text().splitlines()
    assert lines[0].startswith("path,painter,painter_confidence,painter_known,style")
    names = [line.split(",")[0] for line in lines[1:]]
    assert names == [*(f"works.zip/a/{k}.png" for k in range(3)), "works.zip/a/text.jpg", "single.png"]
    (last,) = (p for p in label_pictures(questions.model, pictures_in(files), csv, threading.Event()) if p.finished)
    page = render.folder(last, list(questions.model.run.tasks))
    assert "1 could not be read" in page and "a text file" in page and page.count("<img") == 4
    assert str(questions.uploads.root) not in page + csv.read_text()


def test_an_unknown_painter_of_a_folder_has_no_confidence(
    questions: Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The confidence is that of the likeliest painter, and "unknown 98 %" would say the opposite."""
    monkeypatch.setitem(questions.model.run.thresholds, "painter", 1.1)  # type: ignore[arg-type]
    files = pictures_in([questions.uploads.file(uploaded(questions, "a.png", drawn(0)))])
    *_, last = label_pictures(questions.model, files, tmp_path / "labels.csv", threading.Event())
    (row,) = last.shown
    page = render.folder(last, ["painter", "style"])
    assert f"unknown <span>likeliest {row['likeliest']['painter']}</span>" in page
    assert f"{row['style']} <span>{render.percent(row['style_confidence'])}</span>" in page


def test_a_folder_can_be_stopped_and_keeps_what_is_done(questions: Questions, tmp_path: Path) -> None:
    files = [questions.uploads.file(uploaded(questions, f"{k}.png", drawn(k))) for k in range(40)]
    stop, csv = threading.Event(), tmp_path / "labels.csv"
    for progress in label_pictures(questions.model, pictures_in(files), csv, stop):
        if progress.done == 3:
            stop.set()
    assert progress.finished and progress.stopped and progress.done == 3
    assert len(csv.read_text().splitlines()) == 4
    assert "Stopped after 3 of 40" in render.folder(progress, ["painter", "style"])


def test_a_folder_that_is_too_large_is_refused(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    many = questions.uploads.file(uploaded(questions, "m.zip", zipped({f"{k}.png": b"x" for k in range(12)})))
    none = questions.uploads.file(uploaded(questions, "n.zip", zipped({"letter.txt": b"x"})))
    with pytest.raises(UserError, match="there is no picture in "):
        pictures_in([none])
    monkeypatch.setattr(limits, "MOST_PICTURES", 10)
    with pytest.raises(UserError, match="more than 10 pictures"):
        pictures_in([many])
    monkeypatch.setattr(folder, "MAX_LISTING", 100)  # bytes: refused before the list is read
    with pytest.raises(UserError, match="lists more files"):
        pictures_in([many])


def test_what_is_shown_of_a_folder_is_bounded(
    questions: Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_SHOWN", 4)
    bad = {f"bad{k}.jpg": b"no picture" for k in range(9)}
    members = {f"{k}.png": drawn(k) for k in range(9)} | bad
    file = questions.uploads.file(uploaded(questions, "w.zip", zipped(members)))
    *_, last = label_pictures(questions.model, pictures_in([file]), tmp_path / "l.csv", threading.Event())
    assert (last.done, len(last.shown), len(last.unread), sum(last.errors.values())) == (18, 4, 4, 9)
    assert len((tmp_path / "l.csv").read_text().splitlines()) == 19
