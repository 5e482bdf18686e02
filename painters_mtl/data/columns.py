"""What the columns of a table are: by the names that people give them, by what stands in them, or as the user says."""

from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.known_names import kind_of_names
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.data.values import clean, clean_label, clean_painter, list_of_names, name_key

_ALIASES = {  # what a column may be called, in lower case and without accents, the best name first
    "filename": ("filename", "new_filename", "file_name", "file", "path", "image", "filepath", "file_path",
                 "image_path", "image_name", "image_file", "img", "img_path", "image_id", "imageid", "picture", "datei",
                 "dateiname", "fichier", "nom_de_fichier", "archivo", "nome_file", "bestand", "bestandsnaam", "id"),
    "painter": ("painter", "artist", "artist_name", "painter_name", "author", "author_name", "creator", "artists",
                "maler", "kunstler", "kuenstler", "peintre", "artiste", "pintor", "pittore", "artista", "schilder",
                "kunstenaar"),
    "style": ("style", "style_name", "movement", "art_movement", "period", "styles", "stil", "stijl", "estilo",
              "stile"),
    "genre": ("genre", "genre_name", "subject", "category", "genres", "gattung", "genero", "genere"),
    "title": ("title", "titel", "titre", "titulo", "titolo"),
    "date": ("date", "year"),
    "part": ("split", "subset", "partition", "set"),
}  # fmt: skip
ALIASES: dict[str, tuple[str, ...]] = {  # artistName too: names of columns are compared in lower case
    ours: tuple(dict.fromkeys((*names, *(name.replace("_", "") for name in names)))) for ours, names in _ALIASES.items()
}
LABEL = ("label", "labels", "class", "target")  # columns that do not say what they hold


def column_key(name: str) -> str:
    """A column's name as it is compared: "Artist Name" and artist-name are artist_name."""
    return name_key(name).replace(" ", "_")


def wanted_columns(names: Iterable[str], settings: LabelSettings) -> set[str]:
    """Those of a table's columns that can be of use; the others are never read."""
    useful = {alias for aliases in ALIASES.values() for alias in aliases} | set(LABEL)
    useful |= {column_key(name) for name in (*settings.columns.values(), *settings.task_names())}
    return {name for name in names if column_key(name) in useful}


def names_files_and_labels(names: Iterable[str], settings: LabelSettings) -> bool:
    """Whether a table with these columns can label images."""
    keys = {column_key(name) for name in names}
    given = {ours: column_key(theirs) for ours, theirs in settings.columns.items()}
    labels = [given.get(task, "") for task in settings.task_names()] + list(settings.task_names()) + list(LABEL)
    labels += [alias for task in TASK_NAMES for alias in ALIASES[task]]
    return bool(keys & {given.get("filename", ""), *ALIASES["filename"]} and keys & set(labels))


def choose_columns(
    frame: pd.DataFrame, names: Collection[str], settings: LabelSettings, where: str, notes: list[str]
) -> dict[str, str]:
    """Our name for a column to the table's, for the labels, title, date and part; `file_columns` are asked apart.

    Args:
        frame: the columns that can be of use, see `wanted_columns`.
        names: all columns of the table.
        where: the table's name, for the sentences.

    Raises `UserError` for a column that --columns or --tasks name and the table has not, for a column "label" of which
    it cannot be told what it holds, and where there is no label at all.
    """
    by_key = {column_key(name): name for name in reversed(frame.columns)}
    chosen = {ours: _given(theirs, by_key, names, where, f"--columns {ours}={theirs}")
              for ours, theirs in settings.columns.items()}  # fmt: skip
    for task in settings.task_names():
        if task not in TASK_NAMES and task not in chosen:
            chosen[task] = _given(task, by_key, names, where, f"--tasks {task}")
    for ours in (*TASK_NAMES, "title", "date", "part"):
        if ours not in chosen:
            free = [by_key[a] for a in ALIASES[ours] if a in by_key and by_key[a] not in chosen.values()]
            if name := _fullest(ours, free, frame, where, notes):
                chosen[ours] = name
    if not any(task in chosen for task in (*TASK_NAMES, *settings.task_names())):
        chosen |= _unnamed_label(frame, by_key, names, where, notes)
    _styles_called_genres(chosen, frame, settings, where, notes)
    for task in (name for name in TASK_NAMES if name in chosen):
        names_of_classes = sorted({clean_label(value) for value in set(frame[chosen[task]])} - {""})
        if names_of_classes and all(name.isdecimal() for name in names_of_classes):
            notes.append(f"{where}: the classes of {task} are numbers ({_some(names_of_classes)}); nothing names them.")
    return chosen


def _given(name: str, by_key: Mapping[str, str], names: Collection[str], where: str, option: str) -> str:
    """The table's column that an option names. Raises `UserError` when there is none."""
    if column_key(name) in by_key:
        return by_key[column_key(name)]
    near = get_close_matches(column_key(name), [column_key(n) for n in names], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"{option}: {where} has no column {name}; it has {', '.join(names)}{hint}")


def _fullest(ours: str, free: list[str], frame: pd.DataFrame, where: str, notes: list[str]) -> str:
    """The first of the columns that holds at least half as many values as any of them; "" where all are empty."""
    function = clean_painter if ours == "painter" else clean_label
    if len(free) == 1 and any(function(str(value)) for value in frame[free[0]]):
        return free[0]  # nothing to compare: the titles of a large table are not all looked at
    counts = {name: _values(frame[name], function) for name in free}
    full = [name for name in free if counts[name] and 2 * counts[name] >= max(counts.values())]
    if not full:
        words = sorted({clean(str(value)) for name in free for value in frame[name]} - {""})
        if ours in TASK_NAMES and words:
            notes.append(f"{where}: no cell of {free[0]} names a class (such as {words[0]}); {ours} is not read.")
        return ""
    others = [name for name in free if counts[name] and name != full[0]]
    if ours in TASK_NAMES and others:
        notes.append(
            f"{where}: {ours} is read from the column {full[0]}, and {', '.join(others)} is not read "
            f"(--columns {ours}={others[0]} takes that one)."
        )
    return full[0]


def _values(column: pd.Series, function: Callable[[str], str]) -> int:
    """How many cells say something."""
    counts = column.value_counts()
    return sum(int(n) for value, n in counts.items() if function(str(value)))


def _unnamed_label(
    frame: pd.DataFrame, by_key: Mapping[str, str], names: Collection[str], where: str, notes: list[str]
) -> dict[str, str]:
    """What a column "label" is taken for: styles or genres, where its names are well-known ones."""
    for key in LABEL:
        if key in by_key:
            values = sorted({clean_label(value) for value in set(frame[by_key[key]])} - {""})
            kind, _ = kind_of_names(values)
            if kind:
                notes.append(f"{where}: the column {by_key[key]} holds {kind}s ({_some(values)}).")
                return {kind: by_key[key]}
            raise UserError(
                f"{where} does not say what its column {by_key[key]} holds ({_some(values)}): add --columns "
                f"painter={by_key[key]}, or style= or genre="
            )
    if empty := [by_key[alias] for task in TASK_NAMES for alias in ALIASES[task] if alias in by_key]:
        raise UserError(
            f"in {where} no picture has a painter, style or genre ({', '.join(empty)}: no value): there is nothing to "
            "learn"
        )
    raise UserError(
        f"{where}: needs the columns filename (or {', '.join(ALIASES['filename'][1:6])} ...) and painter or style or "
        f"genre; it has {', '.join(names)}; others are named by --columns painter=NAME style=NAME"
    )


def _styles_called_genres(
    chosen: dict[str, str], frame: pd.DataFrame, settings: LabelSettings, where: str, notes: list[str]
) -> None:
    """Put right a column "genre" that holds styles, as Kaggle's tables of painters have it, where no other does."""
    for ours, kind in (("genre", "style"), ("style", "genre")):
        if ours in chosen and kind not in chosen and ours not in settings.columns:
            values = {name for value in set(frame[chosen[ours]]) for name in (list_of_names(clean(value)) or [value])}
            values = {clean_label(value) for value in values} - {""}
            if kind_of_names(values)[0] == kind:
                chosen[kind] = chosen.pop(ours)
                sentence = f"{where}: the column {chosen[kind]} holds {kind}s ({_some(sorted(values))})"
                notes.append(f"{sentence}; --columns {ours}={chosen[kind]} if not.")


def file_columns(frame: pd.DataFrame, names: Collection[str], settings: LabelSettings, where: str) -> list[str]:
    """The columns that may hold the file names, the likeliest first. Raises `UserError` where there is none."""
    by_key = {column_key(name): name for name in reversed(frame.columns)}
    if theirs := settings.columns.get("filename"):
        return [_given(theirs, by_key, names, where, f"--columns filename={theirs}")]
    columns = [by_key[alias] for alias in ALIASES["filename"] if alias in by_key]
    if not columns:
        raise UserError(
            f"{where}: needs the columns filename (or {', '.join(ALIASES['filename'][1:6])} ...) and painter or style "
            f"or genre; it has {', '.join(names)}; name the one with the images' names by --columns filename=NAME"
        )
    return columns


def _some(names: Collection[str], count: int = 3) -> str:
    """The first few of some names."""
    more = ", ..." if len(names) > count else ""
    return ", ".join(list(names)[:count]) + more
