"""What a folder is taken for: one function, `read_layout`. A new layout is a file in readers/ and a line here."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import counted
from painters_mtl.data.collection import Collection, Reading, without_small_copies
from painters_mtl.data.columns import column_key, names_files_and_labels
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.known_names import SHARD, part_of_name
from painters_mtl.data.locations import LAYOUTS
from painters_mtl.data.readers import (
    best_artworks,
    class_folders,
    image_folder,
    painter_by_numbers,
    table,
    wikiart,
)
from painters_mtl.data.tables import column_names, table_at
from painters_mtl.data.tasks import are_predictions
from painters_mtl.images.names import is_passed_over


def read_layout(collection: Collection) -> Reading:
    """What the folder holds, by the first layout that it fits: what the user says, then what the tables say, then the
    names of files and folders.

    Raises `UserError` when it fits none, and when it is not clear which it is: nothing is trained on by a guess.
    """
    settings = collection.settings
    competition = painter_by_numbers.its_tables(collection)
    if settings.table:
        named = table_at(settings.table, collection.folder)
        its_own = {name: each for name, each in competition.items() if _is_same(each, named)}
        if its_own and painter_by_numbers.has_its_columns(collection, named):
            return painter_by_numbers.read(collection, its_own)
        return table.read(_once(collection), [named])
    if settings.folders:
        if settings.folders in ("style", "genre") and wikiart.fits(collection):
            return wikiart.read(_once(collection))
        return class_folders.read(_once(collection))
    if competition and not _columns_are_elsewhere(collection, list(competition.values())):
        return painter_by_numbers.read(collection, competition)
    collection = _once(collection)
    has_classes = len(collection.levels().names()) > 1
    if tables := _labels_tables(collection, has_classes):
        _note_others(collection, tables)
        return table.read(collection, tables, "labels.csv" if tables[0].name.lower() == "labels.csv" else "table")
    if tables := [t for t in named_tables(collection, "metadata") if _is_usable(collection, t)]:
        _note_others(collection, tables)
        return image_folder.read(collection, tables)
    if painters := best_artworks.painters_table(collection):
        return best_artworks.read(collection, painters)
    is_wikiart = wikiart.fits(collection)
    tables = [t for t in collection.tables if not (is_wikiart and wikiart.is_own_table(t))]
    if tables := _usable_tables(collection, tables, ask_images=is_wikiart or has_classes):
        return table.read(collection, tables)
    if is_wikiart:
        return wikiart.read(collection)
    if has_classes:
        return class_folders.read(collection)
    if collection.images and not collection.tables:
        raise UserError(
            f"{collection.folder} has {counted(len(collection.images), 'picture')}, and nothing says what they show: "
            "to label them, painters-mtl predict; to train on them, sort them into one sub-folder a painter, style or "
            f"genre, or add a labels.csv (filename, painter, style, genre){_columns_hint(collection)}"
        )
    raise UserError(f"{collection.folder}: needs {LAYOUTS}; it has {_contents(collection)}{_columns_hint(collection)}")


def _is_same(one: TableFile, other: TableFile) -> bool:
    return one.member == other.member and one.path.samefile(other.path)


def _columns_are_elsewhere(collection: Collection, tables: list[TableFile]) -> bool:
    """Whether --columns names columns that none of these tables has, and another table does."""

    def keys(of: Iterable[TableFile]) -> set[str]:
        found = set()
        for each in of:
            with suppress(UserError):  # no table, whatever its ending
                found |= set(map(column_key, column_names(each)))
        return found

    lacking = set(map(column_key, collection.settings.columns.values())) - keys(tables)
    return bool(lacking) and lacking <= keys(each for each in collection.tables if each not in tables)


def named_tables(collection: Collection, stem: str) -> list[TableFile]:
    """The tables of a name: the highest, and of those one a folder (labels.csv goes before labels.parquet)."""
    tables = [t for t in collection.tables if t.stem.lower() == stem and not _holds_predictions(collection, t)]
    by_folder: dict[str, list[TableFile]] = {}
    for candidate in tables:
        by_folder.setdefault(collection.base(candidate), []).append(candidate)
    highest = min((_depth(base) for base in by_folder), default=0)
    chosen = []
    for base, candidates in sorted(by_folder.items()):
        if _depth(base) == highest:
            first, *others = sorted(candidates, key=lambda t: (_ENDINGS.index(t.ending), t.name))
            chosen.append(first)
            if others:
                names = ", ".join(other.name for other in others)
                collection.notes.append(f"{names} lies beside {first.name} and is not read (--table takes it).")
    return chosen


def _labels_tables(collection: Collection, has_classes: bool) -> list[TableFile]:
    """labels.csv and its like. One without the columns is passed over where there are class folders, which it may only
    number; else whoever reads it says what it lacks."""
    tables = [t for t in named_tables(collection, "labels") if t.ending != "txt" or _is_usable(collection, t)]
    usable = [t for t in tables if not has_classes or _is_usable(collection, t)]
    for other in tables:
        if other not in usable:
            collection.notes.append(f"{other.name} does not say which image is what, and is not read.")
    return usable


def _note_others(collection: Collection, tables: list[TableFile]) -> None:
    """Note which other tables could label the images, beside those that go first by their name."""
    same = {t.stem.lower() for t in tables}
    for other in collection.tables:
        if other.stem.lower() not in same and other.ending != "txt" and _is_usable(collection, other):
            collection.notes.append(
                f"{other.name} could label the images too and is not read, but {tables[0].name} (--table takes it)."
            )


_ENDINGS = ("csv", "tsv", "txt", "jsonl", "ndjson", "parquet")


def _depth(base: str) -> int:
    return base.count("/") + 1 if base else 0


def _once(collection: Collection) -> Collection:
    """The same without the smaller copies of its images."""
    return replace(collection, images=without_small_copies(collection.images, collection.notes))


def _is_usable(collection: Collection, candidate: TableFile) -> bool:
    """Whether a table has columns for images and labels; one that cannot be read is not usable, and noted."""
    if "submission" in candidate.stem.lower() or _holds_predictions(collection, candidate):
        return False
    try:
        return names_files_and_labels(column_names(candidate), collection.settings)
    except UserError as error:
        if candidate.ending != "txt":  # which is more often prose
            collection.notes.append(f"{error}.")
        return False


def _holds_predictions(collection: Collection, candidate: TableFile) -> bool:
    """Whether a table is one that this program wrote of these pictures, which is noted once."""
    try:
        holds = are_predictions(column_names(candidate))
    except UserError:  # whoever reads it says why
        return False
    note = f"{candidate.name} holds labels that predict or embed wrote, and is not read (--table takes it)."
    if holds and note not in collection.notes:
        collection.notes.append(note)
    return holds


def _usable_tables(collection: Collection, tables: list[TableFile], ask_images: bool) -> list[TableFile]:
    """The one table that can label images, those of a split (train.csv, test.csv), or the pieces of one; else none.

    Raises `UserError` where several can, since it is not clear which is meant.

    Args:
        ask_images: only a table that names most images: where their names or folders say what they are, another table
            says something else.
    """
    tables = [t for t in tables if _is_usable(collection, t)]
    if ask_images:
        tables = [t for t in tables if table.names_most_images(collection, t)]
    whole = {SHARD.sub("", t.stem) for t in tables}
    parts = [part_of_name(stem) for stem in whole]
    if len({t.stem for t in tables}) == len(tables) and (
        len(whole) < 2 or (all(parts) and len(set(parts)) == len(parts))
    ):
        return tables
    names = ", ".join(sorted(str(replace(t, path=t.path.relative_to(collection.folder))) for t in tables))
    raise UserError(f"{collection.folder}: several tables could hold the labels ({names}): name one by --table FILE")


def _columns_hint(collection: Collection) -> str:
    """The columns of the first table, none of which is called as expected, and the option that says what they hold."""
    given = collection.settings.columns.values()
    tables: list[tuple[TableFile, list[str]]] = []
    predictions = ""
    for candidate in collection.tables:
        with suppress(UserError):  # no table, whatever its ending
            names = [name for name in column_names(candidate) if name]
            if are_predictions(names):
                predictions = f". {candidate.name} holds labels that predict or embed wrote (--table takes it)"
            elif len(names) > 1:
                tables.append((candidate, names))
    if tables:  # of several the one that --columns means, else the first
        candidate, names = max(tables, key=lambda each: sum(_is_among(name, each[1]) for name in given))
        columns = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        if lacking := sorted(name for name in given if not _is_among(name, names)):
            return f". {candidate.name} has no column {', '.join(lacking)} (--columns); it has {columns}"
        return (
            f". {candidate.name} has the columns {columns}: if it says what the images show, name them, as in "
            "--columns filename=COLUMN painter=COLUMN, or take some as the tasks with --tasks"
        )
    if predictions:
        return predictions
    folder = collection.folder.absolute()
    for above in folder.parents[:2]:
        for name in ("labels.csv", "metadata.csv", "metadata.jsonl"):
            if (above / name).is_file():
                return f". Above it lies {above / name}: --data {above} reads it, and so does --table {above / name}"
    for path in sorted(collection.folder.iterdir()):
        if path.suffix.lower() in _OTHER_TABLES and not is_passed_over(path.name):
            return f". {path.name} is no table that is read here: save it as CSV, or as JSON lines (.jsonl)"
    return ""


def _is_among(name: str, names: Iterable[str]) -> bool:
    return column_key(name) in map(column_key, names)


_OTHER_TABLES = (".xlsx", ".xls", ".ods", ".numbers", ".json", ".xml", ".yaml", ".yml", ".db", ".sqlite", ".arrow",
                 ".feather", ".pkl")  # fmt: skip


def _contents(collection: Collection) -> str:
    """What lies in the folder, in a few words."""
    names = sorted({path.name + "/" * path.is_dir() for path in collection.folder.iterdir()})
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}, with {len(collection.images):,} images"
