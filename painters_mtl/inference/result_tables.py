"""Rows of predictions as CSV, JSON lines or Parquet: written, and read back."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO, TypeVar

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.lazy_imports import import_extra
from painters_mtl.data.tasks import are_predictions

FORMATS = ("csv", "jsonl", "parquet", "html")
GROUP = 10_000  # rows that a Parquet file is written in at once
Row = dict[str, Any]
T = TypeVar("T")


def is_number(column: str) -> bool:
    """Whether a column holds numbers; the others hold text."""
    return column.endswith(("_confidence", "_known"))


def write_table(rows: Iterable[Row], columns: list[str], file_format: str, file: Path) -> None:
    """Write rows to a file, in constant memory.

    Args:
        file_format: "csv", "jsonl" or "parquet".
    """
    if file_format == "parquet":
        _write_parquet(rows, columns, file)
    else:
        errors = "surrogateescape" if file_format == "csv" else "strict"
        with file.open("w", newline="", encoding="utf-8", errors=errors) as out:
            write_text_rows(rows, columns, file_format, out)


def write_text_rows(rows: Iterable[Row], columns: list[str], file_format: str, out: TextIO) -> None:
    """Write rows as "csv" or "jsonl" to a stream, each as it comes."""
    if file_format == "jsonl":
        for row in rows:
            out.write(json.dumps({name: _cell(row.get(name)) for name in columns}) + "\n")
        return
    table = csv.writer(out)
    table.writerow(columns)
    for row in rows:
        values = (_cell(row.get(name)) for name in columns)
        table.writerow("" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in values)


def _write_parquet(rows: Iterable[Row], columns: list[str], file: Path) -> None:
    pa, pq = parquet_packages()
    schema = pa.schema([(name, pa.float32() if is_number(name) else pa.string()) for name in columns])
    with pq.ParquetWriter(file, schema) as writer:
        for group in in_groups(rows, GROUP):
            # Parquet's text is UTF-8: bytes of a path that are not become escapes.
            cells = {
                name: [display_path(v) if isinstance(v := _cell(row.get(name)), str) else v for row in group]
                for name in columns
            }
            writer.write_table(pa.table(cells, schema))


def _cell(value: Any) -> Any:
    """A value as it stands in a table: of a list its items, with commas; None for an empty one."""
    return (", ".join(value) or None) if isinstance(value, list) else value


def parquet_packages() -> tuple[Any, Any]:
    """pyarrow and pyarrow.parquet. Raises `UserError` with the line that installs them."""
    return import_extra("pyarrow", "parquet"), import_extra("pyarrow.parquet", "parquet")


def read_table(file: Path, file_format: str) -> Iterator[Row]:
    """The rows that `write_table` wrote, without the cells that are empty; "path" and "error" are always there, and
    "doubtful" where the table has the column.

    A path that is not UTF-8 comes back from Parquet as it is shown (`errors.display_path`). Raises `UserError` for a
    file that is no such table.
    """
    readers = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}
    try:
        for cells in readers[file_format](file):
            row = {name: value for name, value in cells.items() if value not in (None, "") or name == "doubtful"}
            yield {"error": "", **row, "path": cells["path"]}
    except (ValueError, KeyError, AttributeError, TypeError, csv.Error) as error:
        raise UserError(f"{file} is no table that predict wrote ({type(error).__name__}: {error})") from error


def is_of_predictions(file: Path, file_format: str) -> bool:
    """Whether a file is a table that `write_table` wrote of predictions; judged by its first row."""
    try:
        if file_format == "csv":
            with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
                names = next(csv.reader(lines), [])
        else:
            names = list(next({"jsonl": _read_json_lines, "parquet": _read_parquet}[file_format](file), {}))
    except (ValueError, TypeError, csv.Error):  # UserError: the extra that reads it is not installed
        return False
    return are_predictions(names)


def _read_csv(file: Path) -> Iterator[Row]:
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:  # Excel writes such a mark
        table = csv.DictReader(lines, strict=True)
        if "path" not in (table.fieldnames or ()):
            raise ValueError("it has no column path")
        for row in table:
            yield {name: float(text) if text and is_number(name) else text for name, text in row.items()}


def _read_json_lines(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _read_parquet(file: Path) -> Iterator[Row]:
    _, pq = parquet_packages()
    with pq.ParquetFile(file) as table:
        for group in table.iter_batches(GROUP):
            for row in group.to_pylist():  # 32 bits hold more than the four digits that a number has
                yield {name: round(v, 4) if v is not None and is_number(name) else v for name, v in row.items()}


def in_groups(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` rows, in order; the last has what is left."""
    group: list[T] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
