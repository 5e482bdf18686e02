"""Folders whose names are the classes: one a painter, style or genre, on one level or two."""

import re
from collections import Counter

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.collection import Collection, Reading, folder_of, with_files
from painters_mtl.data.folder_levels import FolderLevels
from painters_mtl.data.known_names import kind_of_name, kind_of_names
from painters_mtl.data.values import clean, clean_painter

WAY_OUT = "say what the folders are: --folders painter, style or genre, two levels as style/painter or */painter"


def read(collection: Collection) -> Reading:
    """A label from each folder above an image that is the name of a class. Raises `UserError` where it is not clear."""
    levels = collection.levels()
    kinds = collection.settings.folders.split("/") if collection.settings.folders else _kinds(collection, levels)
    deepest = max(map(len, levels.classes.values()), default=0)
    if deepest < len(kinds) and collection.settings.folders:
        raise UserError(
            f"{collection.folder}: --folders {collection.settings.folders} names {len(kinds)} levels of folders, and "
            f"there are {deepest} above the images"
        )
    rows = class_rows(collection, levels, kinds)
    named = [kind for kind in kinds if kind != "*"]
    rows = rows[(rows[named] != "").any(axis=1)].reset_index(drop=True)
    for kind in named:
        above = rows["id"][rows[kind] == ""]
        collection.note(len(above), f"images are in no folder of a {kind} (such as {above.min()}), but above these.")
    collection.note(
        len(collection.images) - len(rows), f"of the {len(collection.images):,} images are in no class folder"
        " and are left out."
    )  # fmt: skip
    seen = [f"{kind} from the folder ({some_names(levels.names(i))})" for i, kind in enumerate(kinds) if kind != "*"]
    return Reading("folders", f"read as class folders: {', '.join(seen)}", rows)


def class_rows(collection: Collection, levels: FolderLevels, kinds: list[str]) -> pd.DataFrame:
    """A row for each image in a class folder: id, file, member, part, and a label for each of `kinds`, by level.

    The label is "" for an image that lies above that level.
    """
    ids = [i for i in collection.images if levels.classes[folder_of(i)] or not kinds]
    rows = pd.DataFrame({"id": ids, "filename": ids}, dtype=object)
    folders = [folder_of(i) for i in ids]
    paths = [levels.classes[folder] for folder in folders]
    for level, kind in enumerate(kinds):
        if kind != "*":
            names = _labels_of(levels, level)
            rows[kind] = [names[path[level]] if len(path) > level else "" for path in paths]
    rows["part"] = [levels.parts[folder] for folder in folders]
    return with_files(rows, [collection.images[i] for i in ids])


def _kinds(collection: Collection, levels: FolderLevels) -> list[str]:
    """What each level of folders holds, by its names. Raises `UserError` where they do not say it."""
    names = levels.names()
    where = collection.folder
    if odd := [name for name in levels.odd if name in names]:
        others = [name for name in names if name not in odd]
        raise UserError(
            f"{where}: folders called {some_names(odd)} stand beside {some_names(others)}: put the images of "
            f"each class into its folder and take away what is no class, or {WAY_OUT}"
        )
    if all(re.fullmatch(r"[\d\W_]+|[0-9a-f]{1,2}", name) for name in names):
        raise UserError(
            f"{where}: the folders are called {some_names(names)}, which are no names of classes; {WAY_OUT}"
        )
    first = level_kind(collection, names)
    if levels.depth() < 2 and not _has_strays(levels, first):
        return [first or "painter"]
    second = level_kind(collection, levels.names(1))
    if first and not second and any(re.search(r"\d", name) for name in levels.names(1)):
        return [first]  # batches, years: no painters
    if first and second != first:
        return [first, second or "painter"]
    if second and not first:
        return ["painter", second]
    if all(len(below) == 1 for below in _below(levels).values()):
        return [first or "painter"]
    example = "/".join(min(names[:2] for names in levels.classes.values() if len(names) > 1))
    raise UserError(
        f"{where}: there are folders on two levels ({example} ...), and either may be the classes; {WAY_OUT}"
    )


def level_kind(collection: Collection, names: list[str]) -> str:
    """ "style" or "genre" where the names are well-known ones, "" where none is. Raises `UserError` for a mixture."""
    named = [name for name in names if clean_painter(folder_label(name))]
    kind, others = kind_of_names([folder_label(name) for name in named])
    if kind:
        collection.note(
            len(others),
            f"folders have no well-known name of a {kind} ({some_names(others)}); each is taken for a {kind} too.",
        )
        return kind
    if well_known := [name for name in named if kind_of_name(folder_label(name))]:
        raise UserError(
            f"{collection.folder}: of the {len(names):,} folders some are called as styles or genres "
            f"({some_names(well_known)}) and others are not ({some_names(others)}); {WAY_OUT}"
        )
    return ""


def _has_strays(levels: FolderLevels, first: str) -> bool:
    """Whether there are two levels of classes, though some pictures lie above the second: few, in some folders only.

    What is found under most folders (good, bad; early, late) is no class, and of names that nobody knows, one level is
    enough.

    Args:
        first: what the first level holds, by its names; "" where they do not say it.
    """
    if levels.depth_of_most() < 2:
        return False
    tops, below = levels.names(), _below(levels)
    with_pictures = {names[0] for names in levels.classes.values() if len(names) == 1}
    shared = Counter(name for names in below.values() for name in names)
    known = first or kind_of_names([folder_label(name) for name in levels.names(1)])[0]
    return bool(known) and len(with_pictures) < len(tops) and (len(tops) < 2 or 2 * max(shared.values()) <= len(tops))


def _below(levels: FolderLevels) -> dict[str, set[str]]:
    """The names on the second level, by those on the first."""
    below: dict[str, set[str]] = {}
    for names in levels.classes.values():
        if len(names) > 1:
            below.setdefault(names[0], set()).add(names[1])
    return below


def _labels_of(levels: FolderLevels, level: int) -> dict[str, str]:
    """The class of each folder of a level: its label, and its whole name where the number tells it from a folder beside
    it (1900_Paris, 1920_Paris), and not from one elsewhere (train/01_Monet, test/02_Monet)."""
    beside: dict[tuple[str, ...], set[str]] = {}
    for folder, names in levels.classes.items():
        if len(names) > level:
            beside.setdefault((levels.parts[folder], *names[:level]), set()).add(names[level])
    whole = set()
    for together in beside.values():
        times = Counter(map(folder_label, together))
        whole |= {name for name in together if times[folder_label(name)] > 1}
    return {
        name: clean(name.replace("_", " ")) if name in whole else folder_label(name) for name in levels.names(level)
    }


def folder_label(name: str) -> str:
    """A folder's name as a class: 02_Claude_Monet is Claude Monet."""
    return clean(re.sub(r"^\d+[-_. ]+(?=\D)", "", name).replace("_", " "))


def some_names(names: list[str], count: int = 3) -> str:
    """The first few of some names."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(folder_label(name) for name in names[:count]) + more
