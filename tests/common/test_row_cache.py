"""The cache of rows: what was written comes back, whatever was damaged or cut off is missing, the oldest files go."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers import largest_file

from painters_mtl.common import row_cache
from painters_mtl.common.errors import UserError
from painters_mtl.common.row_cache import RowCache, cache_key, content_checksum

ROWS = {f"picture {i}": np.random.default_rng(i).normal(size=7).astype(np.float32) for i in range(2000)}


@pytest.fixture
def cache(tmp_path: Path) -> RowCache:
    """A cache with all of `ROWS`; more than one question to SQLite can name."""
    filled = RowCache(tmp_path / "cache", "a1")
    filled.write(ROWS)
    return filled


def test_rows_come_back_in_the_order_asked_for(cache: RowCache) -> None:
    asked = [f"picture {i}" for i in (1999, 3, 3, 700, 0)]
    np.testing.assert_array_equal(cache.read(asked), np.stack([ROWS[name] for name in asked]))
    assert cache.missing(["new", *ROWS, "other", "new"]) == ["new", "other"]
    assert RowCache(cache.file.parent, "b2").missing(asked) == asked[:2] + asked[3:]  # another network's file


def test_keys_differ_with_each_part_and_with_where_it_ends() -> None:
    keys = [cache_key(*parts) for parts in (("ab", "c"), ("a", "bc"), ("ab", "c", ""), ("ab", b"d"), ("c", "ab"))]
    assert len(set(keys)) == 5 and {len(key) for key in keys} == {16}
    assert cache_key("ab", "c") == keys[0] == cache_key(b"ab", "c")
    assert content_checksum(b"x") != content_checksum(b"y") and len(content_checksum(b"")) == 32


def test_places_tell_the_content_while_the_stamp_is_the_same(cache: RowCache) -> None:
    cache.write({}, [(b"folder/a.jpg", "10-1", "picture 1"), (b"folder/\xff.jpg", "20-2", "picture 2")])
    asked = {b"folder/a.jpg": "10-1", b"folder/\xff.jpg": "20-3", b"folder/b.jpg": "10-1"}
    assert cache.contents_of(asked) == {b"folder/a.jpg": "picture 1"}


@pytest.mark.parametrize("kept", [0, 100, 5000])
def test_a_cut_file_is_made_again(cache: RowCache, kept: int) -> None:
    cache.file.write_bytes(cache.file.read_bytes()[:kept])
    assert cache.missing(ROWS) == list(ROWS)
    cache.write({"picture 5": ROWS["picture 5"]})
    np.testing.assert_array_equal(cache.read(["picture 5"])[0], ROWS["picture 5"])


def test_a_row_with_a_flipped_bit_is_missing(cache: RowCache) -> None:
    with closing(sqlite3.connect(cache.file)) as database, database:
        ((floats,),) = database.execute("SELECT floats FROM rows WHERE content = 'picture 9'")
        changed = bytes([floats[0] ^ 1]) + floats[1:]
        database.execute("UPDATE rows SET floats = ? WHERE content = 'picture 9'", (changed,))
    assert cache.missing(ROWS) == ["picture 9"]
    with pytest.raises(UserError, match="changed by others"):
        cache.read(["picture 9"])


def test_a_full_disk_keeps_what_was_written_before(cache: RowCache) -> None:
    more = {f"more {i}": np.ones(1000, np.float32) for i in range(100)}
    with largest_file(cache.file.stat().st_size + 20_000), pytest.raises(UserError, match="make room"):
        cache.write(more)
    assert cache.missing([*ROWS, *more]) == list(more)
    cache.write(more)
    assert cache.missing([*ROWS, *more]) == []


def test_the_least_recently_used_files_go_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four networks of 1 MB each and two files of version 0.4; one of them was used again."""
    rows = {str(i): np.zeros(1000, np.float32) for i in range(250)}
    caches = [RowCache(tmp_path, key) for key in ("one", "two", "three", "four")]
    for age, cache in enumerate(reversed(caches)):
        cache.write(rows)
        os.utime(cache.file, (0, 1_000_000 - age))
    (tmp_path / "store-40-ab").mkdir()
    for old in (tmp_path / "vectors-ab.sqlite", tmp_path / "store-40-ab" / "features-ab.npy"):
        old.write_bytes(b"x" * 500_000)
        os.utime(old, (0, 10))
    caches[0].read(["7"])
    caches[3].trim(limit_gb=10)
    assert len(list(tmp_path.rglob("*-*.*"))) == 6 and capsys.readouterr().out == ""
    size = caches[0].file.stat().st_size
    caches[3].trim(limit_gb=3.5 * size / 1e9)  # room for three, after the old ones
    assert {file.name for file in tmp_path.rglob("*-*.*")} == {
        f"features-{c.key}.sqlite" for c in caches if c.key != "two"
    }
    assert "removed the features of 3 networks that were used least recently" in capsys.readouterr().out
    caches[1].write(rows)
    caches[1].trim(limit_gb=0)  # the one in use stays, however large
    assert [file.name for file in tmp_path.rglob("*-*.*")] == ["features-two.sqlite"]
    assert row_cache.LIMIT_GB == 10


def test_arrays_made_of_rows_count_for_the_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = RowCache(tmp_path, "one")
    cache.write({"a": np.zeros(7, np.float32)})
    for age in range(3):
        (array := tmp_path / f"directions-{age}.npy").write_bytes(b"x" * 100_000)
        os.utime(array, (0, 1_000_000 - age))
    cache.trim(limit_gb=(cache.file.stat().st_size + 100_000) / 1e9)
    assert {file.name for file in tmp_path.iterdir()} == {cache.file.name, "directions-0.npy"}
    assert capsys.readouterr().out == ""  # no network's features went


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--cache .* cannot be used"):
        RowCache(tmp_path / "file" / "cache", "a").write(ROWS)
