"""The tables of `pairs`: which pictures a table of pairs names, who painted them, and all pairs in chunks."""

import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.interrupts import stop_if_requested
from painters_mtl.common.messages import ProgressBar, say
from painters_mtl.data.catalog import read_catalog, tidy
from painters_mtl.data.columns import ALIASES, choose_columns, column_key, file_columns, wanted_columns
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.image_names import ImageNames
from painters_mtl.data.settings import CollectionSettings
from painters_mtl.data.tables import column_names, read_table
from painters_mtl.images.files import ImageFile

CHUNK = 200_000  # pairs in memory at once
COLUMNS = ("index", "image1", "image2")

PairChunk = tuple[Sequence[str], np.ndarray, np.ndarray]
"""What stands before the score in each row, and the positions of the two pictures, int (pairs,); -1: missing."""


# ------------------------------------------------------------------------------------------------- pictures by name


def images_by_name(files: Sequence[ImageFile]) -> dict[str, ImageFile]:
    """Pictures by their bare names. Of two, a replacement (the competition has some) goes first, then a plain file."""
    by_name: dict[str, ImageFile] = {}
    for file in sorted(files, key=_replacements_first):
        by_name.setdefault(file.name, file)
    _note_replaced(len(files) - len(by_name))
    return by_name


def images_of_names(files: Sequence[ImageFile], names: Sequence[str]) -> dict[str, ImageFile]:
    """The pictures that names of a table mean, bare ones or with folders, in their order; those not found are left out.

    Of two pictures of a name a replacement goes first, then a plain file.
    """
    found: dict[str, ImageFile] = {}
    bare_names = [name for name in names if "/" not in name]
    if bare_names:
        by_name = images_by_name(files)
        found |= {name: by_name[image] for name, image in match_names(bare_names, by_name).items()}
    if len(bare_names) < len(names):
        depth = max(name.count("/") for name in names) + 1
        by_end: dict[str, ImageFile] = {}
        for file in sorted(files, key=_replacements_first):
            by_end.setdefault("/".join(str(file).split("/")[-depth:]), file)
        others = [name for name in names if "/" in name]
        found |= {name: by_end[image] for name, image in match_names(others, by_end).items()}
    return {name: found[name] for name in names if name in found}


def _replacements_first(file: ImageFile) -> tuple[bool, bool]:
    return "replacement" not in str(file).lower(), bool(file.member)


def images_by_shortest_name(files: Sequence[ImageFile]) -> dict[str, ImageFile]:
    """Pictures by their bare names, or by their paths where several have the same bare name.

    A picture in a zip that has the name of a plain file is that file: a folder may lie beside its zip.
    """
    plain = {file.name for file in files if not file.member}
    kept = [file for file in dict.fromkeys(files) if not file.member or file.name not in plain]
    _note_replaced(len(files) - len(kept))
    counts = Counter(file.name for file in kept)
    return {file.name if counts[file.name] == 1 else str(file): file for file in kept}


def _note_replaced(count: int) -> None:
    if count:
        have = "picture has" if count == 1 else "pictures have"
        say(f"note: {count:,} {have} the file name of another, which is used instead")


def match_names(names: Collection[str], images: Collection[str]) -> dict[str, str]:
    """{name: image} for the names of a table that mean one of the images, in the order of the names.

    A name that is none of theirs may be spelled in another case, without its ending or without the zeros before a
    number; then it means an image that no other name means.
    """
    listed = set(images)
    others = [name for name in names if name not in listed]
    free = listed.difference(names)
    loosely = dict(zip(others, ImageNames(Path(), free).match(others), strict=True)) if free else {}
    matches = {name: [name] if name in listed else loosely.get(name, []) for name in names}
    unclear = [name for name, fitting in matches.items() if len(fitting) > 1]
    if unclear:
        say(f"note: {len(unclear):,} names fit several pictures ({some(unclear)}); left out: write their endings")
    return {name: fitting[0] for name, fitting in matches.items() if len(fitting) == 1}


def bare(name: str) -> str:
    """The file name at the end of a path."""
    return name.rsplit("/", 1)[-1]


def some(words: Sequence[str]) -> str:
    """The first three."""
    return ", ".join(words[:3]) + (" ..." if len(words) > 3 else "")


# ------------------------------------------------------------------------------------------------- who painted them


def read_painters(place: Path) -> dict[str, str]:
    """Who painted what, by the bare name of the picture; those not known are left out. Raises `UserError`.

    So are names that pictures of several painters have (`Degas/1.jpg`, `Monet/1.jpg`): which is meant is not known.
    Painters that differ only in case are one, in a table as in a folder.

    Args:
        place: a data folder as for train, or a table with the columns filename and painter.
    """
    table = read_catalog(place).table if place.is_dir() else _labels_table(place)
    painters: dict[str, set[str]] = {}
    for name, painter in zip(map(bare, table["id"]), table["painter"], strict=True):
        painters.setdefault(name, set()).add(painter)
    if doubtful := [name for name, several in painters.items() if len(several) > 1]:
        say(f"note: {len(doubtful):,} names in {place} have several painters ({some(doubtful)}); left out")
    return {name: painter for name, (painter, *others) in painters.items() if painter and not others}


def _labels_table(file: Path) -> pd.DataFrame:
    """The columns `id` and `painter` of a table, clean as those of a data folder's catalogue."""
    table, settings, notes = TableFile(file), CollectionSettings(), list[str]()
    if not table.ending:
        raise UserError(f"--labels {file} must be a folder, or end in .csv, .tsv, .jsonl or .parquet")
    names = column_names(table)
    frame = read_table(table, wanted_columns(names, settings), notes)
    try:
        files = file_columns(frame, names, settings, table.name)[0]
        painter = choose_columns(frame, names, settings, table.name, notes)["painter"]
    except (UserError, KeyError) as error:
        has_both = all(any(column_key(n) in ALIASES[of] for n in names) for of in ("filename", "painter"))
        if has_both and isinstance(error, UserError):  # of the values
            raise
        raise UserError(f"--labels {file} needs the columns filename and painter; it has {', '.join(names)}") from None
    return tidy(pd.DataFrame({"id": frame[files], "painter": frame[painter]}, dtype=object), (), notes)


# ------------------------------------------------------------------------------------------------- the pairs


def survey_pairs(file: Path) -> tuple[int, list[str]]:
    """How many pairs there are, and the names of their pictures, in order of appearance; the whole table is checked.

    The names are bare, but for those that would then be the same as another (`Degas/1.jpg`, `Monet/1.jpg`).
    """
    count, names = 0, dict[str, None]()
    with ProgressBar(desc=f"reading {file.name}", unit=" pairs", unit_scale=True, delay=1) as progress:
        for table in _chunks(file):
            for column in COLUMNS[1:]:
                names.update(dict.fromkeys(table[column].cat.categories))
            count += len(table)
            progress.update(len(table))
    if not count:
        raise UserError(f"{file} has no pairs: it needs rows of {','.join(COLUMNS)}")
    counts = Counter(map(bare, names))
    return count, [bare(name) if counts[bare(name)] == 1 else name for name in names]


def read_pairs(file: Path, positions: Mapping[str, int]) -> Iterator[PairChunk]:
    """The pairs of a table in chunks.

    Args:
        positions: of the pictures, by the names that the table has for them; the others are missing.
    """
    for table in _chunks(file):
        columns = []
        for name in COLUMNS[1:]:
            cells = table[name].cat
            found = [positions.get(name, positions.get(bare(name), -1)) for name in cells.categories]
            of_category = np.array(found, np.int64)
            columns.append(of_category[cells.codes])
        yield quoted(table["index"].tolist()), columns[0], columns[1]


def all_pairs(names: Sequence[str]) -> Iterator[PairChunk]:
    """Every two of the pictures, in chunks."""
    rows = max(1, CHUNK // max(1, len(names)))
    cells = quoted(names)
    for start in range(0, len(names), rows):
        first, second = np.triu_indices(rows, start + 1, len(names))
        first += start
        if len(first):
            both = zip(first.tolist(), second.tolist(), strict=True)
            yield [f"{cells[a]},{cells[b]}" for a, b in both], first, second


def quoted(cells: Sequence[str]) -> Sequence[str]:
    """As they stand in a CSV."""
    special = set(',"\r\n')
    if special.isdisjoint("".join(cells)):
        return cells
    return [cell if special.isdisjoint(cell) else '"' + cell.replace('"', '""') + '"' for cell in cells]


def _chunks(file: Path) -> Iterator[pd.DataFrame]:
    """The table of the pairs, up to 200,000 rows at once; index is str, the images are categories of str.

    Raises `UserError` for a table that lacks a column, is no CSV or is torn.
    """
    row = 1  # the header's
    try:
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # rows longer than the header
            header = list(pd.read_csv(file, nrows=1, index_col=False, dtype=str))
        if lacking := [name for name in COLUMNS if name not in header]:
            raise UserError(f"{file} has no column {lacking[0]}: it needs {','.join(COLUMNS)}, it has {header}")
        with pd.read_csv(file, dtype=str, index_col=False, na_filter=False, chunksize=CHUNK) as reader:
            for table in reader:
                stop_if_requested()
                for name in COLUMNS:
                    # An empty cell, in which pandas also turns a cell that a short row does not have.
                    empty = (table[name] == "") | table[name].isna()
                    if empty.any():
                        where = row + 1 + int(empty.to_numpy().argmax())
                        raise UserError(f"{file} is torn: row {where:,} has no {name}; get a fresh copy of it")
                row += len(table)
                # Not by read_csv itself, which would make numbers of names such as 007.
                yield table.astype(dict.fromkeys(COLUMNS[1:], "category"))
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, pd.errors.ParserWarning) as error:
        raise UserError(f"{file} cannot be read behind row {row:,} ({str(error).strip()}): get a fresh copy") from error
