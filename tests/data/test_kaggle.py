"""The competition's files: which are fetched, and which of those on the disk are whole. The service: test_download."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.kaggle import TESTED, bytes_begun, damage, files_to_fetch, is_whole

SIZES = {name: k for k, name in enumerate((
    "train_2.zip", "all_data_info.csv", "train_info.csv.zip", "test.zip", "train.zip", "train_1.zip", "readme.txt",
    "replacements_for_corrupted_files.zip", "../evil.csv",
))}  # fmt: skip
TABLES = ["all_data_info.csv", "replacements_for_corrupted_files.zip", "train_info.csv.zip"]


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_tables_first_and_the_training_set_once():
    assert list(files_to_fetch(SIZES, images=False)) == TABLES
    assert list(files_to_fetch(SIZES, images=True)) == [*TABLES, "test.zip", "train_1.zip", "train_2.zip"]
    one_file = {name: size for name, size in SIZES.items() if not name.startswith("train_")}
    assert list(files_to_fetch(one_file, images=True)) == [*TABLES[:2], "test.zip", "train.zip"]
    assert files_to_fetch(SIZES, images=False)["train_info.csv.zip"] == SIZES["train_info.csv.zip"]
    with pytest.raises(UserError, match=r"none of the files .*: readme\.txt"):
        files_to_fetch({"readme.txt": 1}, images=True)


def test_damage(tmp_path):
    sound = packed(tmp_path / "sound.zip", a=b"a" * 100, b=b"b" * 100)
    data = sound.read_bytes()
    assert damage(sound) == ""
    for name, content in {"empty": b"", "cut": data[:-30], "changed": data.replace(b"aaa", b"aca", 1)}.items():
        file = tmp_path / f"{name}.zip"
        file.write_bytes(content)
        assert damage(file) != ""
    table = tmp_path / "table.csv"
    table.write_text("a,b")
    assert damage(table) == ""


def test_a_table_counts_as_listed_packed_or_unpacked(tmp_path):
    (tmp_path / "all_data_info.csv").write_text("12345")
    assert is_whole(tmp_path, "all_data_info.csv", 5) and not is_whole(tmp_path, "train_info.csv", 5)
    assert is_whole(tmp_path, "all_data_info.csv.zip", 999)  # its owner unpacked it
    packed(tmp_path / "train_info.csv.zip", **{"train_info.csv": b"1"})
    assert is_whole(tmp_path, "train_info.csv", 999)  # its owner packed it
    (tmp_path / "submission_info.csv").write_text("123")
    assert not is_whole(tmp_path, "submission_info.csv", 5)


def test_a_file_that_was_tested_is_not_read_again_until_it_changes(tmp_path):
    file = packed(tmp_path / "test.zip", a=b"a" * 100)
    assert is_whole(tmp_path, "test.zip", 1)
    assert set(json.loads((tmp_path / TESTED).read_text())) == {"test.zip"}
    data, status = file.read_bytes(), file.stat()
    file.write_bytes(data.replace(b"aaa", b"aca", 1))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_whole(tmp_path, "test.zip", 1)  # as long, and of the same time: it is not looked at
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert not is_whole(tmp_path, "test.zip", 1)


def test_what_broke_off_counts(tmp_path):
    partial = tmp_path / ".partial" / "competitions" / "painter-by-numbers" / "test.zip"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"x" * 7)
    assert bytes_begun(tmp_path, "test.zip") == 7 and bytes_begun(tmp_path, "train_1.zip") == 0
