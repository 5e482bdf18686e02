"""Tables as text: dialects, encodings, and the line of whatever is wrong."""

import csv
import gzip
import tracemalloc
import zipfile

import pytest
from folders import labelled, write, zipped

from painters_mtl.common.errors import UserError
from painters_mtl.data.csv_table import TableFile, csv_header, read_csv


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
        ('filename;artist;"style, or movement, or school"\na.jpg;Édouard Manet;x\n', "utf-8", 0),
        (f"filename,artist,embedding\na.jpg,Édouard Manet,{'0' * 200_000}\n", "utf-8", 0),
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


HEADER = "filename,artist,title\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a.jpg,M,"x\nb.jpg,D,y\nc.jpg,E,z\n', 2),  # to the end of the file
        ('a.jpg,M,x\nb.jpg,D,"y\nc.jpg,E,"z"\n', 3),  # closed by the quote that opens another cell
        ('a.jpg,M,x\nb.jpg,D,"y\nc.jpg,E,z"\n', 3),  # closed by a stray quote at the end of a later row
        ('a.jpg,M,x\nb.jpg,"D,y\nc.jpg,E,""\nd.jpg,F,z\n', 3),  # what looks like an empty cell is a quote in a cell
        ('a.jpg,M,x\nb.jpg,D,"y', 3),  # on the last line
        ('"a.jpg,M,x\nb.jpg,D,y\n', 2),  # in the first cell
        ('\na.jpg,M,"two\nlines"\n\nb.jpg,"D,y\nc.jpg,E,z\n', 6),  # lines that are empty or belong to a cell count too
    ],
)
def test_the_line_of_an_open_quote_is_named(tmp_path, text, line):
    for delimiter in ",;\t":
        with pytest.raises(UserError, match=rf"t\.csv: the quote that line {line} opens is not closed"):
            read_csv(write(tmp_path / "t.csv", (HEADER + text).replace(",", delimiter)), [])


def test_the_case_of_an_open_quote(cases):
    with pytest.raises(UserError, match=r"labels\.csv: the quote that line 19 opens"):
        read_csv(cases / "open_quote" / "labels.csv", [])


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('"two\nlines"', "two\nlines"),
        ('"Oil, on canvas\nsigned, dated, framed\n1889"', "Oil, on canvas\nsigned, dated, framed\n1889"),
        ('"a ""quoted"" word"', 'a "quoted" word'),
        ('5" x 7"', '5" x 7"'),
        ('"Red" and blue', "Red and blue"),  # as Python's csv reads it
    ],
)
def test_quotes_that_are_in_order(tmp_path, cell, value):
    text = f"{HEADER}a.jpg,M,{cell}\nb.jpg,D,y\n"
    assert read_csv(write(tmp_path / "t.csv", text), [])["title"].tolist() == [value, "y"]


def test_an_open_quote_is_found_where_ids_have_no_ending(tmp_path):
    text = 'id,title,painter\n1,"Big blue,Ada\n2,Sun,Bea\n3,Moon,Cid\n4,Picture 12",Dora\n5,X,Eve\n'
    with pytest.raises(UserError, match="the quote that line 2 opens is not closed there"):
        read_csv(write(tmp_path / "t.csv", text), [])


@pytest.mark.parametrize("cell", ["A picture of\nhorses, dogs, and, men\nin grey", "signed\n1907, oil, canvas, framed"])
def test_lines_of_a_cell_that_look_like_rows_but_name_no_file(tmp_path, cell):
    for first in ("Guernica", "1937"):
        rows = [
            ["title", "description", "filename", "painter"],
            [first, cell, "a.jpg", "Picasso"],
            ["x", "y", "b", "z"],
        ]
        file = tmp_path / "t.csv"
        with file.open("w", newline="", encoding="utf-8") as written:
            csv.writer(written).writerows(rows)
        assert read_csv(file, []).to_numpy().tolist() == rows[1:]


def test_what_is_no_text_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "book.csv", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "x")
    (tmp_path / "parquet.csv").write_bytes(b"PAR1" + bytes(99))
    write(tmp_path / "utf16.csv", "filename,painter\na.jpg,Manet\n", "utf-16-le")
    for name, kind in (("book", "an Excel workbook"), ("parquet", "Parquet"), ("utf16", "UTF-16 without")):
        with pytest.raises(UserError, match=rf"{name}\.csv is no text but {kind}"):
            read_csv(tmp_path / f"{name}.csv", [])


def test_the_table_in_a_zip_may_have_another_name(tmp_path):
    write(tmp_path / "mine.csv", "filename,painter\na.jpg,Manet\n")
    zipped(tmp_path / "labels.csv.zip", tmp_path, "mine.csv")
    assert read_csv(tmp_path / "labels.csv.zip", []).to_numpy().tolist() == [["a.jpg", "Manet"]]
    for beside in ("__MACOSX/._mine.csv", "old/labels.csv"):  # what a system adds; the name it should have goes first
        write(tmp_path / beside, "x\n")
    zipped(tmp_path / "labels.csv.zip", tmp_path, "mine.csv", "__MACOSX/._mine.csv")
    assert read_csv(tmp_path / "labels.csv.zip", []).to_numpy().tolist() == [["a.jpg", "Manet"]]
    write(tmp_path / "labels.csv", "filename,painter\nb.jpg,Degas\n")
    zipped(tmp_path / "labels.csv.zip", tmp_path, "old/labels.csv", "labels.csv", "mine.csv")
    assert read_csv(tmp_path / "labels.csv.zip", []).to_numpy().tolist() == [["b.jpg", "Degas"]]
    write(tmp_path / "more.csv", "x\n")
    zipped(tmp_path / "labels.csv.zip", tmp_path, "mine.csv", "more.csv")
    with pytest.raises(UserError, match=r"labels\.csv\.zip must hold one table, labels\.csv; it holds mine.*more"):
        read_csv(tmp_path / "labels.csv.zip", [])


def test_of_two_columns_of_one_name_the_first_counts_and_it_is_said(tmp_path):
    notes = []
    table = read_csv(write(tmp_path / "t.csv", "style,Style,x,x\nCubism,Dada,1,2\n"), notes, {"style"})
    assert table["style"].tolist() == ["Cubism"]
    assert notes == ["t.csv has several columns called style: the first counts."]


def test_only_the_columns_of_use_are_kept(tmp_path):
    file = write(tmp_path / "t.csv", "a,b,c,b\n1,2,3,4\n5,6\n")
    table = read_csv(file, [], columns={"c", "b", "z"})
    assert list(table.columns) == ["b", "c"] and table.to_numpy().tolist() == [["2", "3"], ["6", ""]]
    assert csv_header(TableFile(file)) == ["a", "b", "c", "b"]


def test_a_table_without_a_header(tmp_path):
    table = read_csv(write(tmp_path / "t.csv", "Cubism/x.jpg,7\nCubism/y.jpg,8\n"), [], header=("filename", "number"))
    assert table["number"].tolist() == ["7", "8"] and table.index.tolist() == [1, 2]


def test_what_excel_writes_first_is_no_row(tmp_path):
    table = read_csv(write(tmp_path / "t.csv", "sep=;\nfilename;artist\na.jpg;Manet, Edouard\n"), [])
    assert table.to_numpy().tolist() == [["a.jpg", "Manet, Edouard"]] and table.index.tolist() == [3]


def test_packed_tables(tmp_path):
    text = "filename,artist\na.jpg,Édouard\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", text)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("deep/a.csv", text)
        archive.writestr("deep/a.csv.gz", gzip.compress(text.encode()))
    tables = [TableFile(tmp_path / "a.csv.gz"), TableFile(tmp_path / "a.csv.zip")]
    tables += [TableFile(tmp_path / "all.zip", member) for member in ("deep/a.csv", "deep/a.csv.gz")]
    for table in tables:
        assert (table.stem, table.ending) == ("a", "csv")
        assert read_csv(table, []).to_numpy().tolist() == [["a.jpg", "Édouard"]]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zip"])
def test_a_packed_table_that_is_cut_off_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"filename,artist\n" + b"a.jpg,Monet\n" * 9999)[:60])
    with pytest.raises(UserError, match=rf"{name} cannot be read"):
        read_csv(tmp_path / name, [])


def test_memory_does_not_grow_with_columns_of_no_use(tmp_path):
    peaks = []
    for extra in (1, 60):
        header = "filename,artist," + ",".join(f"c{k}" for k in range(extra))
        rows = "".join(f"{i}.jpg,Monet,{'words of no use,' * extra}\n" for i in range(20_000))
        file = write(tmp_path / f"{extra}.csv", f"{header}\n{rows}")
        tracemalloc.start()
        read_csv(file, [], columns={"filename", "artist"})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] + 100_000


def test_a_table_whose_rows_are_all_too_long_is_refused_with_the_likely_causes(tmp_path):
    """Quotes as MySQL and Spark write them: each row falls into more cells than there are columns."""
    (tmp_path / "labels.csv").write_text('filename,title,artist\n"1.jpg","The \\"big, blue\\" one","Monet"\n')
    with pytest.raises(
        UserError, match=r"labels\.csv: every row has more cells than the 3 .*line 2.*a quote within quotes"
    ):
        read_csv(tmp_path / "labels.csv", [])
