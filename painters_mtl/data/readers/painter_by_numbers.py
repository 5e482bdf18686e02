"""Kaggle's competition "Painter by Numbers": train_info.csv and all_data_info.csv, and the faults in them."""

import re
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.collection import Collection, Reading, add_note, image_place, image_rank, join_images
from painters_mtl.data.columns import ALIASES, column_key
from painters_mtl.data.csv_table import TableFile, csv_header, read_csv
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.data.values import PAINTER_HASH, clean, mapped
from painters_mtl.images.files import ImageFile

_PART = re.compile(r"(?:^|/)(train|test)(?:_\d+)?[/.]")
TABLES = ("all_data_info", "train_info")


def its_tables(collection: Collection) -> dict[str, TableFile]:
    """The competition's tables in the folder or one level below: {"train_info": ...}; {} where there is none."""
    tables: dict[str, TableFile] = {}
    for name in TABLES:
        for table in collection.tables:
            if table.stem.lower() == name and collection.base(table).count("/") == 0:
                tables.setdefault(name, table)
    return tables


def has_its_columns(collection: Collection, table: TableFile) -> bool:
    """Whether a table has the columns without which `read` can make nothing of it."""
    if table.ending != "csv":
        return False
    keys, given = set(map(column_key, csv_header(table))), collection.settings.columns
    return all(keys & {column_key(given.get(ours, "")), *ALIASES[ours]} for ours in ("filename", "painter"))


def read(collection: Collection, tables: Mapping[str, TableFile]) -> Reading:
    """Images are joined to rows by their bare name."""
    notes = collection.notes
    headers = {name: csv_header(table) for name, table in tables.items()}
    for ours, theirs in collection.settings.columns.items():
        if not any(column_key(theirs) in map(column_key, header) for header in headers.values()):
            has = "; ".join(f"{name} has {', '.join(header)}" for name, header in headers.items())
            raise UserError(f"--columns {ours}={theirs}: there is no column {theirs}; {has}")
    read = {name: _columns(collection, table) for name, table in tables.items()}
    full, train = read.get("all_data_info"), read.get("train_info")
    named = set() if full is None else set(full["filename"])
    frames = [] if full is None else [full.assign(train=False)]
    if train is not None:
        frames.append(train[~train["filename"].isin(named)].assign(train=True))
    rows = pd.concat(frames, ignore_index=True).fillna("")
    trimmed = mapped(rows["painter"], clean)
    collection.note(int((trimmed != rows["painter"]).sum()), "cells of painter were cleaned (white space).")
    rows["painter"] = trimmed
    if full is not None:
        hashes = {} if train is None else dict(zip(train["filename"], train["painter"], strict=True))
        rows["train"] |= rows["filename"].isin(hashes)
        rows = _repair_painters(rows, hashes, notes)

    images = collection.images
    chosen: dict[str, str] = {}  # bare name to id
    for image_id in sorted(images, key=lambda i: image_rank(i, images[i])):
        chosen.setdefault(image_id.rpartition("/")[2], image_id)
    collection.note(
        len(images) - len(chosen), "images have the file name of another, which is used (replacements first)."
    )
    rows = rows.assign(id=[chosen.get(name, "") for name in rows["filename"]])
    once = replace(collection, images={i: images[i] for i in chosen.values()})
    title = " and ".join(table.name.removesuffix(".zip") for table in tables.values())
    rows = join_images(once, rows, title)
    hashed = int(rows["painter"].str.fullmatch(PAINTER_HASH).sum())
    collection.note(hashed, "paintings have a painter known only as a hash; all_data_info.csv would give the names.")
    rows = rows.assign(competition=_competition_part(rows, images))
    return Reading("painter-by-numbers", f"read as the competition Painter by Numbers: {title}", rows)


def _columns(collection: Collection, table: TableFile) -> pd.DataFrame:
    """A table with our names for its columns, the missing ones empty."""
    given = collection.settings.columns
    own = {task: given.get(task, task) for task in collection.settings.task_names() if task not in TASK_NAMES}
    by_key = {column_key(name): name for name in csv_header(table)}
    extra = {"in_train": "in_train", "artist_group": "artist_group"}
    extra |= {task: by_key.get(column_key(name), name) for task, name in own.items()}
    aliases = {ours: ALIASES[ours] for ours in ("filename", *TASK_NAMES, "title", "date")}
    aliases |= {  # one of its two tables may lack the column
        ours: (by_key.get(column_key(name), name), *aliases[ours]) for ours, name in given.items() if ours in aliases
    }
    frame = read_csv(
        table, collection.notes, {*extra.values(), *(name for names in aliases.values() for name in names)}
    )
    columns = {ours: next((name for name in names if name in frame), "") for ours, names in aliases.items()}
    if not columns["filename"] or not columns["painter"]:
        names = ", ".join(csv_header(table))
        raise UserError(
            f"{table}: needs the columns filename (or new_filename) and painter (or artist); it has {names}"
        )
    cells = {ours: frame[theirs] if theirs else "" for ours, theirs in columns.items()}
    result = pd.DataFrame(cells, frame.index, dtype=object)
    for ours, theirs in extra.items():
        if theirs in frame:
            result[ours] = frame[theirs]
    result["filename"] = mapped(result["filename"], lambda name: clean(name.replace("\\", "/")).removeprefix("./"))
    return result


def _competition_part(rows: pd.DataFrame, images: Mapping[str, ImageFile]) -> list[str]:
    """ "train" or "test": by the column in_train, else by train_info.csv, else by the folder or zip of the image."""
    stated = rows["in_train"].str.lower() if "in_train" in rows else [""] * len(rows)
    parts: list[str] = []
    for image_id, in_train, in_train_info in zip(rows["id"], stated, rows["train"], strict=True):
        part = {"true": "train", "false": "test"}.get(in_train, "train" if in_train_info else "")
        if not part and (seen := _PART.search(image_place(image_id, images[image_id]))):
            part = seen[1]
        parts.append(part)
    return parts


def _repair_painters(table: pd.DataFrame, hashes: Mapping[str, str], notes: list[str]) -> pd.DataFrame:
    """Undo a fault of all_data_info.csv: of a title with a comma, the end stands in the artist column.

    With train_info.csv the hash tells the true painter (the name most rows of that hash have). For rows without a hash
    such a name is recognised by (1) being a proven end of a title elsewhere, (2) contradicting the column artist_group,
    which was made from the true painters ("train_and_test", but no row of that name in one of the two), or (3) marks
    that no painter's name has. The name goes back to the title, and the painter is the true one or "".
    """
    painter = table["painter"]
    hash_of_row = pd.Series([hashes.get(name, "") for name in table["filename"]], table.index, dtype=object)
    doubtful = _contradicted(table) | {name for name in painter.unique() if _is_no_name(name)}
    hashed = pd.DataFrame({"hash": hash_of_row, "painter": painter})[hash_of_row != ""]
    votes = hashed.value_counts().reset_index(name="n")
    votes["doubtful"] = votes["painter"].isin(doubtful)
    votes = votes.sort_values(["doubtful", "n", "painter"], ascending=[True, False, True])
    name_of = votes.drop_duplicates("hash").set_index("hash")["painter"].to_dict()

    true = pd.Series([name_of.get(h, p) for h, p in zip(hash_of_row, painter, strict=True)], table.index, dtype=object)
    real = set(name_of.values())
    proven = pd.DataFrame({"name": painter, "true": true})[(true != painter) & ~painter.isin(real)]
    owners = {name: set(true_names) for name, true_names in proven.groupby("name")["true"]}
    guess = {name: "" for name in doubtful - real}
    guess |= {name: min(names) if len(names) == 1 else "" for name, names in owners.items()}
    true = true.where(hash_of_row != "", mapped(painter, lambda name: guess.get(name, name)))
    moved = true != painter
    is_hash = painter.str.fullmatch(PAINTER_HASH)  # a row of train_info.csv alone: its title is whole
    count, unknown = int((moved & ~is_hash).sum()), int((true[moved & ~is_hash] == "").sum())
    how = f"the painter of {count - unknown:,} found by hash ({unknown:,} remain unknown)"
    add_note(notes, count, f"rows had the end of their title in the artist column; it was moved back, and {how}.")
    title = (table["title"] + ", " + painter).str.removeprefix(", ")
    return table.assign(painter=true, title=table["title"].where(~moved | is_hash, title))


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
