"""A folder a painter and a table with a row a painter: Kaggle's "Best Artworks of All Time" and its like.

images/images/Vincent_van_Gogh/Vincent_van_Gogh_1.jpg, resized/resized/Vincent_van_Gogh_1.jpg, artists.csv
"""

import re
from difflib import get_close_matches

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.collection import Collection, Reading, folder_of, with_files
from painters_mtl.data.columns import column_key
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.known_names import kind_of_names
from painters_mtl.data.readers.class_folders import folder_label
from painters_mtl.data.tables import column_names, read_table
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.data.values import clean, clean_label, list_of_names, name_key

NAMES = ("name", "artist", "painter", "artist_name", "painter_name")
LABELS = ("genre", "style", "movement")
GENERATIONS = {"elder", "younger", "senior", "junior", "sr", "jr", "i", "ii", "iii", "iv"}
ALIKE = 0.82  # names with so large a part in common are one, misspelt


def painters_table(collection: Collection) -> TableFile | None:
    """The table with a row a painter, by its name and columns; None where there is none."""
    for table in collection.tables:
        if table.stem.lower() in ("artists", "artist", "painters", "painter"):
            try:
                keys = {column_key(name) for name in column_names(table)}
            except UserError as error:  # of what is no table the folders may still say the painters
                collection.notes.append(f"{error}.")
                continue
            if keys & set(NAMES) and not keys & {"filename", "file_name", "image", "path", "file"}:
                return table
    return None


def read(collection: Collection, table: TableFile) -> Reading:
    """The painter from the folder or, where there is none, from the file's name; what is said of painters, of works."""
    painters = _painters(collection, table)
    by_key = {name_key(name): name for name in painters.index}
    levels = collection.levels()
    labels: dict[str, str] = {}
    misspelt: dict[str, str] = {}

    def painter_of(label: str) -> str:
        if label not in labels:
            key = name_key(label)
            near = []
            if key not in by_key:
                generation = _generation(label)
                others = [other for other, name in by_key.items() if _generation(name) == generation]
                near = get_close_matches(key, others, n=1, cutoff=ALIKE)
            misspelt.update({label: by_key[near[0]]} if near else {})
            labels[label] = by_key.get(key) or misspelt.get(label, "")
        return labels[label]

    names = []
    for image_id in collection.images:
        classes = levels.classes[folder_of(image_id)]
        name = re.sub(r"[-_ ]*\d*\.\w+$", "", image_id.rsplit("/", 1)[-1])
        own = [painter_of(folder_label(folder)) for folder in reversed(classes)]
        names.append(next(filter(None, own), folder_label(classes[0]) if classes else painter_of(folder_label(name))))
    ids = list(collection.images)
    rows = pd.DataFrame({"id": ids, "filename": ids, "painter": names}, dtype=object)
    for column in painters:
        rows[column] = rows["painter"].map(painters[column]).fillna("")
    rows["part"] = [levels.parts[folder_of(i)] for i in ids]
    rows = with_files(rows, list(collection.images.values()))
    for label, name in sorted(misspelt.items()):
        collection.notes.append(f"{label} is taken for {name} of {table.name}.")
    strange = rows["painter"][~rows["painter"].isin(painters.index) & (rows["painter"] != "")]
    collection.note(strange.nunique(), f"painters are not in {table.name}; their works have no more labels.")
    collection.note(int((rows["painter"] == "").sum()), "images are in no painter's folder and are left out.")
    more = ", ".join(painters.columns)
    sentence = f"read as folders of painters with a table of them: painter from the folder, {more} from {table.name}"
    return Reading("best-artworks", sentence, rows[rows["painter"] != ""].reset_index(drop=True))


def _generation(name: str) -> set[str]:
    """The words of a name that tell a father from his son: Pieter Bruegel the Younger is nobody misspelt."""
    return GENERATIONS & set(re.findall(r"\w+", name.casefold()))


def _painters(collection: Collection, table: TableFile) -> pd.DataFrame:
    """One row a painter, by name: style or genre, and the user's own tasks, where the table has them."""
    all_names = column_names(table)
    keys = {column_key(name): name for name in reversed(all_names)}
    own = [task for task in collection.settings.task_names() if task not in TASK_NAMES]
    wanted = {
        ours: keys[key]
        for ours, key in ((t, column_key(collection.settings.columns.get(t, t))) for t in own)
        if key in keys
    }
    asked = {task: column_key(collection.settings.columns.get(task, "")) for task in ("style", "genre")}
    named = {task: keys[key] for task, key in asked.items() if key and key in keys}
    label = "" if named else next((keys[name] for name in LABELS if name in keys), "")
    name = next(keys[name] for name in NAMES if name in keys)
    frame = read_table(table, {name, label, *named.values(), *wanted.values()}, collection.notes)
    frame.index = pd.Index([clean(value) for value in frame[name]], dtype=object)
    frame = frame[~frame.index.duplicated()]
    result = pd.DataFrame({ours: frame[theirs] for ours, theirs in wanted.items()}, frame.index, dtype=object)
    if label:
        values = [_names(value) for value in frame[label]]
        kind = kind_of_names({name for names in values for name in names})[0] or column_key(label).replace(
            "movement", "style"
        )
        named[kind] = label
    for kind, column in named.items():
        values = [_names(value) for value in frame[column]]
        result[kind] = [names[0] if len(names) == 1 else "" for names in values]
        several = sum(len(names) > 1 for names in values)
        collection.note(
            several,
            f"painters have several {kind}s in {table.name}: their works get no {kind}.",
        )
    return result


def _names(text: str) -> list[str]:
    """The names in a cell: one, or several with commas between them."""
    text = clean(text)
    names = list_of_names(text)
    return [name for name in map(clean_label, names if names is not None else text.split(",")) if name]
