"""CSV files as people write them: any delimiter and encoding, every value a str; and how a text is cleaned."""

import csv
import io
import unicodedata
import zipfile
from pathlib import Path

import pandas as pd

from painters_mtl.common.errors import UserError


def clean(text: str) -> str:
    """Unicode NFC, every run of white space (also non-breaking) one space, none at the ends.

    >>> clean(" Analytical\\xa0Realism  ")
    'Analytical Realism'
    """
    if text.isascii():
        return " ".join(text.split())
    return " ".join(unicodedata.normalize("NFC", text).replace("\ufeff", "").replace("\u200b", "").split())


def read_csv(path: Path, notes: list[str]) -> pd.DataFrame:
    """A CSV file (or the one in a zip) as a frame of str; its index is the number of the line each row ends on.

    Commas, semicolons or tabs; UTF-8 with or without a byte order mark, UTF-16 with one, else Windows-1252 (noted);
    column names in lower case. Rows longer than the header are left out (noted), shorter ones are filled with "".
    Raises `UserError` when the file cannot be read or has no rows.
    """
    text = _decode(path, notes)
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = dict((reader.line_num, tuple(cells)) for cells in reader if cells)  # lists would slow the collector
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is unreadable ({error}); is a quote left open?") from error
    if not rows:
        raise UserError(f"{path} is empty; it needs a line of column names and a row an image")
    columns = [clean(name).lower() for name in rows.pop(min(rows))]
    if not rows:
        raise UserError(f"{path} has column names but no rows; it needs a row an image")
    width = len(columns)
    long = [line for line, row in rows.items() if len(row) > width and any(row[width:])]
    first = f"the first on line {min(long, default=0)}: a comma that is not in quotes?"
    add_note(notes, len(long), f"rows of {path.name} have more cells than its header and are left out ({first}).")
    for line in long:
        del rows[line]
    data = [row if len(row) == width else (*row, *[""] * width)[:width] for row in rows.values()]
    frame = pd.DataFrame(data, list(rows), columns, dtype=object)
    return frame.loc[:, ~frame.columns.duplicated()]


def _decode(path: Path, notes: list[str]) -> str:
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                data = archive.read(next(n for n in archive.namelist() if Path(n).name == path.stem))
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise UserError(f"{path} cannot be read ({str(error) or 'no table in it'}); get a fresh copy of it") from error
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        notes.append(f"{path.name} is not UTF-8; it was read as Windows-1252, so look at the names with accents.")
        return data.decode("cp1252", errors="replace")


def add_note(notes: list[str], count: int, sentence: str) -> None:
    """Append "COUNT SENTENCE", unless the count is 0."""
    if count:
        notes.append(f"{count:,} {sentence}")
