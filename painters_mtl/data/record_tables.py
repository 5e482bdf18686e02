"""Tables as records: JSON lines and Parquet, read as frames of str like a CSV."""

import io
import json
import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError, shorten
from painters_mtl.data.csv_table import TableFile, with_unicode_encoding
from painters_mtl.data.values import clean


def read_json_lines(table: TableFile, columns: Collection[str], notes: list[str]) -> pd.DataFrame:
    """The columns that are asked for (in lower case), as str; the index is the number of each line.

    UTF-8, UTF-16 with a byte order mark, or else Windows-1252, which is noted. Raises `UserError` with the number of
    the line that is no record.
    """
    numbers: list[int] = []
    values: dict[str, list[str]] = {}
    keys: dict[str, str] = {}  # the names of the table, and what they are in lower case
    for number, record in _records(table, notes):
        for name, value in record.items():
            if (key := keys.get(name)) is None:
                key = keys[name] = clean(name).lower()
            if key in columns:
                cells = values.get(key)
                if cells is None:
                    cells = values[key] = []
                cells += [""] * (len(numbers) - len(cells))
                if len(cells) == len(numbers):  # "Artist" beside "artist": the first counts, as in a CSV
                    cells.append(as_text(value))
        numbers.append(number)
    for cells in values.values():
        cells += [""] * (len(numbers) - len(cells))
    if not numbers:
        raise UserError(f"{table} is empty; it needs a line an image")
    return pd.DataFrame(values, numbers, dtype=object)


def json_lines_columns(table: TableFile) -> list[str]:
    """The names that any of the lines has, in lower case: a line may leave out what it has no value for."""
    names: dict[str, None] = {}
    try:
        for _, record in _records(table, []):
            names.update(dict.fromkeys(record))
    except UserError:  # of a line; whoever reads the table says so
        if not names:
            raise
    return list(dict.fromkeys(clean(name).lower() for name in names))


def _records(table: TableFile, notes: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    first_other = 0  # the number of the first line that is no Unicode
    with table.open() as binary:
        buffered, encoding = with_unicode_encoding(binary)
        errors = "replace" if encoding == "utf-16" else "surrogateescape"
        for number, read in enumerate(io.TextIOWrapper(buffered, encoding, errors), 1):
            line = _in_windows_1252(read)
            first_other = first_other or (number if line is not read else 0)
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"{table}: line {number} is no JSON ({shorten(error)}); correct or remove it"
                ) from error
            if not isinstance(record, dict):
                raise UserError(f'{table}: line {number} is no record; each line must be as in {{"file_name": ...}}')
            yield number, record
    if first_other:
        notes.append(
            f"{table.name} is not UTF-8 (first in line {first_other}); such lines were read as Windows-1252, so look "
            "at the names with accents."
        )


def _in_windows_1252(line: str) -> str:
    """A line that is no UTF-8 as Windows-1252; any other line itself."""
    try:
        line.encode()
    except UnicodeEncodeError:  # it has bytes that stand for themselves
        return line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return line


def read_parquet(table: TableFile, columns: Collection[str]) -> pd.DataFrame:
    """The columns that are asked for (in lower case), as str. Numbers that stand for classes become their names, where
    the file says them as Hugging Face's `datasets` does. Raises `UserError`."""
    with _parquet(table) as file:
        kept: dict[str, Any] = {}
        for field in file.schema_arrow:
            if (key := clean(field.name).lower()) in columns:
                kept.setdefault(key, field)
        paths = {key: f"{f.name}.path" if _holds_pictures(f) else f.name for key, f in kept.items()}
        if not file.metadata.num_rows:
            raise UserError(f"{table} has no rows; it needs one an image")
        class_names = _class_names(file.schema_arrow.metadata or {})
        frame = {}
        for key, field in kept.items():
            try:
                data = file.read(columns=[paths[key]]).column(0).to_pylist()
            except (OSError, ValueError) as error:
                raise _damaged(table, error) from error
            if _holds_pictures(field):
                data = [record and record.get("path") for record in data]
            labels = class_names.get(field.name, [])
            frame[key] = [
                labels[v] if isinstance(v, int) and 0 <= v < len(labels) else "" if labels and v == -1 else as_text(v)
                for v in data
            ]
        return pd.DataFrame(frame, range(1, file.metadata.num_rows + 1), dtype=object)


def parquet_columns(table: TableFile) -> list[str]:
    """The names of its columns, in lower case."""
    with _parquet(table) as file:
        return [clean(name).lower() for name in file.schema_arrow.names]


def picture_columns(table: TableFile) -> list[str]:
    """The names, in lower case, of the columns that hold pictures themselves."""
    with _parquet(table) as file:
        return [clean(field.name).lower() for field in file.schema_arrow if _holds_pictures(field)]


def _parquet(table: TableFile) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError(
            f'{table} needs pyarrow to be read: pip install "painters-mtl[parquet]", or save it as CSV'
        ) from None
    try:
        if not table.member and table.path.suffix.lower() == ".parquet":
            return parquet.ParquetFile(table.path)
        with table.open() as file:
            return parquet.ParquetFile(io.BytesIO(file.read()))
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise _damaged(table, error) from error


def _damaged(table: TableFile, error: Exception) -> UserError:
    return UserError(f"{table} cannot be read ({shorten(error)}); get a fresh copy of it")


def _holds_pictures(field: Any) -> bool:
    """Whether a Parquet column holds pictures themselves, as {"bytes": ..., "path": ...}."""
    import pyarrow

    return pyarrow.types.is_struct(field.type) and {"bytes", "path"} <= {child.name for child in field.type}


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """{column: names of its classes, by number}, from what `datasets` writes into the file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: value["names"] for name, value in features.items() if value.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def as_text(value: object) -> str:
    """A value of a record as a CSV would hold it: "" for nothing, whole numbers without a point, lists as Python's.

    >>> [as_text(value) for value in (None, 1889.0, float("nan"), ["Cubism"], "Dada")]
    ['', '1889', '', "['Cubism']", 'Dada']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):  # text that Parquet holds as plain bytes
        return value.decode("utf-8", "replace")
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):  # pyarrow 18 gives float16
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
