"""Tables as records: JSON lines and Parquet give what a CSV of the same values gives."""

import builtins
import gzip
import json
import time
import tracemalloc

import pandas as pd
import pytest
from folders import write

from painters_mtl.common.errors import UserError
from painters_mtl.data.csv_table import TableFile, read_csv
from painters_mtl.data.record_tables import as_text, json_lines_columns, parquet_columns, read_json_lines, read_parquet

ROWS = [
    {"file_name": "a.jpg", "Artist": "Claude Monet", "year": 1889, "genre": ["portrait"], "no": "x"},
    {"file_name": "b.jpg", "Artist": None, "year": None, "genre": None, "no": "x"},
    {"file_name": "c.jpg", "Artist": "Édouard Manet", "year": 1901, "genre": ["nude", "interior"], "no": "x"},
]
VALUES = [["a.jpg", "Claude Monet", "1889", "['portrait']"], ["b.jpg", "", "", ""],
          ["c.jpg", "Édouard Manet", "1901", "['nude', 'interior']"]]  # fmt: skip
WANTED = {"file_name", "artist", "year", "genre", "absent"}


def test_json_lines(tmp_path):
    text = "\n".join(json.dumps(row) for row in ROWS)
    for file in (write(tmp_path / "t.jsonl", text), write(tmp_path / "t.ndjson", f"\ufeff{text}\n\n")):
        table = read_json_lines(TableFile(file), WANTED, [])
        assert table.to_numpy().tolist() == VALUES and list(table.columns) == ["file_name", "artist", "year", "genre"]
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert read_json_lines(TableFile(tmp_path / "t.jsonl.gz"), WANTED, []).to_numpy().tolist() == VALUES
    assert json_lines_columns(TableFile(file)) == ["file_name", "artist", "year", "genre", "no"]


def test_records_may_lack_a_value_or_have_more(tmp_path):
    file = write(
        tmp_path / "t.jsonl", '{"file_name": "a"}\n\n{"file_name": "b", "style": "Dada"}\n{"file_name": "c"}\n'
    )
    table = read_json_lines(TableFile(file), {"file_name", "style"}, [])
    assert table["style"].tolist() == ["", "Dada", ""] and table.index.tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty"), ('{"a": 1}\n{"a": 2', "line 2 is no JSON"), ('[{"a": 1}]', "line 1 is no record")],
)
def test_bad_json_lines_are_named(tmp_path, text, sentence):
    with pytest.raises(UserError, match=rf"t\.jsonl.*{sentence}|t\.jsonl: {sentence}"):
        read_json_lines(TableFile(write(tmp_path / "t.jsonl", text)), {"a"}, [])


def test_what_only_late_lines_have_is_a_column_too(tmp_path):
    """Records often leave out what has no value."""
    records = [{"file_name": f"{k}.jpg"} | ({"Style": "Dada"} if k >= 120 else {}) for k in range(140)]
    file = TableFile(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, records))))
    assert json_lines_columns(file) == ["file_name", "style"]
    assert read_json_lines(file, {"file_name", "style"}, [])["style"].tolist() == [""] * 120 + ["Dada"] * 20


def test_a_bad_line_far_down_does_not_hide_the_columns(tmp_path):
    """Else the table would be passed over, and the folders read as classes."""
    good = [json.dumps({"file_name": f"{k}.jpg", "artist": "Ada"}) for k in range(150)]
    file = TableFile(write(tmp_path / "metadata.jsonl", "\n".join([*good, '{"file_name": '])))
    assert json_lines_columns(file) == ["file_name", "artist"]
    with pytest.raises(UserError, match="line 151 is no JSON"):
        read_json_lines(file, {"file_name"}, [])


def test_json_lines_may_be_utf_16(tmp_path):
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    file = TableFile(write(tmp_path / "t.jsonl", text, "utf-16"))
    assert read_json_lines(file, WANTED, []).to_numpy().tolist() == VALUES


def test_a_parquet_file_whose_data_are_damaged_is_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    file = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"filename": [f"{k}.jpg" for k in range(200)]}), file)
    content = bytearray(file.read_bytes())
    content[4:40] = bytes(36)  # behind the mark at the start; what the columns are stands at the end
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"t\.parquet cannot be read .*get a fresh copy"):
        read_parquet(TableFile(file), {"filename"})


def test_the_time_grows_with_the_lines_and_not_with_their_square(tmp_path):
    lines = [json.dumps({"file_name": f"{k}.jpg", "artist": "Ada", "genre": "portrait"}) for k in range(40_000)]
    table = TableFile(write(tmp_path / "t.jsonl", "\n".join(lines)))
    start = time.process_time()
    assert len(read_json_lines(table, {"file_name", "artist", "genre"}, [])) == 40_000
    assert time.process_time() - start < 4  # it takes a quarter of a second


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame(ROWS).to_parquet(tmp_path / "t.parquet")
    table = TableFile(tmp_path / "t.parquet")
    assert read_parquet(table, WANTED).to_numpy().tolist() == VALUES  # years with a gap are floats in there
    assert parquet_columns(table) == ["file_name", "artist", "year", "genre", "no"]
    write(tmp_path / "bad.parquet", "no parquet")
    with pytest.raises(UserError, match=r"bad\.parquet cannot be read"):
        read_parquet(TableFile(tmp_path / "bad.parquet"), WANTED)


def test_numbers_of_classes_become_the_names_that_hugging_face_writes_into_the_file(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    features = {"style": {"names": ["Cubism", "Dada"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pictures = [{"bytes": b"x" * 100_000, "path": f"{k}.jpg"} for k in range(3)]
    table = pyarrow.table({"style": [1, 0, -1], "image": pictures}).replace_schema_metadata(metadata)
    parquet.write_table(table, tmp_path / "t.parquet")
    read = read_parquet(TableFile(tmp_path / "t.parquet"), {"style", "image"})
    assert read["style"].tolist() == ["Dada", "Cubism", ""]
    assert read["image"].tolist() == ["0.jpg", "1.jpg", "2.jpg"]


def test_without_pyarrow_one_sentence_says_so(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *others, **more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install .*\[parquet\]"):
        read_parquet(TableFile(write(tmp_path / "t.parquet", "x")), WANTED)


def test_memory_does_not_grow_with_columns_of_no_use(tmp_path):
    peaks = []
    for extra in (0, 60):
        more = {f"c{k}": "words of no use" for k in range(extra)}
        rows = (json.dumps({"file_name": f"{i}.jpg", "artist": "Monet", **more}) for i in range(10_000))
        file = write(tmp_path / f"{extra}.jsonl", "\n".join(rows))
        tracemalloc.start()
        read_json_lines(TableFile(file), {"file_name", "artist"}, [])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] + 100_000


def test_a_csv_of_the_same_values_is_read_alike(tmp_path):
    frame = pd.DataFrame([{**row, "genre": row["genre"] or ""} for row in ROWS])
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = read_csv(tmp_path / "t.csv", [], WANTED)
    assert table.drop(columns="year").to_numpy().tolist() == [[a, b, d] for a, b, _, d in VALUES]


def test_a_record_with_a_name_twice_in_other_cases(tmp_path):
    text = '{"file_name": "a.jpg", "Artist": "A", "artist": "B"}\n{"file_name": "b.jpg", "artist": "C"}\n'
    table = read_json_lines(TableFile(write(tmp_path / "t.jsonl", text)), {"file_name", "artist"}, [])
    assert table.to_numpy().tolist() == [["a.jpg", "A"], ["b.jpg", "C"]]


def test_json_lines_in_windows_1252_keep_their_accents_and_it_is_said(tmp_path):
    text = '{"file_name": "a.jpg"}\r{"file_name": "é.jpg"}\r\n'
    for encoding, noted in (("utf-8", 0), ("utf-16", 0), ("cp1252", 1)):
        notes = []
        table = read_json_lines(TableFile(write(tmp_path / "t.jsonl", text, encoding)), {"file_name"}, notes)
        assert table["file_name"].tolist() == ["a.jpg", "é.jpg"]
        assert len(notes) == noted and all("t.jsonl is not UTF-8 (first in line 2)" in note for note in notes)


def test_text_that_is_held_as_bytes_is_text() -> None:
    assert as_text("Théo van Rysselberghe".encode()) == "Théo van Rysselberghe" and as_text(b"\xff") == "\ufffd"
