"""A table with a row an image, in any format: which image a row means, and what its columns are."""

import unicodedata
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from folders import column, draw, labelled, labels, touch, zipped

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.values import clean


def test_rows_and_images_without_a_partner_are_counted(tmp_path):
    text = "path,style\na.jpg,Cubism\na.jpg,Rococo\nimages/a.jpg,Rococo\ngone.jpg,Cubism\n"
    catalog = labelled(tmp_path, text, "images/a.jpg", "images/b.jpg", "c.jpg")
    assert column(catalog, "style") == ["Cubism"]  # the first row counts
    assert "2 rows of labels.csv name an image that an earlier row names; the earlier row counts." in catalog.notes
    assert "1 of the 4 rows of labels.csv has no image here and is left out." in catalog.notes
    assert "2 of the 3 images have no row in labels.csv and are left out." in catalog.notes


def test_file_names_fit_by_path_or_by_a_single_ending(tmp_path):
    text = "image,painter\nx/1.jpg,A\n2.jpg,B\n./y\\1.jpg,C\n1.jpg,D\n3.jpg,E\n"
    catalog = labelled(tmp_path, text, "x/1.jpg", "x/2.jpg", "y/1.jpg", "3.jpg", "y/3.jpg")
    assert dict(zip(column(catalog, "id"), column(catalog, "painter"), strict=True)) == {
        "x/1.jpg": "A", "x/2.jpg": "B", "y/1.jpg": "C", "3.jpg": "E"}  # fmt: skip
    assert any("fit several images" in note and "1.jpg" in note for note in catalog.notes)


def test_file_names_fit_whatever_their_spaces_and_accents(tmp_path):
    names = ["two  spaces.png", "a\xa0b.png", unicodedata.normalize("NFD", "Édouard.png"), "n/one  more.png"]
    for written in (names, [clean(name) for name in names]):
        catalog = labelled(tmp_path, "filename,artist\n" + "".join(f"{n},{k}\n" for k, n in enumerate(written)), *names)
        wanted = {name: str(k) for k, name in enumerate(names)}
        assert dict(zip(column(catalog, "id"), column(catalog, "painter"), strict=True)) == wanted


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "sub/../../secret.jpg", "{outside}/secret.jpg", "C:\\secret.jpg", ""]
)
def test_no_file_name_leaves_the_folder(tmp_path, name):
    draw(tmp_path / "secret.jpg", tmp_path / "data" / "secret.jpg")
    row = name.format(outside=tmp_path)
    catalog = labelled(tmp_path / "data", f"filename,painter\n{row},A\nok.jpg,B\n", "ok.jpg")
    assert column(catalog, "id") == ["ok.jpg"]
    assert any(note.startswith("1 of the 2 rows") for note in catalog.notes)


# ------------------------------------------------------------------------------------------------- formats and columns

WORKS = [("a.jpg", "Claude Monet", "Impressionism", "landscape"), ("b.jpg", "Édouard Manet", "Realism", "portrait"),
         ("c.jpg", "Claude Monet", "", "portrait"), ("d.jpg", "", "Realism", "")]  # fmt: skip
NAMES = ("file_name", "artist", "style", "genre")


def saved(folder: Path, name: str, rows: list[tuple[str, ...]] = WORKS, header: tuple[str, ...] = NAMES) -> Path:
    """A table in the format that its ending names."""
    frame = pd.DataFrame(rows, columns=list(header))
    folder.mkdir(parents=True, exist_ok=True)
    stem, ending = name.split(".", 1)
    if ending == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(folder / name)
    elif ending.startswith(("jsonl", "ndjson")):
        frame.to_json(folder / name, orient="records", lines=True, force_ascii=False)
    elif ending == "zip":
        frame.to_csv(folder / f"{stem}.csv", index=False)
        zipped(folder / name, folder, f"{stem}.csv")
        (folder / f"{stem}.csv").unlink()
    else:
        separator = "\t" if "tsv" in ending else ";" if "txt" in ending else ","
        frame.to_csv(folder / name, index=False, sep=separator)
    return folder


FORMATS = [
    "labels.csv",
    "labels.tsv",
    "labels.csv.gz",
    "labels.tsv.gz",
    "labels.jsonl",
    "labels.jsonl.gz",
    "labels.ndjson",
    "labels.parquet",
    "labels.zip",
    "metadata.csv",
    "metadata.jsonl",
    "metadata.parquet",
    "paintings.csv",
    "paintings.parquet",
    "paintings.jsonl",
]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same(tmp_path, name):
    catalog = read_catalog(touch(saved(tmp_path, name), *(row[0] for row in WORKS)))
    assert list(labels(catalog, "id", "painter", "style", "genre").values()) == WORKS
    assert "painter from artist, style, genre" in catalog.notes[0]


def test_tables_and_images_in_one_zip(tmp_path):
    touch(saved(tmp_path / "plain", "labels.csv"), *(f"images/{row[0]}" for row in WORKS))
    names = [f.relative_to(tmp_path / "plain").as_posix() for f in (tmp_path / "plain").rglob("*.*")]
    for prefix in ("", "archive/"):
        zipped(tmp_path / f"z{prefix[:1]}" / "archive.zip", tmp_path / "plain", *names, prefix=prefix)
        catalog = read_catalog(tmp_path / f"z{prefix[:1]}")
        assert column(catalog, "painter") == [row[1] for row in WORKS]
        assert column(catalog, "member") == [f"{prefix}images/{row[0]}" for row in WORKS]


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        (("Image", "Artist Name", "Movement", "Subject"), lambda row: row),
        (("PATH", "AUTHOR", "Period", "CATEGORY"), lambda row: (f"images/{row[0]}", *row[1:])),
        (("image_id", "creator", "style", "genre"), lambda row: (row[0].removesuffix(".jpg"), *row[1:])),
        (("id", "painter", "style", "genre"), lambda row: (row[0].upper(), *row[1:])),
        (("file_name", "artist", "style", "genre"), lambda row: (f"/home/me/old/images/{row[0]}", *row[1:])),
        (("file_name", "artist", "style", "genre"), lambda row: (f"C:\\old\\{row[0]}", *row[1:])),
        (("image", "artist", "style", "genre"), lambda row: (f"https://museum.example/full/{row[0]}?w=400", *row[1:])),
        (("fileName", "artistName", "styles", "genres"), lambda row: row),
    ],
)
def test_usual_names_of_columns_and_files(tmp_path, header, cells):
    saved(tmp_path, "collection.csv", [cells(row) for row in WORKS], header)
    catalog = read_catalog(touch(tmp_path / "", *(f"images/{row[0]}" for row in WORKS)))
    assert list(labels(catalog, "painter", "style", "genre").values()) == [row[1:] for row in WORKS]


def test_the_column_whose_cells_name_the_images_is_the_file_name(tmp_path):
    rows = [(f"https://museum.example/{k}", str(k), *row) for k, row in enumerate(WORKS)]
    saved(tmp_path, "labels.csv", rows, ("image", "id", "file", "artist", "style", "genre"))
    catalog = read_catalog(touch(tmp_path, *(row[0] for row in WORKS)))
    assert column(catalog, "painter") == [row[1] for row in WORKS]


def test_columns_of_the_users_own_names(tmp_path):
    saved(tmp_path, "museum.csv", [(*row, "x") for row in WORKS], ("photo", "maker", "school of", "topic", "note"))
    touch(tmp_path, *(row[0] for row in WORKS))
    with pytest.raises(UserError, match="it has"):
        read_catalog(tmp_path)
    names = {"file": "photo", "painter": "maker", "style": "School_of", "genre": "topic"}
    catalog = read_catalog(tmp_path, LabelSettings(columns=names))
    assert list(labels(catalog, "painter", "style", "genre").values()) == [row[1:] for row in WORKS]
    own = read_catalog(tmp_path, LabelSettings(columns={"file": "photo"}, tasks=("school_of", "topic")))
    assert list(labels(own, "school_of", "topic").values()) == [row[2:] for row in WORKS]


def test_an_empty_column_painter_beside_a_full_artist(tmp_path):
    saved(tmp_path, "labels.csv", [("", *row) for row in WORKS], ("painter", "filename", "artist", "style", "genre"))
    catalog = read_catalog(touch(tmp_path, *(row[0] for row in WORKS)))
    assert column(catalog, "painter") == [row[1] for row in WORKS]


# ------------------------------------------------------------------------------------------------- splits


def split_names(part: str) -> list[tuple[str, ...]]:
    """The works under names of a part."""
    return [(f"{part}-{row[0]}", *row[1:]) for row in WORKS]


def test_a_column_that_divides(tmp_path):
    parts = ("Training", "val", "TEST", "extra")
    saved(tmp_path, "labels.csv", [(*row, part) for row, part in zip(WORKS, parts, strict=True)], (*NAMES, "subset"))
    catalog = read_catalog(touch(tmp_path, *(row[0] for row in WORKS)))
    assert column(catalog, "part") == ["train", "validation", "test", ""]
    assert (
        "labels.csv: subset is no part of a split where it is extra (train, validation and test are)." in catalog.notes
    )
    assert any(note.endswith("1 train, 1 validation, 1 test, and 1 in none (--split new divides them anew).")
               for note in catalog.notes)  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "valid.csv", "test.csv"),
        ("labels_train.csv", "labels_val.csv", "labels_test.csv"),
        tuple(
            f"{part}-00000-of-00001.jsonl" for part in ("train", "validation", "test")
        ),  # as Hugging Face writes them
    ],
)
def test_a_table_a_part(tmp_path, names):
    for name, part in zip(names, ("train", "validation", "test"), strict=True):
        saved(tmp_path, name, split_names(part))
        touch(tmp_path, *(f"images/{row[0]}" for row in split_names(part)))
    catalog = read_catalog(tmp_path)
    assert Counter(column(catalog, "part")) == {"train": 4, "validation": 4, "test": 4}


def test_the_same_names_in_each_part_under_a_table_a_part(tmp_path):
    """train.csv calls train/a.jpg a.jpg, and test.csv calls test/a.jpg so."""
    for part in ("train", "test"):
        touch(saved(tmp_path, f"{part}.csv"), *(f"{part}/{row[0]}" for row in WORKS))
    assert labels(read_catalog(tmp_path), "painter", "part") == {
        f"{part}/{row[0]}": (row[1], part) for part in ("test", "train") for row in WORKS}  # fmt: skip


def test_a_table_in_pieces_is_one(tmp_path):
    saved(tmp_path, "works-00000-of-00002.jsonl", WORKS[:2])
    saved(tmp_path, "works-00001-of-00002.jsonl", WORKS[2:])
    catalog = read_catalog(touch(tmp_path, *(row[0] for row in WORKS)))
    assert column(catalog, "painter") == [row[1] for row in WORKS]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet", "labels.csv"])
def test_a_table_in_each_part(tmp_path, name):
    for part in ("train", "validation", "test"):
        touch(saved(tmp_path / part, name), *(row[0] for row in WORKS))  # the same names in each: the folder counts
    catalog = read_catalog(tmp_path)
    assert catalog.layout == ("labels.csv" if name == "labels.csv" else "imagefolder")
    assert labels(catalog, "painter", "part") == {
        f"{part}/{row[0]}": (row[1], part) for part in ("test", "train", "validation") for row in WORKS}  # fmt: skip


def test_one_table_above_the_folders_of_the_parts(tmp_path):
    rows = [(f"{part}/{row[0]}", *row[1:]) for part in ("train", "test") for row in WORKS]
    catalog = read_catalog(touch(saved(tmp_path, "metadata.csv", rows), *(row[0] for row in rows)))
    assert catalog.layout == "imagefolder" and Counter(column(catalog, "part")) == {"train": 4, "test": 4}


def test_a_parquet_that_holds_the_pictures_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [{"image": {"bytes": b"x", "path": None}, "artist": row[1]} for row in WORKS]
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    touch(tmp_path, "other.jpg")
    with pytest.raises(UserError, match=r"train.parquet: its column image holds the pictures themselves.*save them"):
        read_catalog(tmp_path)
