"""The tables of a folder: found by their endings, read by whatever they are."""

import os
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.data import record_tables
from painters_mtl.data.csv_table import TableFile, csv_header, read_csv, table_ending
from painters_mtl.images.files import ImageFile, is_folder
from painters_mtl.images.names import is_passed_over, is_run_folder
from painters_mtl.images.zips import open_zip

FEW_FOLDERS = 12  # a folder of so few sub-folders may have its tables in them; one of more is full of paintings
DEEPEST = 3
_OF_TABLES = re.compile("csv|meta|label|annot|table|info", re.IGNORECASE)  # in names of folders that are worth a look


def find_tables(folder: Path) -> list[TableFile]:
    """The tables in a folder, in its sub-folders where they are few or called so, and in zips; higher ones first."""
    tables: list[tuple[int, TableFile]] = []
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        folders: list[Path] = []
        try:
            with os.scandir(here) as listing:
                entries = [e for e in listing if not is_passed_over(e.name)]
        except OSError:  # whoever lists the images says so
            continue
        if depth and is_run_folder(here, [e.name for e in entries]):  # its split.csv is no table of labels
            continue
        for entry in entries:
            if table_ending(entry.name):
                tables.append((depth, TableFile(here / entry.name)))
            elif entry.name.lower().endswith(".zip"):
                tables += [(depth + 1, table) for table in _in_zip(here / entry.name)]
            elif is_folder(entry):
                folders.append(here / entry.name)
        if depth < DEEPEST:
            few = len(folders) <= FEW_FOLDERS
            waiting += [(path, depth + 1) for path in folders if few or _OF_TABLES.search(path.name)]
    files = {table.path for _, table in tables if not table.member}
    return [table for _, table in sorted(tables) if not _is_unpacked(table, files)]


def _is_unpacked(table: TableFile, files: Collection[Path]) -> bool:
    """Whether a zip's table lies among the files too: beside the zip, or in a folder of its name."""
    places = (table.path.parent, table.path.parent / table.path.stem)
    return bool(table.member) and any(place / table.member in files for place in places)


def _in_zip(path: Path) -> list[TableFile]:
    try:
        names = open_zip(str(path)).zip.namelist()
    except (OSError, Unreadable):  # whoever lists the images says so
        return []
    tables = [name for name in names if table_ending(name) and name.count("/") <= DEEPEST]
    return [TableFile(path, name) for name in tables if not any(map(is_passed_over, name.split("/")))]


def table_at(path: Path, folder: Path) -> TableFile:
    """The table that --table names: a path as it stands, or one below the data folder. Raises `UserError`."""
    for place in (path.expanduser(), folder / path):
        if (within := ImageFile.of(place)).member:  # archive.zip/labels.csv, as messages write it
            inside = TableFile(Path(within.path), within.member)
            if inside in _in_zip(inside.path):
                return inside
        if place.is_file():
            table = TableFile(place)
            if table.ending:
                return table
            raise UserError(
                f"--table {path}: it must end in .csv, .tsv, .txt, .jsonl or .parquet (.gz and .zip may follow)"
            )
    raise UserError(f"--table {path}: there is no such file, nor one of that name in {folder}")


def column_names(table: TableFile) -> list[str]:
    """The names of all columns, in lower case; nothing else is read."""
    if table.ending == "parquet":
        return record_tables.parquet_columns(table)
    if table.ending in ("jsonl", "ndjson"):
        return record_tables.json_lines_columns(table)
    return csv_header(table)


def read_table(table: TableFile, columns: Collection[str], notes: list[str]) -> pd.DataFrame:
    """Those of the columns (in lower case) that the table has, as str. The index names lines or rows."""
    if table.ending == "parquet":
        return record_tables.read_parquet(table, columns)
    if table.ending in ("jsonl", "ndjson"):
        return record_tables.read_json_lines(table, columns, notes)
    return read_csv(table, notes, columns)
