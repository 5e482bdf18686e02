"""A table with a row an image, in any format: which image a row means, and what its columns are."""

import unicodedata

import pytest
from folders import column, draw, labelled

from painters_mtl.data.values import clean


def test_rows_and_images_without_a_partner_are_counted(tmp_path):
    text = "path,style\na.jpg,Cubism\na.jpg,Rococo\nimages/a.jpg,Rococo\ngone.jpg,Cubism\n"
    catalog = labelled(tmp_path, text, "images/a.jpg", "images/b.jpg", "c.jpg")
    assert column(catalog, "style") == ["Cubism"]  # the first row counts
    assert "2 rows of labels.csv name an image that an earlier row names; the earlier row counts." in catalog.notes
    assert "1 of the 4 rows of labels.csv have no image here and are left out." in catalog.notes
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
