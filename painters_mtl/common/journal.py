"""Records that come to disk one after the other, and survive a kill: the second of two ways that files are written.

What is small or only of use as a whole is written whole (`files.atomic_write`). What takes hours is a journal: an
append-only file in which each record stands behind its length and a checksum. A process that is killed can tear the
last record only; a power cut or a full disk can leave garbage. Reading ends before the first record that is not sound,
and writing goes on there.

    with Journal(Path("rows.journal")) as journal:      # at most one process: see files.file_lock
        done = list(journal)                            # the records of an earlier run, as bytes
        journal.append(b"one more")
    for record in read_records(Path("rows.journal")):   # any number of processes, also while it is written
        record.content
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

CHECKSUM = 16  # bytes
LENGTH = 8  # bytes, the lowest first
HEAD = LENGTH + CHECKSUM


class Record(NamedTuple):
    """What was appended, and where its record starts in the file, in bytes."""

    start: int
    content: bytes


class Journal:
    """A journal that one process writes; `read_records` is for those that only read.

    Iterating gives the contents, bytes, of the records that are there. Both a new and a torn file can be opened.
    """

    def __init__(self, file: Path) -> None:
        """Open `file` for appending, or make it. Raises `OSError`."""
        self.file = Path(file)
        self._stream = self.file.open("a+b")
        self._stream.seek(0)
        self._end: int | None = None  # of the last sound record, once all are read

    def __iter__(self) -> Iterator[bytes]:
        """The contents of the records that are there, from the first to the last sound one; what is torn is cut off."""
        self._stream.seek(0)
        end = 0
        while (content := _read(self._stream)) is not None:
            end = self._stream.tell()
            yield content
        if os.fstat(self._stream.fileno()).st_size > end:
            self._stream.truncate(end)
        self._end = end

    def append(self, *contents: bytes) -> None:
        """Add records; when this returns, a kill of this process cannot lose them.

        Args:
            contents: one record each.
        """
        if self._end is None:  # go behind the last sound record, and cut off what is torn
            for _ in self:
                pass
        self._stream.write(b"".join(piece for content in contents for piece in (_head(content), content)))
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_records(file: Path, starts: Iterable[int] | None = None) -> Iterator[Record]:
    """The sound records of a journal, up to the first that is torn; none where there is no such file.

    Args:
        file: is not changed, and need not be writable.
        starts: give only the records that start there, in this order (as `Record.start` was).
    """
    if not Path(file).exists():
        return
    with Path(file).open("rb") as stream:
        if starts is not None:
            for start in starts:
                stream.seek(start)
                if (content := _read(stream)) is None:
                    raise ValueError(f"{file} has no record at byte {start}")
                yield Record(start, content)
            return
        start = 0
        while (content := _read(stream)) is not None:
            yield Record(start, content)
            start += HEAD + len(content)


def record_bytes(contents: Iterable[bytes]) -> Iterator[bytes]:
    """What the file of a journal with these records holds, piece by piece: to write one whole, in another order."""
    for content in contents:
        yield _head(content) + content


def _head(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH, "little") + _checksum(content)


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM).digest()


def _read(stream: BinaryIO) -> bytes | None:
    """The content of the record at the stream's position; None where there is none, or it is torn or damaged."""
    head = stream.read(HEAD)
    length, checksum = int.from_bytes(head[:LENGTH], "little"), head[LENGTH:]
    left = os.fstat(stream.fileno()).st_size - stream.tell()
    if len(head) < HEAD or length > left:  # of garbage that stands for a length, no memory is asked for
        return None
    content = stream.read(length)
    return content if len(content) == length and _checksum(content) == checksum else None
