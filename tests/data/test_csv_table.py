"""Tables as text: dialects, encodings, and the line of whatever is wrong."""

import pytest
from folders import labelled, write

from painters_mtl.common.errors import UserError
from painters_mtl.data.csv_table import read_csv


@pytest.mark.parametrize(
    ("text", "encoding", "noted"),
    [
        ("filename,artist\na.jpg,Édouard Manet\n", "utf-8", 0),
        ("filename,artist\r\na.jpg,Édouard Manet\r\n", "utf-8-sig", 0),
        ("\n\nFilename;Artist\na.jpg;Édouard Manet", "utf-8", 0),
        ("filename\tartist\na.jpg\tÉdouard Manet\n", "utf-16", 0),
        ("filename,artist\na.jpg,Édouard Manet\n", "latin-1", 1),
        ("filename,artist\na.jpg,Édouard Manet,\nb.jpg,Manet, Édouard\n", "utf-8", 1),
        (",filename,artist,date\n0,a.jpg,Édouard Manet\n", "utf-8", 0),
    ],
)
def test_csv_dialects(tmp_path, text, encoding, noted):
    notes: list[str] = []
    table = read_csv(write(tmp_path / "t.csv", text, encoding), notes)
    assert table[["filename", "artist"]].to_numpy().tolist() == [["a.jpg", "Édouard Manet"]]
    assert len(notes) == noted
    assert table.index.tolist() == [4 if text.startswith("\n") else 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["labels.csv", "empty"]),
        ("filename,artist\n", ["labels.csv", "no rows"]),
        ("file_id,maker\n1,2\n", ["labels.csv", "filename", "painter", "file_id, maker"]),
        ("filename,title\na.jpg,Olympia\n", ["painter or style or genre", "filename, title"]),
        ("filename,artist\nz.jpg,Manet\n", ["1 rows", "'z.jpg'", "1 images", "'a.jpg'"]),
        ('filename,artist\na.jpg,"' + "x" * 140_000, ["labels.csv", "line", "quote"]),
    ],
)
def test_bad_tables_are_named(tmp_path, text, words):
    with pytest.raises(UserError) as error:
        labelled(tmp_path, text, "a.jpg")
    assert all(word in str(error.value) for word in words), str(error.value)
