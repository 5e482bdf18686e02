"""The catalogue: one row a painting that has an image, from the competition's tables, a labels.csv or sub-folders.

catalog = read_catalog(Path("data/painter-by-numbers"))
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.csv_table import add_note as _note
from painters_mtl.data.csv_table import clean, read_csv
from painters_mtl.data.locations import KAGGLE_FOLDERS, LOCAL_FOLDER
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.images.files import ImageFile, find_images

COLUMNS = ("id", "file", "member", "painter", "style", "genre", "title", "date", "competition")
ALIASES = {  # what a column may be called, the best name first
    "filename": ("filename", "new_filename", "file", "path", "image"),
    "painter": ("painter", "artist"),
    "style": ("style",),
    "genre": ("genre",),
    "title": ("title",),
    "date": ("date",),
}
NOT_A_VALUE = {"nan", "NaN", "<NA>", "NA", "N/A", "None", "null"}  # for style, genre, date; a painter may be called so
LAYOUTS = (
    "the competition's tables (train_info.csv and/or all_data_info.csv) with its images, "
    "a labels.csv (filename, painter, style, genre, title, date) with its images, "
    "or one sub-folder of images a painter"
)


@dataclass
class Catalog:
    """The paintings of one folder.

    `table` has the index 0..n-1 and these columns of str, where "" is "not known": `id` (unique; the path below
    `folder`, the same whether the images are zipped or not), `file` and `member` (where the image is: a path, and the
    name within it when it is a zip), `painter`, `style`, `genre`, `title`, `date`, `competition` ("train", "test", "").
    `notes` holds a sentence, with counts, for all that was left out or put right.
    """

    table: pd.DataFrame
    layout: str  # "painter-by-numbers" | "labels.csv" | "folders"
    folder: Path
    notes: list[str]


# ------------------------------------------------------------------------------------------------- the folder


def find_data(
    folder: Path | None,
    kaggle: Sequence[Path] = KAGGLE_FOLDERS,
    local: Path = LOCAL_FOLDER,
    option: str = "--data",
) -> Path | None:
    """The data folder: the given one, else Kaggle's, else data/painter-by-numbers, else None (the demo's turn).

    Raises `UserError`, which names the `option`, when the given folder is not there, is no folder or is empty.
    """
    if folder is None:
        return next((f for f in (*kaggle, local) if f.is_dir() and any(f.iterdir())), None)
    folder = Path(folder).expanduser()
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give {option} the folder that holds the paintings")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder; give {option} the folder that holds it")
    try:
        empty = not any(folder.iterdir())
    except PermissionError:
        raise UserError(f"{folder} may not be read by you; change its permissions or choose another folder") from None
    if empty:
        raise UserError(f"{folder} is empty; give {option} a folder with {LAYOUTS}")
    return folder


def read_catalog(folder: Path) -> Catalog:
    """Read a folder of any of the three layouts, recognised by its files.

    Nothing is unpacked and no image is opened. Raises `UserError` when the folder has none of the layouts, lacks a
    column, or when no row has an image.
    """
    folder = Path(folder)
    find_data(folder)
    images = find_images(folder)
    tables = {name: _table_file(folder, name) for name in ("all_data_info.csv", "train_info.csv")}
    labels = next((p for p in sorted(folder.iterdir()) if p.name.lower() == "labels.csv"), None)
    notes: list[str] = []
    if any(tables.values()):
        layout, rows = "painter-by-numbers", _competition(folder, images, tables, notes)
    elif labels:
        layout, rows = "labels.csv", _labels(folder, images, labels, notes)
    else:
        layout, rows = "folders", _folders(folder, images, notes)
    return Catalog(_tidy(rows, notes), layout, folder, notes)


def _by_id(folder: Path, images: Sequence[ImageFile], notes: list[str]) -> dict[str, ImageFile]:
    """Images by their path below the folder; for members of a zip the path they would have, were it unpacked in place
    (into a folder of the zip's name, where the zip has none). The same path twice is the same picture: a replacement
    (the competition has some for damaged files) goes before a file, a file before a member of a zip.
    """
    below = cache(lambda parent: PurePath(os.path.relpath(parent, folder)).as_posix().removeprefix("."))
    named: list[tuple[str, ImageFile]] = []
    for image in images:
        parent, name = os.path.split(image.path)
        member = image.member.replace("\\", "/").lstrip("/")
        inside = member if not member or "/" in member else f"{Path(name).stem}/{member}"
        named.append((f"{below(parent)}/{inside or name}".lstrip("/"), image))
    found: dict[str, ImageFile] = {}
    for key, image in sorted(named, key=lambda item: _rank(*item)):
        found.setdefault(key, image)
    _note(notes, len(images) - len(found), "images are there twice, in a folder and a zip; one of each is used.")
    # A table, its CSV and a checksum of it are text.
    text = {key: image for key, image in found.items() if image.path.encode(errors="ignore").decode() == image.path}
    _note(notes, len(found) - len(text), "images have names that are not UTF-8 and are left out: rename them.")
    return text


def _place(image_id: str, image: ImageFile) -> str:
    """Where an image is below the data folder, with the zip's name."""
    return f"{image.path.rsplit(os.sep, 1)[-1]}/{image_id}".lower() if image.member else image_id.lower()


def _rank(image_id: str, image: ImageFile) -> tuple[bool, bool]:
    return "replacement" not in _place(image_id, image), bool(image.member)


def _table_file(folder: Path, name: str) -> Path | None:
    """A table in the folder or one level below, as it is or zipped."""
    patterns = (name, f"{name}.zip", f"*/{name}", f"*/{name}.zip")
    return next((path for pattern in patterns for path in sorted(folder.glob(pattern))), None)


# ------------------------------------------------------------------------------------------------- columns


def _columns(path: Path, table: pd.DataFrame, any_of: Sequence[str]) -> pd.DataFrame:
    """The table with our names for its columns, the missing ones empty; filename and one of `any_of` are needed."""
    found = {ours: next((n for n in names if n in table), None) for ours, names in ALIASES.items()}
    if found["filename"] is None or not any(found[name] for name in any_of):
        needed = f"filename (or {', '.join(ALIASES['filename'][1:])}) and {' or '.join(any_of)}"
        raise UserError(f"{path}: needs the columns {needed}; it has {', '.join(table.columns)}")
    renamed = table.rename(columns={theirs: ours for ours, theirs in found.items() if theirs})
    for ours in found.keys() - set(renamed):
        renamed[ours] = ""
    renamed["filename"] = _mapped(renamed["filename"], lambda name: name.strip().replace("\\", "/").removeprefix("./"))
    return renamed[[name for name in (*ALIASES, "in_train", "artist_group") if name in renamed]]


# ------------------------------------------------------------------------------------------------- the layouts


def _join(
    folder: Path, rows: pd.DataFrame, images: Mapping[str, ImageFile], name: str, notes: list[str]
) -> pd.DataFrame:
    """The rows whose column `id` ("" for none) is that of an image; notes what is left over on either side."""
    matched = rows[rows["id"].isin(list(images))]
    if matched.empty:
        raise UserError(
            f"{folder}: none of the {len(rows):,} rows of {name} (such as {next(iter(rows['filename']), '')!r}) "
            f"names one of the {len(images):,} images found (such as {next(iter(images), '')!r}); "
            "put the images into the folder, or correct the file names"
        )
    again = matched["id"].duplicated()
    _note(notes, int(again.sum()), f"rows of {name} name an image that an earlier row names; the earlier row counts.")
    _note(notes, len(rows) - len(matched), f"of the {len(rows):,} rows of {name} have no image here and are left out.")
    matched = matched[~again]
    extra = len(images) - len(matched)
    _note(notes, extra, f"of the {len(images):,} images have no row in {name} and are left out.")
    where = [images[i] for i in matched["id"]]
    return matched.assign(file=[image.path for image in where], member=[image.member for image in where])


def _competition(
    folder: Path, images: Sequence[ImageFile], paths: Mapping[str, Path | None], notes: list[str]
) -> pd.DataFrame:
    """Painter by Numbers: images are joined to rows by their bare name."""
    read = {name: _columns(path, read_csv(path, notes), ("painter",)) for name, path in paths.items() if path}
    for table in read.values():
        table["filename"] = _mapped(table["filename"], clean)
    full, train = read.get("all_data_info.csv"), read.get("train_info.csv")
    named = set() if full is None else set(full["filename"])
    parts = [] if full is None else [full.assign(train=False)]
    if train is not None:
        parts.append(train[~train["filename"].isin(named)].assign(train=True))
    table = pd.concat(parts, ignore_index=True).fillna("")
    trimmed = _mapped(table["painter"], clean)
    _note(notes, int((trimmed != table["painter"]).sum()), "cells of painter were cleaned (white space).")
    table["painter"] = trimmed
    if full is not None:
        hashes = {} if train is None else dict(zip(train["filename"], train["painter"], strict=True))
        table["train"] |= table["filename"].isin(hashes)
        table = _repair_painters(table, hashes, notes)

    by_id = _by_id(folder, images, notes)
    chosen: dict[str, str] = {}  # bare name to id
    for image_id in sorted(by_id, key=lambda i: _rank(i, by_id[i])):
        chosen.setdefault(PurePosixPath(image_id).name, image_id)
    _note(notes, len(by_id) - len(chosen), "images have the name of another, which is used (replacements first).")
    rows = table.assign(id=[chosen.get(name, "") for name in table["filename"]])
    rows = _join(folder, rows, {i: by_id[i] for i in chosen.values()}, " and ".join(read), notes)
    hashed = int(rows["painter"].str.fullmatch("[0-9a-f]{32}").sum())
    _note(notes, hashed, "paintings have a painter known only as a hash; all_data_info.csv would give the names.")
    return rows.assign(competition=_competition_part(rows, by_id))


def _competition_part(rows: pd.DataFrame, images: Mapping[str, ImageFile]) -> list[str]:
    """ "train" or "test": by the column in_train, else by train_info.csv, else by the folder or zip of the image."""
    stated = rows["in_train"].str.lower() if "in_train" in rows else [""] * len(rows)
    parts: list[str] = []
    for image_id, in_train, in_train_info in zip(rows["id"], stated, rows["train"], strict=True):
        seen = re.search(r"(?:^|/)(train|test)(?:_\d+)?[/.]", _place(image_id, images[image_id]))
        by_table = {"true": "train", "false": "test"}.get(in_train, "train" if in_train_info else "")
        parts.append(by_table or (seen[1] if seen else ""))
    return parts


def _repair_painters(table: pd.DataFrame, hashes: Mapping[str, str], notes: list[str]) -> pd.DataFrame:
    """Undo a fault of all_data_info.csv: of a title with a comma, the end stands in the artist column.

    With train_info.csv the hash tells the true painter (the name most rows of that hash have). For rows without a hash
    such a name is recognised by (1) being a proven end of a title elsewhere, (2) contradicting the column artist_group,
    which was made from the true painters ("train_and_test", but no row of that name in one of the two), or (3) marks
    that no painter's name has. The name goes back to the title, and the painter is the true one or "".
    """
    painter = table["painter"]
    known = pd.Series([hashes.get(name, "") for name in table["filename"]], table.index, dtype=object)
    doubtful = _contradicted(table) | {name for name in painter.unique() if _is_no_name(name)}
    votes = pd.DataFrame({"hash": known, "painter": painter})[known != ""].value_counts().reset_index(name="n")
    votes["doubtful"] = votes["painter"].isin(doubtful)
    votes = votes.sort_values(["doubtful", "n", "painter"], ascending=[True, False, True])
    name_of = votes.drop_duplicates("hash").set_index("hash")["painter"].to_dict()

    true = pd.Series([name_of.get(h, p) for h, p in zip(known, painter, strict=True)], table.index, dtype=object)
    real = set(name_of.values())
    proven = pd.DataFrame({"name": painter, "true": true})[(true != painter) & ~painter.isin(real)]
    owners = {name: set(part) for name, part in proven.groupby("name")["true"]}
    guess = {name: "" for name in doubtful - real}
    guess |= {name: min(names) if len(names) == 1 else "" for name, names in owners.items()}
    true = true.where(known != "", _mapped(painter, lambda name: guess.get(name, name)))
    moved = true != painter
    unknown = int((true[moved] == "").sum())
    _note(notes, int(moved.sum()), "rows had the end of their title in the artist column; it was moved back, and the "
          f"painter of {moved.sum() - unknown:,} found by hash ({unknown:,} remain unknown).")  # fmt: skip
    title = (table["title"] + ", " + painter).str.removeprefix(", ")
    return table.assign(painter=true, title=table["title"].where(~moved, title))


def _contradicted(table: pd.DataFrame) -> set[str]:
    """Names whose rows are not in the parts (train, test) that their artist_group says; none in a cut-down table."""
    if not {"artist_group", "in_train"} <= set(table):
        return set()
    stated = table[(table["artist_group"] != "") & (table["in_train"] != "")]
    parts = stated.groupby("painter").agg({"artist_group": set, "in_train": set})
    spans = {"train_and_test": {"True", "False"}, "train_only": {"True"}, "test_only": {"False"}}
    pairs = zip(parts.index, parts["artist_group"], parts["in_train"], strict=True)
    names = {name for name, groups, seen in pairs if len(groups) > 1 or spans.get(min(groups)) != seen}
    return names if stated["painter"].isin(names).mean() < 0.02 else set()


def _is_no_name(name: str) -> bool:
    return bool(re.search(r'["\d:;/]|^\(', name)) or name.count("(") != name.count(")")


def _labels(folder: Path, images: Sequence[ImageFile], path: Path, notes: list[str]) -> pd.DataFrame:
    """labels.csv: a file name is a path below the folder, or the end of one that fits only one image."""
    table = _columns(path, read_csv(path, notes), TASK_NAMES)
    by_id = _by_id(folder, images, notes)
    by_name: dict[str, list[str]] = {}
    for image_id in by_id:
        by_name.setdefault(clean(PurePosixPath(image_id).name), []).append(image_id)
    fits = [_fitting(name, by_id, by_name) for name in table["filename"]]
    unclear = [name for name, ids in zip(table["filename"], fits, strict=True) if len(ids) > 1]
    _note(notes, len(unclear), f"file names of {path.name} fit several images (such as {min(unclear, default='')!r}): "
          "write their folders.")  # fmt: skip
    return _join(folder, table.assign(id=[ids[0] if len(ids) == 1 else "" for ids in fits]), by_id, path.name, notes)


def _fitting(name: str, by_id: Mapping[str, ImageFile], by_name: Mapping[str, list[str]]) -> list[str]:
    """The ids that a file name can mean; absolute paths and those that leave the folder mean none.

    A table and a disk may write the same name with other spaces, or its accents as other characters: see `clean`.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        return []
    if str(path) in by_id:
        return [str(path)]
    wanted = f"/{clean(str(path))}"
    return [i for i in by_name.get(clean(path.name), ()) if f"/{clean(i)}".endswith(wanted)]


def _folders(folder: Path, images: Sequence[ImageFile], notes: list[str]) -> pd.DataFrame:
    """One sub-folder a painter, however deep the images lie in it."""
    by_id = _by_id(folder, images, notes)
    table = pd.DataFrame({"filename": [i for i in by_id if "/" in i]}, dtype=object)
    tops = table["filename"].str.split("/").str[0]
    parts = re.compile(r"(train|test|val|valid|validation|images?)(_\d+)?", re.IGNORECASE)
    if tops.nunique() < 2 or all(map(parts.fullmatch, tops.unique())):
        found = sorted({p.name + "/" * p.is_dir() for p in folder.iterdir()})
        more = f" and {len(found) - 5:,} more" if len(found) > 5 else ""
        raise UserError(f"{folder}: needs {LAYOUTS}; it has {', '.join(found[:5])}{more}, with {len(images):,} images")
    names = {top: clean(re.sub(r"^\d+[-_. ]+(?=\D)", "", top).replace("_", " ")) for top in tops.unique()}
    return _join(folder, table.assign(id=table["filename"], painter=tops.map(names)), by_id, "the sub-folders", notes)


# ------------------------------------------------------------------------------------------------- values


def _mapped(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """`function` of every value, computed once a distinct value."""
    values = {value: function(value) for value in set(column)}
    return pd.Series([values[value] for value in column], column.index, dtype=object)


def _tidy(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The table of the catalogue, in the order of the ids, with clean values; notes what changed."""
    table = pd.DataFrame({column: rows.get(column, "") for column in COLUMNS}, rows.index, dtype=object)
    table = table.sort_values("id").reset_index(drop=True)
    cleaners = {"painter": clean, "style": _value, "genre": _value, "title": _title, "date": _date}
    for column, function in cleaners.items():
        before = table[column]
        table[column] = _mapped(before, function)
        if column in TASK_NAMES:
            table[column] = _one_spelling(table[column])
        changed = int((table[column] != before).sum())
        _note(notes, changed, f"cells of {column} were cleaned (white space, spelling, values that say nothing).")
    return table


def _value(text: str) -> str:
    return "" if clean(text) in NOT_A_VALUE else clean(text)


def _title(text: str) -> str:
    return "" if clean(text).casefold() == "not detected" else clean(text)


def _date(text: str) -> str:
    return re.sub(r"^(\d+)\.0+$", r"\1", _value(text))


def _one_spelling(column: pd.Series) -> pd.Series:
    """Names that differ only in case get the spelling that is most frequent (of equals, the first by code)."""
    counts = Counter(column)
    best: dict[str, str] = {}
    for name in sorted(counts, key=lambda n: (-counts[n], n)):
        best.setdefault(name.casefold(), name)
    return _mapped(column, lambda name: best[name.casefold()])
