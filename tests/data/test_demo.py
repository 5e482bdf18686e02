"""The demo: the same bytes every time, the label statistics it promises, and files that are never half-written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from painters_mtl.common.errors import UserError
from painters_mtl.data.demo import collection
from painters_mtl.data.demo.collection import GENRES, PAINTERS, STYLES, Work, labels_table, make_demo, paint, plan_works

LABELS = {"artist": PAINTERS, "style": STYLES, "genre": GENRES}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of 12 paintings, drawn by one process. Tests must not change it."""
    return make_demo(tmp_path_factory.mktemp("demo") / "new" / "demo", count=12, size=48, seed=3, workers=1)


@pytest.fixture(scope="module", params=[0, 11])
def table(request: pytest.FixtureRequest) -> pd.DataFrame:
    """The labels of a full demo, without its pictures; a missing label is NA."""
    return labels_table(plan_works(2000, request.param), request.param).replace("", pd.NA)


def best_guess(table: pd.DataFrame, column: str) -> float:
    """How often the most frequent class of each painter is right."""
    known = table.dropna(subset=["artist", column])
    return known.groupby("artist")[column].agg(lambda labels: labels.value_counts().iloc[0]).sum() / len(known)


def test_there_are_8_painters_10_styles_and_23_genres() -> None:
    assert [len(set(names)) for names in (PAINTERS, STYLES, GENRES)] == [8, 10, 23]


def test_labels_depend_on_the_painter_as_in_the_real_data(table: pd.DataFrame) -> None:
    assert best_guess(table, "style") == pytest.approx(0.77, abs=0.02)
    assert best_guess(table, "genre") == pytest.approx(0.41, abs=0.02)


@pytest.mark.parametrize(
    ("column", "low", "high"), [("artist", 0.13, 0.18), ("style", 0.15, 0.21), ("genre", 0.1, 0.15)]
)
def test_no_class_is_too_frequent_or_too_rare(table: pd.DataFrame, column: str, low: float, high: float) -> None:
    shares = table[column].value_counts(normalize=True)
    assert set(shares.index) == set(LABELS[column])
    assert low < shares.max() < high
    assert shares.min() > 0.01


def test_some_labels_are_missing_but_never_all(table: pd.DataFrame) -> None:
    missing = table[list(LABELS)].isna()
    for column, share in collection.MISSING.items():
        assert missing[column].mean() == pytest.approx(share, abs=0.015)
    assert not missing.all(axis=1).any()


def test_copies_repeat_artist_and_title_and_nothing_else_does() -> None:
    works = plan_works(2000, 5)
    table = labels_table(works, 5)
    copies = [(work.index, work.copy_of) for work in works if work.copy_of is not None]
    assert len(copies) == round(collection.COPIES * 2000)
    for index, source in copies:
        assert works[source].copy_of is None
        assert table.loc[index, ["artist", "title"]].equals(table.loc[source, ["artist", "title"]])
    assert table["title"].duplicated().sum() == len(copies)


def test_titles_and_dates_look_like_the_competitions(table: pd.DataFrame) -> None:
    assert table["title"].str.len().between(5, 70).all()
    dates = table["date"].dropna()
    assert 0.2 < 1 - len(dates) / len(table) < 0.3
    assert dates.str.fullmatch(r"1\d{3}(\.0)?|c\.1\d{3}").all()
    assert {len(date) for date in dates} == {4, 6}


@pytest.mark.parametrize("count", [1, 2, 30])
def test_few_works_can_be_planned(count: int) -> None:
    assert [work.index for work in plan_works(count)] == list(range(count))
    assert len(labels_table(plan_works(count))) == count


def test_bytes_do_not_depend_on_the_number_of_workers(small: Path, tmp_path: Path) -> None:
    assert contents(make_demo(tmp_path, count=12, size=48, seed=3, workers=2)) == contents(small)


def test_two_that_draw_at_once_draw_one_demo(tmp_path: Path) -> None:
    """The second waits for the first, and finds it done."""
    code = "import sys; from pathlib import Path; from painters_mtl.data.demo.collection import make_demo; "
    code += "from painters_mtl.common import messages; messages.TENTHS_FROM = 0.0; "
    code += "make_demo(Path(sys.argv[1]), count=150, size=48)"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "demo")], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("drawing demo paintings: 100 % of 150" in s for s in said) == [
        False,
        True,
    ]  # the progress of the one that draws
    assert len(list((tmp_path / "demo" / "images").iterdir())) == 150
    assert [f.name for f in tmp_path.iterdir()] == ["demo"]


def test_another_seed_gives_other_pictures_and_labels(small: Path, tmp_path: Path) -> None:
    first, second = contents(small), contents(make_demo(tmp_path, count=12, size=48, seed=4, workers=1))
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_folder_holds_the_pictures_the_labels_and_the_settings_only(small: Path) -> None:
    table = pd.read_csv(small / "labels.csv", encoding="utf-8")
    assert list(table) == ["filename", "artist", "title", "style", "genre", "date"]
    assert set(table["filename"]) | {"labels.csv", "demo.json"} == set(contents(small))
    assert json.loads((small / "demo.json").read_text())["version"] == collection.DEMO_VERSION
    for name in table["filename"]:
        with Image.open(small / name) as image:
            image.load()
            assert (image.format, image.mode, min(image.size)) == ("JPEG", "RGB", 48)


def test_a_finished_demo_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_demo(tmp_path, count=3, size=40, workers=1)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(collection, "paint", lambda *_: pytest.fail("painted again"))
    assert make_demo(tmp_path, count=3, size=40, workers=1) == tmp_path
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_other_settings_draw_anew_and_leave_no_old_pictures(tmp_path: Path) -> None:
    make_demo(tmp_path / "a", count=5, size=40, workers=1)
    make_demo(tmp_path / "a", count=3, size=44, workers=1)
    assert contents(tmp_path / "a") == contents(make_demo(tmp_path / "b", count=3, size=44, workers=1))


def test_an_interrupted_demo_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = contents(make_demo(tmp_path / "whole", count=5, size=40, workers=1))
    folder, painted = tmp_path / "interrupted", []

    def interrupted(work: Work, size: int, seed: int) -> Image.Image:
        if len(painted) == 3:
            raise KeyboardInterrupt
        painted.append(work)
        return paint(work, size, seed)

    monkeypatch.setattr(collection, "paint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_demo(folder, count=5, size=40, workers=1)
    assert not (folder / "demo.json").exists()
    assert len(list((folder / "images").iterdir())) == 3
    monkeypatch.undo()
    (folder / "images" / "00004.jpg.part").write_bytes(b"half")  # what a power cut leaves
    assert contents(make_demo(folder, count=5, size=40, workers=1)) == whole


def test_a_demo_that_lost_its_mark_and_pictures_is_completed(tmp_path: Path) -> None:
    whole = contents(make_demo(tmp_path, count=4, size=40, workers=1))
    (tmp_path / "demo.json").unlink()
    (tmp_path / "images" / "00002.jpg").unlink()
    assert contents(make_demo(tmp_path, count=4, size=40, workers=1)) == whole


@pytest.mark.parametrize(
    "labels",
    [
        "filename,artist\nimages/00001.jpg,Claude Monet\n",
        "filename,artist,style\nimages/00001.jpg,,Cubism\n",
        "filename,artist,title,style,genre,date\nwomen/00001.jpg,,,Cubism,,\n",
        "filename\na.jpg\n",
        None,
    ],
)
def test_pictures_of_others_are_not_touched(tmp_path: Path, labels: str | None) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "00001.jpg").write_bytes(b"mine")
    if labels is not None:
        (tmp_path / "labels.csv").write_text(labels)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="not the demo's"):
        make_demo(tmp_path, count=2, size=40, workers=1)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 8}, {"seed": -1}])
def test_impossible_settings_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=str(next(iter(wrong.values())))):
        make_demo(tmp_path / "demo", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "demo").exists()


def pixels(work: Work, size: int = 64) -> np.ndarray:
    """A painting as float32 (32, 32, 3), whatever its shape."""
    return np.asarray(paint(work, size).resize((32, 32), Image.Resampling.BOX), np.float32)


def test_every_style_and_every_genre_looks_different() -> None:
    painter = 3
    by_style = [pixels(Work(0, painter, style, GENRES.index("portrait"))) for style in range(len(STYLES))]
    by_genre = [pixels(Work(0, painter, STYLES.index("Realism"), genre)) for genre in range(len(GENRES))]
    for pictures, least in ((by_style, 8), (by_genre, 12)):
        gaps = [np.abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
        assert min(gaps) > least


def test_works_of_one_class_differ_and_a_copy_does_not() -> None:
    style, genre = STYLES.index("Realism"), GENRES.index("still life")
    works = (Work(0, 1, style, genre), Work(1, 1, style, genre), Work(2, 1, style, genre, copy_of=0))
    original, sister, copy = (pixels(work) for work in works)
    likeness = [np.corrcoef(original.ravel(), other.ravel())[0, 1] for other in (sister, copy)]
    assert likeness[0] < 0.8 < 0.9 < likeness[1] < 0.9999
    assert 0.8 < copy.mean() / original.mean() < 1.2


@pytest.mark.parametrize("size", [32, 250])
def test_every_combination_can_be_painted(size: int) -> None:
    for k in range(23 if size < 100 else 10):
        image = paint(Work(k, k % 8, k % 10, k), size)
        assert min(image.size) == size
        assert np.asarray(image).std() > 5
