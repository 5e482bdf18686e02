"""A journal gives back what was appended, up to where a kill or a power cut damaged it, and goes on there."""

import itertools
import random
from pathlib import Path

import pytest
from helpers import python

from painters_mtl.common.journal import Journal, read_records, record_bytes

CONTENTS = [b"one", b"", bytes(60), b"\x00", b'{"a": 1}\n', bytes(range(256))]


def written(file: Path, contents: list[bytes] = CONTENTS) -> Path:
    with Journal(file) as journal:
        journal.append(*contents)
    return file


def contents_of(file: Path) -> list[bytes]:
    return [record.content for record in read_records(file)]


def ends(file: Path) -> list[int]:
    """Where each record ends, in bytes."""
    return [*(record.start for record in read_records(file)), file.stat().st_size][1:]


def test_what_is_appended_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with Journal(file) as journal:
        for content in CONTENTS[:3]:
            journal.append(content)
        assert contents_of(file) == CONTENTS[:3]  # while it is still open
        assert list(journal) == CONTENTS[:3]
        journal.append(*CONTENTS[3:])
    assert contents_of(file) == CONTENTS
    with Journal(file) as journal:  # nobody looks at what is there
        journal.append(b"more")
    with Journal(file) as journal:
        assert list(journal) == [*CONTENTS, b"more"] == list(journal)


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert contents_of(tmp_path / "none") == [] and not list(tmp_path.iterdir())
    with Journal(tmp_path / "new") as journal:
        assert list(journal) == []
    assert (tmp_path / "new").read_bytes() == b""


def test_cut_at_every_byte_it_has_the_whole_records_and_goes_on(tmp_path: Path) -> None:
    file = written(tmp_path / "whole")
    whole, last = file.read_bytes(), ends(file)
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        count = sum(end <= length for end in last)
        assert contents_of(file) == CONTENTS[:count]
        assert file.stat().st_size == length  # reading changes nothing
        with Journal(file) as journal:
            assert list(journal) == CONTENTS[:count]
            journal.append(b"next")
        assert contents_of(file) == [*CONTENTS[:count], b"next"]


def test_a_flipped_bit_ends_it_there(tmp_path: Path) -> None:
    file = written(tmp_path / "whole")
    whole, last = file.read_bytes(), ends(file)
    rng = random.Random(0)
    for at in rng.sample(range(len(whole)), 300):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        count = sum(end <= at for end in last)
        assert contents_of(file) == CONTENTS[:count]


@pytest.mark.parametrize("garbage", [bytes(5000), b"\xff" * 5000, random.Random(1).randbytes(5000)])
def test_garbage_at_the_end_is_no_record(garbage: bytes, tmp_path: Path) -> None:
    """As after a power cut: the file has grown, and what was to be in it is not there."""
    file = written(tmp_path / "a")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes() + garbage)
    with Journal(file) as journal:
        journal.append(b"next")
    assert contents_of(file) == [*CONTENTS, b"next"] and file.stat().st_size == size + 24 + len(b"next")


def test_records_in_another_order(tmp_path: Path) -> None:
    """By their starts, also into a new journal, without all of them in memory."""
    file = written(tmp_path / "a")
    starts = [record.start for record in read_records(file)]
    for order in itertools.islice(itertools.permutations(range(len(CONTENTS))), 0, 720, 97):
        chosen = read_records(file, [starts[k] for k in order])
        (tmp_path / "b").write_bytes(b"".join(record_bytes(record.content for record in chosen)))
        assert contents_of(tmp_path / "b") == [CONTENTS[k] for k in order]
    with pytest.raises(ValueError, match="no record at byte 1"):
        list(read_records(file, [1]))


def test_a_killed_process_loses_nothing_that_it_appended(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from painters_mtl.common.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for k in range(50):\n"
        "    journal.append(str(k).encode() * 100)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert python("-c", code, tmp_path / "a").returncode == -9
    assert contents_of(tmp_path / "a") == [str(k).encode() * 100 for k in range(50)]
