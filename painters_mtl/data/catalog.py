"""The catalogue: one row a painting that has an image, from a folder in any of the usual layouts (see `layouts`).

catalog = read_catalog(Path("data/painter-by-numbers"))
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.data.collection import Collection, add_note, images_by_id
from painters_mtl.data.known_names import kind_of_name
from painters_mtl.data.layouts import read_layout
from painters_mtl.data.locations import find_data
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.tables import find_tables
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.data.values import (
    clean,
    clean_date,
    clean_label,
    clean_painter,
    clean_title,
    is_placeholder,
    is_record,
    list_of_names,
    mapped,
    one_spelling,
    spelling_key,
)
from painters_mtl.images.files import ImageFile, find_images
from painters_mtl.images.names import is_picture_name
from painters_mtl.images.zips import is_zip

COLUMNS = ("id", "file", "member", "painter", "style", "genre", "title", "date", "competition", "part")


@dataclass
class Catalog:
    """The paintings of one folder.

    `table` has the index 0..n-1 and these columns of str, where "" is "not known": `id` (unique; the path below
    `folder`, the same whether the images are zipped or not), `file` and `member` (where the image is: a path, and the
    name within it when it is a zip), `painter`, `style`, `genre`, `title`, `date`, `competition` ("train", "test", ""),
    `part` (of a split that somebody made: "train", "validation", "test", or ""), and the user's own tasks.
    `notes` holds a sentence, with counts, for all that was left out or put right; the first says what was understood.
    """

    table: pd.DataFrame
    layout: str  # "painter-by-numbers", "labels.csv", "table", "imagefolder", "wikiart", "best-artworks", "folders"
    folder: Path
    notes: list[str]


def read_catalog(folder: Path, settings: LabelSettings | None = None) -> Catalog:
    """The catalogue of a folder, its layout recognised by its files or as the settings say.

    Nothing is unpacked and no image is opened. Raises `UserError` when the folder has none of the layouts, when it is
    not clear which it has, when it lacks a column, or when no row has an image.
    """
    folder = Path(folder)
    find_data(folder)
    notes: list[str] = []
    images = images_by_id(folder, _without_closed_containers(folder, find_images(folder), notes), notes)
    collection = Collection(folder, images, find_tables(folder), settings or LabelSettings(), notes)
    reading = read_layout(collection)
    own = [task for task in collection.settings.task_names() if task not in TASK_NAMES]
    if missing := [task for task in own if task not in reading.rows]:
        raise UserError(
            f"--tasks {missing[0]}: {folder} has no such labels ({reading.sentence}); --table FILE names a table that "
            f"has, and --folders {missing[0]} says that the folders are"
        )
    if reading.layout in ("wikiart", "folders") and collection.settings.columns:
        raise UserError(f"--columns: {folder} was {reading.sentence}, without a table; name one by --table FILE")
    table = tidy(reading.rows, own, notes)
    notes.insert(0, f"{reading.sentence}.")
    return Catalog(table, reading.layout, folder, notes)


def _without_closed_containers(folder: Path, files: Sequence[ImageFile], notes: list[str]) -> list[ImageFile]:
    """The pictures alone: zips and folders that could not be opened stand among them; why they could not is noted.

    Raises `UserError` where there is nothing else.
    """
    closed = {file for file in files if is_zip(str(file)) or not (is_picture_name(file.name) or file.member)}
    reasons = []
    for file in sorted(closed):
        try:
            file.read()
        except Unreadable as error:
            reasons.append(str(error))
    if closed and len(closed) == len(files):
        raise UserError(f"{folder} holds no picture that can be read: {'; '.join(reasons[:3])}")
    notes += [f"{reason}: what is in it is left out." for reason in reasons]
    return [file for file in files if file not in closed]


def tidy(rows: pd.DataFrame, own_tasks: Sequence[str], notes: list[str]) -> pd.DataFrame:
    """The table of the catalogue, in the order of the ids, with clean values; notes what changed."""
    table = pd.DataFrame({c: rows.get(c, "") for c in (*COLUMNS, *own_tasks)}, rows.index, dtype=object)
    table = table.sort_values("id").reset_index(drop=True)
    labels = {"painter": clean_painter, **dict.fromkeys(("style", "genre", *own_tasks), clean_label)}
    for column, function in {**labels, "title": clean_title, "date": clean_date}.items():
        before = table[column]
        table[column] = mapped(before, function)
        if column in labels:
            # In a task of the user's own a sign may be all that tells two classes: <1800 and >1800, A and A-.
            key = str.casefold if column in own_tasks else spelling_key
            table[column], spellings = one_spelling(table[column], key)
            _note_spellings(column, spellings, notes)
            _note_missing(column, before, table[column], notes)
            table[column] = _without_several(column, table[column], notes)
        changed = (table[column] != before) & ((table[column] != "") | (column not in labels))
        add_note(notes, int(changed.sum()), f"cells of {column} were cleaned (white space, spelling, values that say "
                 "nothing).")  # fmt: skip
    table["part"] = _whole_split(table["part"], notes)
    return table


def _note_spellings(column: str, spellings: Mapping[str, str], notes: list[str]) -> None:
    """Note which names of a task were taken for others that are only spelt in another way."""
    if spellings:
        some = ", ".join(f"{name} is {chosen}" for name, chosen in sorted(spellings.items())[:3])
        more = " ..." if len(spellings) > 3 else ""
        notes.append(f"{column}: names that differ only in accents, hyphens or quotes are one class ({some}{more}).")


def _note_missing(column: str, before: pd.Series, after: pd.Series, notes: list[str]) -> None:
    """Note how many cells say in words that they say nothing, and which words."""
    counts = Counter(clean(value) for value in before[(after == "") & (before != "")])
    counts.pop("", None)
    kinds: dict[str, Callable[[str], bool]] = {
        "hold a record of JSON": is_record,
        "hold several names": lambda text: bool(list_of_names(text)),
        "hold a placeholder": is_placeholder,
        "say that it is unknown": lambda text: True,
    }
    for sentence, is_kind in kinds.items():
        words = sorted((word for word in counts if is_kind(word)), key=lambda word: (-counts[word], word))
        total = sum(counts.pop(word) for word in words)
        add_note(notes, total, f"cells of {column} {sentence} ({', '.join(words[:5])}) and count as no label.")


_SEPARATORS = {"painter": r"[;|]", "style": r"[,;|]", "genre": r"[,;|]"}  # of names; "Monet, Claude" is one


def _without_several(column: str, values: pd.Series, notes: list[str]) -> pd.Series:
    """The column without the cells that hold several names of classes: "Cubism, Dada" is no third style.

    Each name must be a label of its own in the column, or a well-known one.
    """
    if column not in _SEPARATORS:
        return values
    keys = {spelling_key(value) for value in set(values)} - {""}
    several = []
    for value in sorted(set(values)):
        names = re.split(_SEPARATORS[column], value)
        if len(names) > 1 and all(spelling_key(name) in keys or column in kind_of_name(name) for name in names):
            several.append(value)
    hold_several, some = values.isin(several), "; ".join(several[:3])
    add_note(notes, int(hold_several.sum()), f"cells of {column} hold several names ({some}) and count as no label.")
    return values.mask(hold_several, "")


def _whole_split(parts: pd.Series, notes: list[str]) -> pd.Series:
    """The split that somebody made, or "" everywhere where there are not two parts and one to train on."""
    counts = Counter(parts)
    names = [name for name in ("train", "validation", "test") if counts[name]]
    if len(names) < 2 or "train" not in names:
        return pd.Series("", parts.index, dtype=object)
    sizes = ", ".join(f"{counts[name]:,} {name}" for name in names)
    others = f", and {counts['']:,} in none" if counts[""] else ""
    notes.append(f"the paintings are divided already: {sizes}{others} (--split new divides them anew).")
    return parts
