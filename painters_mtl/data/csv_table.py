"""Tables as text: CSV and its like, in any delimiter and encoding, packed or not; every value is a str.

    table = read_csv(Path("labels.csv"), notes, columns={"filename", "painter"})

Lines are read one by one and only the columns that are asked for are kept: memory does not grow with the others.
"""

import csv
import gzip
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pandas as pd

from painters_mtl.common.errors import Unreadable, UserError, display_path
from painters_mtl.data.values import clean
from painters_mtl.images.names import is_passed_over
from painters_mtl.images.zips import find_member, is_zip, member_names

_SUFFIX = re.compile(r"\.(csv|tsv|txt|jsonl|ndjson|parquet)(\.gz|\.zip)?$", re.IGNORECASE)
_LAST = ("csv", "tsv", "txt", "jsonl", "ndjson", "parquet", "gz", "zip")
_NAME_OF_FILE = re.compile(r"\w\.[a-z]{2,4}\d?\s*$", re.IGNORECASE)
csv.field_size_limit(64 << 20)  # of a cell; a description, or a picture in base64, may be above the usual 131,072


@dataclass(frozen=True, order=True)
class TableFile:
    """A table: a file, one packed by gzip or zip, or a `member` of a zip that holds more."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """The last part of its path: labels.csv.gz."""
        return self.member.rsplit("/", 1)[-1] or self.path.name

    @property
    def stem(self) -> str:
        """The name without its endings: labels."""
        return _SUFFIX.sub("", self.name)

    @property
    def ending(self) -> str:
        """What the table is: csv, tsv, txt, jsonl, ndjson or parquet; "" for no table."""
        return table_ending(self.name)

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes. Raises `UserError` where they cannot be read."""
        try:
            if is_zip(str(self.path)):
                (archive, lock), info = find_member(str(self.path), self.member or self._only_member())
                with lock:  # the archive counts its open members
                    member = archive.open(info)
                try:
                    with _unpacked(member, info.filename) as unpacked:
                        yield unpacked
                finally:
                    with lock:
                        member.close()
            else:
                with self.path.open("rb") as file, _unpacked(file, self.path.name) as unpacked:
                    yield unpacked
        except PermissionError as error:
            raise UserError(f"{self} cannot be read ({error.strerror}): ask for the right to read it") from error
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, KeyError, Unreadable) as error:
            reason = error.in_words if isinstance(error, Unreadable) else str(error)
            raise UserError(f"{self} cannot be read ({reason}); get a fresh copy of it") from error

    def _only_member(self) -> str:
        """The table in labels.csv.zip: the member of that name, or else the only table there."""
        tables = [
            name
            for name in member_names(str(self.path))
            if table_ending(name) and not any(map(is_passed_over, name.split("/")))
        ]
        called_so = [name for name in tables if name == self.path.stem]  # before others in folders
        called_so = called_so or [name for name in tables if Path(name).name == self.path.stem]
        if len(called_so or tables) != 1:
            found = ", ".join(map(display_path, tables)) or "no table"
            raise UserError(f"{self} must hold one table, {self.path.stem}; it holds {found}")
        return (called_so or tables)[0]


def table_ending(name: str) -> str:
    """The ending of a table's name without .gz and .zip, such as csv; "" for what is no table."""
    if not name.lower().endswith(_LAST):  # most names in a folder are those of images
        return ""
    match = _SUFFIX.search(name)
    return match[1].lower() if match else ""


@contextmanager
def _unpacked(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    if name.lower().endswith(".gz"):
        with gzip.open(file) as unpacked:
            yield unpacked  # type: ignore[misc]
    else:
        yield file


def read_csv(
    path: Path | TableFile,
    notes: list[str],
    columns: Collection[str] | None = None,
    header: Sequence[str] = (),
) -> pd.DataFrame:
    """A table of text as a frame of str; its index is the number of the line on which each row ends.

    Commas, semicolons, tabs or bars; UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1252
    (noted). Rows longer than the header are left out (noted), shorter ones are filled with "".

    Args:
        path: the file, packed or not.
        notes: gets a sentence, with counts, for what was left out or put right.
        columns: names, in lower case, of those to keep; by default all. The others are never held in memory.
        header: names of the columns, for a file whose first line is a row already.

    Raises `UserError` when the file cannot be read, has no rows, or leaves a quote open.
    """
    table = TableFile(path) if isinstance(path, Path) else path
    try:
        return _read(table, "", notes, columns, header)
    except UnicodeDecodeError:
        notes.append(f"{table.name} is not UTF-8; it was read as Windows-1252, so look at the names with accents.")
        return _read(table, "cp1252", notes, columns, header)


def csv_header(table: TableFile) -> list[str]:
    """The first line's cells, clean and in lower case; [] for an empty file. Raises `UserError`."""
    try:
        with _rows(table, "") as rows:
            return [clean(cell).lower() for cell in next(rows, (0, []))[1]]
    except UnicodeDecodeError:
        with _rows(table, "cp1252") as rows:
            return [clean(cell).lower() for cell in next(rows, (0, []))[1]]


def _read(
    table: TableFile, encoding: str, notes: list[str], columns: Collection[str] | None, header: Sequence[str]
) -> pd.DataFrame:
    with _rows(table, encoding) as rows:
        names = list(header) or [clean(cell).lower() for cell in next(rows, (0, []))[1]]
        if not names:
            raise UserError(f"{table} is empty; it needs a line of column names and a row an image")
        if again := sorted({n for i, n in enumerate(names) if n in names[:i] and columns and n in columns}):
            notes.append(f"{table.name} has several columns called {', '.join(again)}: the first counts.")
        width = len(names)
        kept = [i for i, n in enumerate(names) if n not in names[:i] and (columns is None or n in columns)]
        numbers: list[int] = []
        cells: list[tuple[str, ...]] = []  # tuples: lists would slow the garbage collector
        long: list[int] = []
        blank = [""] * width
        for number, row in rows:
            if len(row) != width:
                if len(row) > width and any(row[width:]):
                    long.append(number)
                    continue
                row = (row + blank)[:width]
            numbers.append(number)
            cells.append(tuple([row[i] for i in kept]))
    if not numbers and long:
        raise UserError(
            f"{table}: every row has more cells than the {width} of its header (the first on line {long[0]}): a comma "
            'that is not in quotes, or a quote within quotes that is written \\" and not ""?'
        )
    if not numbers:
        raise UserError(f"{table} has column names but no rows; it needs a row an image")
    if long:
        notes.append(
            f"{len(long):,} rows of {table.name} have more cells than its header and are left out (the first on line "
            f"{long[0]}: a comma that is not in quotes?)."
        )
    return pd.DataFrame(cells, numbers, [names[i] for i in kept], dtype=object)


@contextmanager
def _rows(table: TableFile, encoding: str) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """An iterator over the rows that are not empty: the number of the line on which each ends, and its cells."""
    with table.open() as binary:
        buffered, of_start = with_unicode_encoding(binary)
        if not encoding and (kind := _no_text(buffered.peek(1024)[:1024], of_start)):
            raise UserError(f"{table} is no text but {kind}: save it as CSV in UTF-8")
        encoding = encoding or of_start
        errors = "replace" if encoding == "cp1252" else "strict"
        yield _parsed(table, io.TextIOWrapper(buffered, encoding, errors, newline=""))


def _no_text(start: bytes, encoding: str) -> str:
    """What a file is that is no text, by its first bytes; "" for text."""
    for mark, kind in ((b"PK\3\4", "an Excel workbook or another zip"), (b"PAR1", "Parquet"), (b"\x1f\x8b", "gzip")):
        if start.startswith(mark):
            return kind
    if encoding != "utf-16" and max(start[::2].count(0), start[1::2].count(0)) > len(start) // 4:
        return "UTF-16 without a byte order mark, or no table at all"
    return ""


def with_unicode_encoding(binary: IO[bytes]) -> tuple[io.BufferedReader, str]:
    """The same bytes, and what they are read as: UTF-16 where they begin with its byte order mark, else UTF-8."""
    buffered: io.BufferedReader = io.BufferedReader(binary)  # type: ignore[arg-type]
    return buffered, "utf-16" if buffered.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _parsed(table: TableFile, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    source = iter(lines)
    first, skipped = "", -1
    while not first.strip() and (line := next(source, None)) is not None:
        skipped += 1
        excel = re.fullmatch(r"sep=(.)\s*", line)  # Excel's way of naming the delimiter
        first = "" if excel else line
    delimiter = max(",;\t|", key=re.sub('"[^"]*"', "", first).count)
    record: list[str] = []  # the lines of the row that is being read

    def remembered() -> Iterator[str]:
        for line in itertools.chain([first] if first else [], source):
            record.append(line)
            yield line

    reader = csv.reader(remembered(), delimiter=delimiter)
    row, width, last = list[str](), 0, list[str]()
    while True:
        start = skipped + reader.line_num + 1
        record.clear()
        try:
            row = next(reader)
        except StopIteration:
            if _fault_in_quotes(last, delimiter) == "unexpected end of data":
                raise _open_quote(table, last, start - len(last), delimiter) from None
            return
        except csv.Error as error:
            raise _open_quote(table, record, start, delimiter, str(error)) from error
        width = width or len(row)
        if len(record) > 1 and (_fault_in_quotes(record, delimiter) or _swallows_rows(record, row, width, delimiter)):
            raise _open_quote(table, record, start, delimiter)
        last = record.copy()
        if row:
            yield skipped + reader.line_num, row


def _fault_in_quotes(record: Sequence[str], delimiter: str) -> str:
    """What a strict reader says of a row: a quote is open at its end, or text stands behind a closing one; else ""."""
    try:
        list(csv.reader(record, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return str(error)
    return ""


def _swallows_rows(record: Sequence[str], row: Sequence[str], width: int, delimiter: str) -> bool:
    """Whether a cell of several lines holds lines that are rows of their own: as many cells, file names in one place.

    A description may have several lines; that one has as many commas and a file's name where the row has one is no
    chance. Where no cell of the row is a file's name, a first cell of the same kind, such as a number, will do.
    """

    def kind(cell: str) -> str:
        return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", cell.strip()))

    lines = [next(csv.reader([line], delimiter=delimiter), []) for line in record[1:]]
    others = [cells for cells in lines if len(cells) == width > 1]
    if places := [i for i, cell in enumerate(row) if _NAME_OF_FILE.search(cell)]:
        return any(_NAME_OF_FILE.search(cells[i]) for cells in others for i in places if i < width)
    return any(kind(cells[0]) == kind(row[0]) for cells in others)


def _open_quote(table: TableFile, record: Sequence[str], start: int, delimiter: str, reason: str = "") -> UserError:
    """The error that names the line on which the last quote was opened."""
    inside, line = False, start
    for number, text in enumerate(record, start):
        before = delimiter
        for character in text:
            if character == '"' and (inside or before in (delimiter, "\n", "\r")):
                inside = not inside
                line = number if inside else line
            before = character if character != " " else before
        if inside and number > line and not reason:
            break  # whatever follows, this quote should have ended on its own line
    reason = f" ({reason})" if reason else ""
    return UserError(f"{table}: the quote that line {line} opens is not closed there{reason}; close or remove it")
