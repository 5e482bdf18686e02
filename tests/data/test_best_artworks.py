"""A folder a painter and a table of painters, as in Kaggle's "Best Artworks of All Time"."""

from collections import Counter
from pathlib import Path

import pytest
from folders import column, labels, touch, write, zipped

from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.settings import LabelSettings

ARTISTS = (
    "id,name,years,genre,nationality\n"
    "0,Albrecht Dürer,1471 - 1528,Northern Renaissance,German\n"
    '1,Paul Klee,1879 - 1940,"Expressionism,Abstractionism,Surrealism",Swiss\n'
    "2,Edgar Degas,1834 - 1917,Impressionism,French\n"
)
WORKS = ["Albrecht_Dürer_1.jpg", "Albrecht_Dürer_2.jpg", "Paul_Klee_1.jpg", "Edgar_Degas_1.jpg", "Edgar_Degas_12.jpg"]


def collection(folder: Path, wrapper: str = "images/images", resized: str = "resized/resized") -> Path:
    """Images in painters' folders, and the smaller copies."""
    if wrapper:
        touch(folder, *(f"{wrapper}/{name.rsplit('_', 1)[0]}/{name}" for name in WORKS))
    if resized:
        touch(folder, *(f"{resized}/{name}" for name in WORKS))
    write(folder / "artists.csv", ARTISTS)
    return folder


@pytest.mark.parametrize(
    ("wrapper", "resized"),
    [("images/images", "resized/resized"), ("images", "resized"), ("archive/images/images", "archive/resized/resized"),
     ("images/images", ""), ("", "resized/resized"), ("Artworks", "thumbnails"), (".", "")],
)  # fmt: skip
def test_however_it_is_unpacked(tmp_path, wrapper, resized):
    catalog = read_catalog(collection(tmp_path, wrapper, resized))
    assert catalog.layout == "best-artworks"
    assert Counter(column(catalog, "painter")) == {"Albrecht Dürer": 2, "Paul Klee": 1, "Edgar Degas": 2}
    assert Counter(zip(column(catalog, "painter"), column(catalog, "style"), strict=True)) == {
        ("Albrecht Dürer", "Northern Renaissance"): 2,
        ("Paul Klee", ""): 1,  # which of his three styles a work has is not said
        ("Edgar Degas", "Impressionism"): 2,
    }
    assert any(note.startswith("1 painter has several styles") for note in catalog.notes)
    assert any("smaller copies" in note for note in catalog.notes) == bool(wrapper and resized)


def test_copies_that_are_the_only_ones_stay(tmp_path):
    touch(collection(tmp_path), "resized/resized/Paul_Klee_9.jpg")
    assert labels(read_catalog(tmp_path), "painter")["resized/resized/Paul_Klee_9.jpg"] == ("Paul Klee",)


def test_names_that_were_broken_on_the_way_are_the_nearest(tmp_path):
    touch(collection(tmp_path), "images/images/Albrecht_DuΓХа├кrer/Albrecht_DuΓХа├кrer_1.jpg")
    catalog = read_catalog(tmp_path)
    assert Counter(column(catalog, "painter"))["Albrecht Dürer"] == 3
    assert any("is taken for Albrecht Dürer of artists.csv" in note for note in catalog.notes)


def test_the_younger_is_not_the_elder_misspelt(tmp_path):
    table = write(collection(tmp_path) / "artists.csv", ARTISTS + "9,Pieter Bruegel the Elder,Realism,Flemish\n")
    names = ("Pieter_Bruegel_the_Elder", "Pieter_Bruegel_the_Younger")
    touch(table.parent, *(f"images/images/{name}/{name}_1.jpg" for name in names))
    painters = Counter(column(read_catalog(tmp_path), "painter"))
    assert painters["Pieter Bruegel the Elder"] == painters["Pieter Bruegel the Younger"] == 1


def test_a_name_of_the_user_says_which_column_is_the_style(tmp_path):
    rows = "name,genre,movement\nPaul Klee,Cubism,Dada\nAlbrecht Durer,Baroque,Rococo\n"
    write(touch(tmp_path, "Paul_Klee/a.jpg", "Paul_Klee/b.jpg", "Albrecht_Durer/c.jpg") / "artists.csv", rows)
    found = labels(read_catalog(tmp_path, LabelSettings(columns={"style": "movement"})), "painter", "style")
    assert set(found.values()) == {("Paul Klee", "Dada"), ("Albrecht Durer", "Rococo")}


def test_a_column_without_a_heading_is_nothing(tmp_path):
    rows = ",name,genre\n0,Paul Klee,Cubism\n1,Albrecht Durer,Baroque\n"
    write(touch(tmp_path, "Paul_Klee/a.jpg", "Paul_Klee/b.jpg", "Albrecht_Durer/c.jpg") / "artists.csv", rows)
    found = labels(read_catalog(tmp_path), "painter", "style")
    assert set(found.values()) == {("Paul Klee", "Cubism"), ("Albrecht Durer", "Baroque")}


def test_a_painter_who_is_not_in_the_table_is_one_still(tmp_path):
    touch(collection(tmp_path), "images/images/Joan_Miro/Joan_Miro_1.jpg")
    catalog = read_catalog(tmp_path)
    assert ("Joan Miro", "") in labels(catalog, "painter", "style").values()
    assert any(note.startswith("1 painter is not in artists.csv") for note in catalog.notes)


def test_what_is_said_of_painters_can_be_a_task(tmp_path):
    settings = LabelSettings(tasks=("nationality", "style"))
    catalog = read_catalog(collection(tmp_path), settings)
    assert Counter(column(catalog, "nationality")) == {"German": 2, "Swiss": 1, "French": 2}


def test_zips_and_a_split_above(tmp_path):
    collection(tmp_path / "plain")
    names = [f.relative_to(tmp_path / "plain").as_posix() for f in (tmp_path / "plain").rglob("*.*")]
    zipped(tmp_path / "packed" / "archive.zip", tmp_path / "plain", *names)
    plain, packed = (read_catalog(tmp_path / kind) for kind in ("plain", "packed"))
    assert column(plain, "painter") == column(packed, "painter") and column(plain, "style") == column(packed, "style")
    parts = [f"{'train' if k % 2 else 'test'}/{n.rsplit('_', 1)[0]}/{n}" for k, n in enumerate(WORKS)]
    write(touch(tmp_path / "split", *parts) / "artists.csv", ARTISTS)
    assert Counter(column(read_catalog(tmp_path / "split"), "part")) == {"train": 2, "test": 3}
