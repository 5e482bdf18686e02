"""What the columns of a table are: by their names, by what they hold, or as --columns and --tasks say."""

import pandas as pd
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.columns import choose_columns, file_columns, names_files_and_labels, wanted_columns
from painters_mtl.data.settings import LabelSettings


def chosen(cells: dict[str, list[str]], **settings: object) -> tuple[dict[str, str], list[str]]:
    frame, notes = pd.DataFrame(cells, dtype=object), list[str]()
    given = LabelSettings(**settings)  # type: ignore[arg-type]
    frame = frame[[name for name in frame if name in wanted_columns(frame.columns, given)]]
    return choose_columns(frame, list(cells), given, "t.csv", notes), notes


def some(name: str, rows: int = 6) -> list[str]:
    return [f"{name} {k % 2}" for k in range(rows)]


@pytest.mark.parametrize(
    ("ours", "name"),
    [("painter", n) for n in ("painter", "artist", "artist_name", "artist name", "author", "creator", "painter_name")]
    + [("painter", n) for n in ("artistname", "artists")]  # artistName, in lower case
    + [("style", n) for n in ("style", "movement", "period", "art_movement", "stylename", "styles")]
    + [("genre", n) for n in ("genre", "subject", "category", "genres")],
)
def test_usual_names(ours, name):
    assert chosen({"file_name": some("f"), name: some("v"), "year": some("y")})[0] == {ours: name, "date": "year"}


def test_an_empty_column_gives_way_to_a_full_one():
    empty, nothing, few = [""] * 6, ["nan", "unknown", "NULL", "", "?", "n/a"], ["x", *[""] * 5]
    for values in (empty, nothing, few):
        columns, _ = chosen({"painter": values, "artist": some("a"), "style": values, "movement": some("m")})
        assert (columns["painter"], columns["style"]) == ("artist", "movement")


def test_of_two_full_columns_the_better_name_counts_and_the_other_is_named():
    columns, notes = chosen({"author": some("w"), "artist": some("a")})
    assert columns == {"painter": "artist"}
    assert notes == ["t.csv: painter is read from the column artist, and author is not read (--columns painter=author "
                     "takes that one)."]  # fmt: skip
    assert chosen({"author": some("w"), "artist": some("a")}, columns={"painter": "author"})[0] == {"painter": "author"}


def test_columns_that_the_user_names():
    table = {"photo": some("f"), "Maker": some("m"), "Topic": some("t")}
    columns, _ = chosen({k.lower(): v for k, v in table.items()}, columns={"painter": "Maker", "genre": "topic"})
    assert columns == {"painter": "maker", "genre": "topic"}
    with pytest.raises(UserError, match=r"--columns painter=makr: t.csv has no column makr.*did you mean maker\?"):
        chosen({k.lower(): v for k, v in table.items()}, columns={"painter": "makr"})


def test_tasks_of_ones_own_are_columns():
    columns, _ = chosen(
        {"art school": some("s"), "century": some("c"), "artist": some("a")}, tasks=("art_school", "century")
    )
    assert columns == {"art_school": "art school", "century": "century", "painter": "artist"}
    with pytest.raises(UserError, match=r"--tasks school: t.csv has no column school; it has century"):
        chosen({"century": some("c")}, tasks=("school",))
    assert chosen({"schule": some("s")}, tasks=("school",), columns={"school": "schule"})[0] == {"school": "schule"}


def test_a_column_called_label_is_what_its_values_are():
    assert chosen({"label": ["Cubism", "Dada", "Baroque"]})[0] == {"style": "label"}
    assert chosen({"label": ["portrait", "landscape"]})[0] == {"genre": "label"}
    for values in (["Monet", "Degas"], ["0", "1"]):
        with pytest.raises(UserError, match=r"does not say what its column label holds .*--columns painter=label"):
            chosen({"label": values})
    assert chosen({"label": ["Monet", "Degas"]}, columns={"painter": "label"})[0] == {"painter": "label"}


def test_classes_that_are_numbers_are_said():
    columns, notes = chosen({"artist": some("a"), "style": ["0", "1.0", "", "12", "nan", "1"]})
    assert columns == {"painter": "artist", "style": "style"}
    assert notes == ["t.csv: the classes of style are numbers (0, 1, 12); nothing names them."]
    assert chosen({"century": ["17", "18"]}, tasks=("century",))[1] == []


def test_styles_in_a_column_called_genre():
    columns, notes = chosen({"artist": some("a", 3), "genre": ["['Pop Art']", "Cubism", "Dada"]})
    assert columns == {"painter": "artist", "style": "genre"} and "holds styles" in notes[0]
    both = {"style": ["Dada"] * 2, "genre": ["portrait", "Cubism"]}
    assert chosen(both)[0] == {"style": "style", "genre": "genre"}
    assert chosen({"genre": ["Cubism", "Dada"]}, columns={"genre": "genre"})[0] == {"genre": "genre"}


def test_without_labels_or_files_the_way_out_is_named():
    with pytest.raises(UserError, match=r"it has photo, maker; others are named by --columns painter=NAME"):
        chosen({"photo": some("f"), "maker": some("m")})
    frame = pd.DataFrame({"artist": some("a")})
    with pytest.raises(UserError, match=r"it has photo, artist; .*--columns filename=NAME"):
        file_columns(frame, ["photo", "artist"], LabelSettings(), "t.csv")
    both = pd.DataFrame({"id": some("i"), "image": some("f"), "photo": some("p")})
    assert file_columns(both, list(both), LabelSettings(), "t.csv") == ["image", "id"]
    assert file_columns(both, list(both), LabelSettings(columns={"file": "photo"}), "t.csv") == ["photo"]


def test_which_tables_can_label_images():
    settings = LabelSettings()
    assert names_files_and_labels(["Image", "Artist"], settings) and names_files_and_labels(["path", "label"], settings)
    assert not names_files_and_labels(["image", "width"], settings)
    assert not names_files_and_labels(["artist", "born"], settings)
    assert names_files_and_labels(["image", "school"], LabelSettings(tasks=("school",)))
    assert names_files_and_labels(["photo", "maker"], LabelSettings(columns={"file": "photo", "painter": "maker"}))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tasks": ("9lives",)}, "a task is named by"),
        ({"tasks": ("title",)}, "--tasks title has another meaning"),
        ({"tasks": ("school_known",)}, "has another meaning"),
        ({"columns": {"mood": "m"}}, "--columns mood=m: mood is unknown"),
        ({"folders": "style", "columns": {"style": "s"}}, "leave one out"),
        ({"folders": "school"}, "--folders school: school is none of"),
        ({"folders": "*/*"}, r"--folders \*/\* names no task"),
        ({"tasks": ("school",), "classes": {"style": "3"}}, "--classes style is unknown: school"),
        ({"tasks": ("school",), "classes": {"school": "1"}}, "--classes school= 1 is too few"),
    ],
)
def test_options_that_cannot_work(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        LabelSettings(**settings)


def test_classes_of_tasks_of_ones_own():
    settings = LabelSettings(tasks=("painter,school", "Century"), classes={"school": "3"})
    assert settings.task_names() == ("painter", "school", "century")
    assert settings.requested_classes() == {"painter": 8, "school": 3, "century": None}
    named = LabelSettings(tasks=("school",), classes={"school": "Dutch; Flemish"})
    assert named.requested_classes() == {"school": ("Dutch", "Flemish")}
    names = {"school": ("Dutch; Flemish", "Sienese"), "painter": ("A", "B"), "century": ("17", "18")}
    assert settings.with_classes(names).requested_classes() == names


def test_a_column_without_any_class_is_said():
    columns, notes = chosen({"artist": some("a"), "genre": ["{'name': 'portrait'}"] * 6})
    assert columns == {"painter": "artist"}
    assert notes == ["t.csv: no cell of genre names a class (such as {'name': 'portrait'}); genre is not read."]
