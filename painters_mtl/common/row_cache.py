"""A cache of rows of floats, one for each picture, such as the features that a network makes of it.

Each network, at each size, has a file of its own, `features-KEY.sqlite`; its key is made from all that the rows depend
on but the pictures (`cache_key`). A row is found by a checksum of the picture's content: a picture that was moved or
copied is not computed again, one that has changed is. A file whose path, size and time are unchanged is not read again:
its checksum is kept.

SQLite keeps what was written when a process is killed: the next one goes on where it stood. Several processes may use a
file at once; a damaged one is made again. All files of a cache folder together stay below `LIMIT_GB`: those that were
used least recently are removed, and that is said.
"""

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock
from painters_mtl.common.iteration import in_batches
from painters_mtl.common.messages import say

LIMIT_GB = 10.0  # of all files of a cache folder; 10 kB a picture come to a million pictures
FILES = "features-*.sqlite"
ARRAYS = "directions-*.npy"  # what is made of rows, see `inference.nearest`; it counts for the limit, too
OLD_FILES = ("vectors-*.sqlite", "store-*/features-*.npy", "store-*/features-*.part")  # of version 0.4, read no more
CHUNK = 500  # pictures in a question to SQLite
CONTENT = 16  # bytes of a checksum of a picture's content
FLOATS = np.dtype("<f4")
TABLES = (
    "CREATE TABLE IF NOT EXISTS rows (content TEXT PRIMARY KEY, crc INTEGER, floats BLOB)",
    "CREATE TABLE IF NOT EXISTS places (place BLOB PRIMARY KEY, stamp TEXT, content TEXT)",
)


def cache_key(*parts: str | bytes) -> str:
    """16 hexadecimal digits that tell apart whatever differs in any part: layers, weights, sizes, versions."""
    digest = hashlib.blake2b(digest_size=8)
    for key_part in parts:
        content = key_part.encode("utf-8", "surrogateescape") if isinstance(key_part, str) else key_part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def content_checksum(data: bytes) -> str:
    """32 hexadecimal digits of a picture's bytes, as they are in its file or in memory."""
    return hashlib.blake2b(data, digest_size=CONTENT).hexdigest()


class RowCache:
    """The rows of one network: {checksum of a picture's content: float32 (width,)}, in one SQLite file."""

    def __init__(self, folder: Path, key: str) -> None:
        """Args:
        folder: the cache folder; made when something is written.
        key: from `cache_key`; the width of the rows follows from what it stands for.
        """
        self.key, self.file = key, Path(folder) / FILES.replace("*", key)

    def missing(self, contents: Iterable[str]) -> list[str]:
        """Those of the contents that have no sound row yet, each once, in order."""
        asked = list(dict.fromkeys(contents))
        if not self.file.exists():
            return asked
        there: set[str] = set()
        with self._damage_removed(), closing(self._open()) as database:
            there |= {content for content, _ in self._sound(database, asked)}
        return [content for content in asked if content not in there]

    def read(self, contents: Sequence[str]) -> np.ndarray:
        """The rows of these contents, in this order: float32 (n, width).

        Raises `UserError` where one is missing: another process has removed it meanwhile.
        """
        with suppress(OSError):
            os.utime(self.file)  # used now, for `trim`
        try:
            with closing(self._open()) as database:
                rows = dict(self._sound(database, list(dict.fromkeys(contents))))
            return _stacked([rows[content] for content in contents])
        except (sqlite3.Error, KeyError, ValueError) as error:
            raise UserError(f"{self.file} was changed by others while it was read: run this again") from error

    def write(self, rows: Mapping[str, np.ndarray], places: Iterable[tuple[bytes, str, str]] = ()) -> None:
        """Keep rows, all or none of them. The file is locked no longer than this takes.

        Args:
            places: where pictures lie, as (place, stamp, content); see `contents_of`.
        """
        values = {content: np.ascontiguousarray(row, FLOATS).tobytes() for content, row in rows.items()}
        lines, places = [(content, zlib.crc32(floats), floats) for content, floats in values.items()], list(places)
        for last_try in (False, True):
            try:
                with closing(self._open()) as database, database:
                    database.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", lines)
                    database.executemany("INSERT OR REPLACE INTO places VALUES (?, ?, ?)", places)
                return
            except sqlite3.Error as error:  # a full disk, most likely
                if last_try or isinstance(error, sqlite3.OperationalError):
                    reason = f"{self.file} cannot be written ({error})"
                    raise UserError(f"{reason}: make room, or name another --cache") from error
                _unlink(self.file)  # damaged in a page that nobody has read yet

    def contents_of(self, stamps: Mapping[bytes, str]) -> dict[bytes, str]:
        """The contents of pictures by {place: stamp}, of those that lay there with this very stamp when last read.

        Args:
            stamps: what tells cheaply that a file is as it was, such as its size and time.
        """
        if not self.file.exists():
            return {}
        columns = "place, stamp, content"
        with self._damage_removed(), closing(self._open()) as database:
            lines = list(self._select(database, columns, "places", list(stamps)))
            return {place: content for place, stamp, content in lines if stamps[place] == stamp}
        return {}

    def lock(self, purpose: str) -> AbstractContextManager[None]:
        """Be the one process that computes what is missing; another one waits, and then finds it here."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return file_lock(self.file.with_suffix(".lock"), purpose, wait=True)

    def trim(self, limit_gb: float = LIMIT_GB) -> None:
        """Remove the least recently used files of the cache folder, but not this one, until it is below the limit."""
        folder = self.file.parent
        sizes = {}
        for file in (file for pattern in (FILES, ARRAYS, *OLD_FILES) for file in folder.glob(pattern)):
            with suppress(FileNotFoundError):  # another process removes it
                status = file.stat()
                sizes[file] = (status.st_mtime, status.st_size)
        total, removed = sum(size for _, size in sizes.values()), 0
        for file, (_, size) in sorted(sizes.items(), key=lambda item: item[1]):
            if total <= limit_gb * 1e9:
                break
            if file != self.file:
                _unlink(file)
                total, removed = total - size, removed + (not file.match(ARRAYS))
        if removed:
            say(
                f"note: removed the features of {removed} networks that were used least recently from {folder}, "
                f"to keep it below {limit_gb:g} GB"
            )

    @contextmanager
    def _damage_removed(self) -> Iterator[None]:
        """Remove the file where the block cannot read it: it was cut, overwritten, or is no database at all."""
        try:
            yield
        except sqlite3.OperationalError as error:  # in use by another process for a whole minute
            raise UserError(f"{self.file} cannot be read ({error}): try again, or name another --cache") from error
        except sqlite3.DatabaseError:
            _unlink(self.file)

    def _open(self) -> sqlite3.Connection:
        """The database, with its tables; raises `UserError` where there can be none, `DatabaseError` if damaged."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.file, timeout=60)
            for table in TABLES:
                database.execute(table)
            return database
        except (OSError, sqlite3.OperationalError) as error:
            folder = self.file.parent
            raise UserError(f"--cache {folder} cannot be used ({error}): name a folder to write to") from error

    def _sound(self, database: sqlite3.Connection, contents: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The rows that are there and have their checksum, in the order they have in the file."""
        # Their numbers come from SQLite's index alone. By content it would jump to and fro in a file of gigabytes.
        numbers = sorted(number for _, number in self._select(database, "content, rowid", "rows", contents))
        for _, content, crc, floats in self._select(database, "rowid, content, crc, floats", "rows", numbers):
            if isinstance(floats, bytes) and zlib.crc32(floats) == crc:
                yield content, floats

    @staticmethod
    def _select(
        database: sqlite3.Connection, columns: str, table: str, keys: Sequence[str] | Sequence[bytes] | Sequence[int]
    ) -> Iterator[tuple]:
        """The lines of a table whose first column is one of the keys."""
        for chunk in in_batches(len(keys), CHUNK):
            asked = keys[chunk]
            marks = ", ".join("?" * len(asked))
            yield from database.execute(
                f"SELECT {columns} FROM {table} WHERE {columns.split(',')[0]} IN ({marks})", asked
            )


def _stacked(rows: Sequence[bytes]) -> np.ndarray:
    """Float32 (n, width), copied once. Raises `ValueError` where there is none, or one has another width."""
    if len({len(row) for row in rows}) != 1:
        raise ValueError("there are no rows, or not all have one width")
    return np.frombuffer(bytearray().join(rows), FLOATS).reshape(len(rows), -1)


def _unlink(file: Path) -> None:
    """Remove a file of the cache, with what SQLite may have left beside it."""
    for one in (file, file.with_name(f"{file.name}-journal")):
        one.unlink(missing_ok=True)
