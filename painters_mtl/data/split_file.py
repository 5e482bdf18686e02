"""`split.csv`: which painting is in which part, to be used again by another run."""

import csv
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.files import atomic_write
from painters_mtl.data.csv_table import read_csv
from painters_mtl.data.split import PARTS, given_parts
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.data.values import clean


def save_split(path: Path, table: pd.DataFrame, split: np.ndarray, tasks: Iterable[str] = ()) -> None:
    """Write the columns id, split, painter, style, genre, and those of the user's own tasks.

    Rows that are left out of the split are left out here.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = dict.fromkeys((*TASK_NAMES, *tasks))
    rows = table.loc[np.asarray(split) != "", ["id", *(name for name in columns if name in table)]]
    rows.insert(1, "split", np.asarray(split)[np.asarray(split) != ""])
    with atomic_write(path) as temporary:
        rows.to_csv(temporary, index=False, quoting=csv.QUOTE_MINIMAL, encoding="utf-8", lineterminator="\n")


def check_split_file(path: Path) -> None:
    """Raise `UserError` for a split that is no file."""
    if not path.is_file():
        raise UserError(f"--split {path} is not there (no such file); give a split.csv of an earlier run, or new")


def without_folder(name: str, columns: Iterable[str]) -> str:
    """The id of a painting in its own folder: without the "style:" that --task-data puts before it; in Unicode NFC.

    A folder that moved to macOS, or from there, may have its names in the other form.

    Args:
        columns: those of the table; the tasks are among them.
    """
    task, _, own = name.partition(":")
    return unicodedata.normalize("NFC", own if own and task in columns else name)


def trains_on_set_aside(path: Path, table: pd.DataFrame) -> bool:
    """Whether a split's file has paintings in train that the data themselves set aside for validation or test."""
    set_aside = table["id"][np.isin(given_parts(table), PARTS[1:])]
    if set_aside.empty:  # so that the file is read once, by `load_split`
        return False
    check_split_file(path)
    rows = read_csv(Path(path), [])
    trained = set(rows["id"][rows["split"] == "train"]) if {"id", "split"} <= set(rows) else set()
    return any(name in trained for name in set_aside)


def load_split(path: Path, table: pd.DataFrame, groups: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    """The split in a file for the paintings of `table`, by id; those that the file does not name are left out ("").

    Where one of the two has paintings from --task-data and the other has not, the id in their own folder counts.

    Returns the split as `make_split` does, and notes: how many paintings the file does not name, how many of its ids
    are not here, and, with `groups`, how many copy groups it divides. Raises `UserError` for a file that is not there,
    lacks the columns id and split, holds another value than the three, contradicts itself, or fits no painting.
    """
    path, notes = Path(path), list[str]()
    check_split_file(path)
    rows = read_csv(path, notes)
    if not {"id", "split"} <= set(rows):
        raise UserError(f"{path}: needs the columns id and split; it has {', '.join(rows.columns)}")
    parts: dict[str, str] = {}
    for line, name, value in zip(rows.index, rows["id"], rows["split"], strict=True):
        part = clean(value)
        if part not in PARTS:
            raise UserError(f"{path}, line {line}: the split is {value!r}; it must be {', '.join(PARTS)}")
        if parts.setdefault(name, part) != part:
            raise UserError(f"{path}, line {line}: {name} is in {part} and in {parts[name]}; remove one of the lines")
    own_ids = {without_folder(name, table.columns): part for name, part in parts.items()}
    split = np.array(
        [parts.get(name) or own_ids.get(without_folder(name, table.columns), "") for name in table["id"]], object
    )
    named = split != ""
    count = int(named.sum())
    if not count:
        raise UserError(f"{path}: none of its {len(parts):,} ids is in the data (the file has {next(iter(parts))!r}, "
                        f"the data {next(iter(table['id']), '')!r}); it belongs to other data")  # fmt: skip
    if count < len(table):
        first = display_path(table["id"][~named].iloc[0])
        notes.append(
            f"{len(table) - count:,} of {len(table):,} paintings are not in {path.name} and are left out (the first is "
            f"{first})."
        )
    if count < len(parts):
        here = {without_folder(name, table.columns) for name in table["id"][named]}
        missing = [name for name in parts if without_folder(name, table.columns) not in here]
        if missing:
            notes.append(f"{len(missing):,} ids of {path.name} are not in the data (the first is {missing[0]}).")
    if groups is not None:
        divided = int((pd.Series(split[named]).groupby(np.asarray(groups)[named]).nunique() > 1).sum())
        if divided:
            notes.append(
                f"{divided:,} groups of near-copies are in several parts of {path.name}: figures will be too good."
            )
    return split, notes
