"""A table with a row an image: labels.csv, or any other, alone or one a part of a split."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.collection import Collection, Reading, folder_of, join_images
from painters_mtl.data.columns import choose_columns, column_key, file_columns, wanted_columns
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.image_names import ImageNames
from painters_mtl.data.known_names import kind_of_names, part_of_name
from painters_mtl.data.readers.class_folders import folder_label, some_names
from painters_mtl.data.record_tables import picture_columns
from painters_mtl.data.tables import column_names, read_table
from painters_mtl.data.values import clean, mapped

SAMPLE = 500  # rows by which the column of file names is told


def read(collection: Collection, tables: Sequence[TableFile], layout: str = "table") -> Reading:
    """The rows of the tables whose images are there; each table's name or folder may say the part of a split."""
    names = ImageNames(collection.folder, collection.images)
    frames, columns = [], dict[str, str]()
    for table in tables:
        frame, chosen = _labels(collection, table, names)
        frames.append(frame)
        columns |= chosen
    rows = pd.concat(frames, ignore_index=True).fillna("") if len(frames) > 1 else frames[0]
    title = " and ".join(dict.fromkeys(table.name for table in tables))
    unclear = rows["filename"][rows["id"] == " "]
    collection.note(
        len(unclear),
        f"file names of {title} fit several images (such as {min(unclear, default='')!r}): write their folders.",
    )
    rows = join_images(collection, rows, title)
    if not any(rows["part"]):
        levels = collection.levels()
        rows = rows.assign(part=[levels.parts[folder_of(i)] for i in rows["id"]])
    _note_folders(collection, columns)
    used = ", ".join(
        ours if column_key(theirs) == ours else f"{ours} from {theirs}"
        for ours, theirs in columns.items()
        if ours not in ("filename", "title", "date", "part")
    )
    return Reading(layout, f"read as a table, {title}: {used}", rows)


def _note_folders(collection: Collection, columns: Iterable[str]) -> None:
    """Note what folders say that the tables do not, since it is not read."""
    names = [folder_label(name) for name in collection.levels().names()]
    kind = kind_of_names(names)[0] or "painter"
    wanted = kind in collection.settings.task_names() and kind not in columns
    if wanted and len(names) > 1 and not all(re.fullmatch(r"[\d\W_]+", name) for name in names):
        collection.notes.append(
            f"the folders of the images ({some_names(names)}) are not read as labels, since a table says what the "
            f"images are (--folders {kind} reads them in its place)."
        )


def names_most_images(collection: Collection, table: TableFile) -> bool:
    """Whether a table names at least half of the images that lie in class folders, or of all where there are none.

    Asked of some of its rows, and of their number. So a table of other works, or of those that a competition asks
    about, is not taken for the labels.
    """
    all_names = column_names(table)
    frame = read_table(table, wanted_columns(all_names, collection.settings), [])
    classes = collection.levels().classes
    in_classes = {i for i in collection.images if classes[folder_of(i)]} or set(collection.images)
    sample = frame[:: max(1, len(frame) // SAMPLE)]
    names, base = ImageNames(collection.folder, in_classes), collection.base(table)
    columns = file_columns(frame, all_names, collection.settings, table.name)
    hits = max(sum(map(bool, names.match(sample[column].tolist(), base))) for column in columns)
    return 2 * len(frame) * hits >= len(in_classes) * len(sample)


def _labels(collection: Collection, table: TableFile, names: ImageNames) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of one table under our names for its columns, with `id`, " " where several images fit; and the names."""
    settings, notes = collection.settings, collection.notes
    all_names = column_names(table)
    frame = read_table(table, wanted_columns(all_names, settings), notes)
    files = file_columns(frame, all_names, settings, table.name)
    chosen = choose_columns(frame, all_names, settings, table.name, notes)
    base = collection.base(table)
    files = [name for name in files if name not in chosen.values()] or files
    sample = frame[:: max(1, len(frame) // SAMPLE)]
    hits = {name: sum(map(bool, names.match(sample[name].tolist(), base))) for name in files}
    column = max(files, key=lambda name: hits[name])
    if not hits[column] and table.ending == "parquet" and column in picture_columns(table):
        raise UserError(
            f"{table}: its column {column} holds the pictures themselves, and only files are read: save them as files, "
            "with their names in a column file_name"
        )
    ids = names.match(frame[column].tolist(), base)
    part = part_of_name(table.stem) or part_of_name(base.rpartition("/")[2])
    if part and any(len(fitting) > 1 for fitting in ids):  # train/1.jpg and test/1.jpg, and train.csv calls it 1
        parts = collection.levels().parts
        ids = [[i for i in fitting if parts[folder_of(i)] == part] or fitting for fitting in ids]
    ours = {"filename": column, **chosen}
    rows = pd.DataFrame({name: frame[theirs] for name, theirs in ours.items()}, frame.index, dtype=object)
    rows["id"] = pd.Series(["" if not i else i[0] if len(i) == 1 else " " for i in ids], frame.index, dtype=object)
    if "part" in rows:
        said, rows["part"] = rows["part"], mapped(rows["part"], part_of_name)
        if strange := sorted({clean(text) for text in said[rows["part"] == ""]} - {""}):
            notes.append(
                f"{table.name}: {chosen['part']} is no part of a split where it is {', '.join(strange[:3])}"
                f"{' ...' if len(strange) > 3 else ''} (train, validation and test are)."
            )
    else:
        rows["part"] = part
    return rows, ours
