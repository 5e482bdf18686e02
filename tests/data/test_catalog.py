"""The catalogue: clean values, unique ids, and notes of what was left out."""

import os
import shutil
from pathlib import Path

import pytest
from folders import column, draw, labelled, write

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import COLUMNS, read_catalog
from painters_mtl.data.settings import CollectionSettings, LabelSettings


def test_values_are_text_and_the_real_tables_quirks_are_put_right(tmp_path):
    catalog = labelled(
        tmp_path,
        "filename,artist,title,style,genre,date\r\n"
        'a.jpg, Claude Monet ,"Red,  ""Yellow"" and\xa0Blue",Analytical\xa0Realism,portrait,1955.0\r\n'
        "b.jpg,claude Monet,NOT DETECTED,Naïve Art (Primitivism),Portrait,c.1902\r\n"
        "c.jpg,Claude Monet,Not detected,nan,portrait,1888\r\n"
        "d.jpg,NA,None,None,NA,spring of 1901\r\n",
        "a.jpg", "b.jpg", "c.jpg", "d.jpg",
        encoding="utf-8-sig",
    )  # fmt: skip
    assert catalog.layout == "labels.csv"
    assert list(catalog.table.columns) == list(COLUMNS) and list(catalog.table.index) == [0, 1, 2, 3]
    assert all(isinstance(value, str) for value in catalog.table.to_numpy().ravel())
    assert column(catalog, "id") == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert column(catalog, "painter") == ["Claude Monet"] * 3 + [""]
    assert column(catalog, "title") == ['Red, "Yellow" and Blue', "", "", "None"]
    assert column(catalog, "style") == ["Analytical Realism", "Naïve Art (Primitivism)", "", ""]
    assert column(catalog, "genre") == ["portrait", "portrait", "portrait", ""]
    assert column(catalog, "date") == ["1955", "c.1902", "1888", "spring of 1901"]
    assert any("cells of painter" in note for note in catalog.notes)


def test_names_that_are_no_text_are_left_out_and_counted(tmp_path):
    draw(*(tmp_path / folder / f"{k}.png" for folder in ("Degas", "Monet") for k in range(3)))
    odd = os.fsdecode(os.fsencode(tmp_path / "Monet") + b"/caf\xe9.png")
    shutil.copy(tmp_path / "Monet" / "1.png", odd)
    catalog = read_catalog(tmp_path)
    assert len(catalog.table) == 6
    assert any("1 image has names that are not UTF-8" in note for note in catalog.notes)


@pytest.mark.real
def test_the_real_gallery(paintings):
    catalog = read_catalog(paintings / "gallery")
    assert catalog.layout == "labels.csv"
    assert {n: int((catalog.table[n] != "").sum()) for n in ("painter", "style", "genre")} == {
        "painter": 1108, "style": 838, "genre": 636}  # fmt: skip
    assert len(catalog.table) == 1309 and catalog.table["id"].str.startswith("images/").all()
    assert not any("have no" in note for note in catalog.notes)


def test_cells_with_several_names_are_no_classes_of_their_own(tmp_path):
    rows = ["Cubism, Dada", "Cubism", "Dada|Rococo", "Dada, Zurich", "['Cubism', 'Dada']"]
    text = "filename,artist,style\n" + "".join(f'{k}.jpg,"Monet, Claude","{style}"\n' for k, style in enumerate(rows))
    catalog = labelled(tmp_path, text, *(f"{k}.jpg" for k in range(5)))
    assert column(catalog, "style") == ["", "Cubism", "", "Dada, Zurich", ""]  # there is no style Zurich
    assert set(column(catalog, "painter")) == {"Monet, Claude"}
    assert "2 cells of style hold several names (Cubism, Dada; Dada|Rococo) and count as no label." in catalog.notes


def test_in_a_task_of_ones_own_a_sign_may_be_all_that_tells_two_classes(tmp_path):
    cells = ["<1800", ">1800", "A", "A-", "a"]
    text = "filename,artist,age\n" + "".join(f"{k}.jpg,Monet,{cell}\n" for k, cell in enumerate(cells))
    draw(*(tmp_path / f"{k}.jpg" for k in range(5)))
    write(tmp_path / "labels.csv", text)
    catalog = read_catalog(tmp_path, LabelSettings(data=tmp_path, tasks=("painter", "age")))
    assert column(catalog, "age") == ["<1800", ">1800", "A", "A-", "A"]


def test_lists_and_records_of_json_are_no_names(tmp_path):
    rows = ["""['Claude Monet']""", """['Monet', 'Manet']""", "{'name': 'Monet'}"]
    text = "filename;artist\n" + "".join(f"{k}.jpg;{artist}\n" for k, artist in enumerate(rows))
    catalog = labelled(tmp_path, text, *(f"{k}.jpg" for k in range(3)))
    assert column(catalog, "painter") == ["Claude Monet", "", ""]
    assert "1 cell of painter holds a record of JSON ({'name': 'Monet'}) and counts as no label." in catalog.notes


def test_the_folder_of_a_task_has_its_column_and_no_table_of_the_others() -> None:
    settings = CollectionSettings(task_data={"style": Path("b")}, columns={"style": "mvt", "genre": "sort"})
    assert settings.for_task("style") == LabelSettings(tasks=("style",), columns={"style": "mvt"})
    assert settings.for_task("painter") == LabelSettings(tasks=("painter",))
    with pytest.raises(UserError, match=r"--table a\.csv is of no use: --task-data names a folder for every task"):
        CollectionSettings(tasks=("style",), task_data={"style": Path("b")}, table=Path("a.csv"))
