"""Copies of WikiArt: STYLE/painter-name_title-1937.jpg, with or without the tables that came with them.

Kaggle's copy has classes.csv (filename, artist, genre = a list of styles, description, subset). ArtGAN (Tan, Chan,
Aguirre, Tanaka: Improved ArtGAN for Conditional Synthesis of Natural Image and Artwork, IEEE TIP 2019) has
style_train.csv, genre_val.csv and their like, without a header, and genre_class.txt with the names of the numbers.
"""

import re
from collections import Counter

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.collection import Collection, Reading, folder_of
from painters_mtl.data.columns import column_key
from painters_mtl.data.csv_table import TableFile, read_csv
from painters_mtl.data.folder_levels import FolderLevels
from painters_mtl.data.image_names import ImageNames
from painters_mtl.data.known_names import part_of_name
from painters_mtl.data.readers.class_folders import WAY_OUT, class_rows, level_kind, some_names
from painters_mtl.data.tables import column_names, read_table
from painters_mtl.data.values import clean_label, list_of_names, name_key, repair_mojibake, word_set

MOST = 0.9  # of the files must be named so
_FILE = re.compile(r"([^_]*[^\W\d_][^_]*)_(.+)\.\w+")
_YEAR = re.compile(r"(.*?)-?\b(1[0-9]{3}|20[0-2][0-9])(-\d{1,2})?")
_ARTGAN = re.compile(r"(style|genre|artist)_(train|val|test)", re.IGNORECASE)
_NO_TITLE = re.compile(r"\(\d+\)$|^not[-_]detected[-_]\d+$")  # of a file that was copied; WikiArt's for no title
_SPACES = str.maketrans("-_", "  ")
# Words of a name that are not written large, and those that are numbers.
_SMALL = word_set("""
van von der den de del della degli di da do dos das du of the ter ten zu af el y e und and
""")
_NUMBER = re.compile(r"i{2,3}|iv|vi{1,3}")


def is_own_table(table: TableFile) -> bool:
    """Whether a table is one that comes with WikiArt's copies: this reader knows what it holds."""
    return table.stem.lower() in ("classes", "wclasses") or _ARTGAN.fullmatch(table.stem) is not None


def fits(collection: Collection) -> bool:
    """Whether the files are named as WikiArt does: the painter in small letters with hyphens, _, the title."""
    names = [image_id.rsplit("/", 1)[-1] for image_id in collection.images]
    slugs = Counter(slug for name in names if (slug := _slug(name)))
    hyphens = sum("-" in slug for slug in slugs)
    return slugs.total() >= MOST * len(names) and len(slugs) > 1 and 2 * hyphens >= len(slugs)


def read(collection: Collection) -> Reading:
    """Painter, title and year from the name of each file, style or genre from its folder, more from the tables."""
    levels = collection.levels()
    kind = _folder_kind(collection, levels)
    rows = class_rows(collection, levels, [kind or "*"] if levels.depth() else [])
    names = [image_id.rsplit("/", 1)[-1] for image_id in rows["id"]]
    parts = [_FILE.fullmatch(repair_mojibake(name)) for name in names]
    painters = {slug: person_name(slug) for slug in {match[1] for match in parts if match}}
    titles = [split_title(match[2]) if match else ("", "") for match in parts]
    if kind == "painter":
        rows["painter"] = [person_name(name) if name.islower() else name for name in rows["painter"]]
    else:
        rows["painter"] = [painters[match[1]] if match else "" for match in parts]
    rows["title"], rows["date"] = [title for title, _ in titles], [date for _, date in titles]
    missing = len(collection.images) - len(rows)
    collection.note(missing, "images lie beside the folders of the styles and are left out.")
    seen = [f"{kind} from the folder"] if kind else []
    seen.append(f"{'' if kind == 'painter' else 'painter, '}title and year from the file name")
    for read_more in (_kaggle_table, _artgan_tables):
        rows, more = read_more(collection, rows)
        seen += more
    return Reading("wikiart", f"read as WikiArt: {'; '.join(seen)}", rows)


def _folder_kind(collection: Collection, levels: FolderLevels) -> str:
    """What the folders are: "style", "genre", "painter", or "" where there is but one."""
    if collection.settings.folders:
        return collection.settings.folders
    names = levels.names()
    if len(names) < 2:
        return ""
    if kind := level_kind(collection, names):
        return kind
    top = {folder: name_key(classes[0]) for folder, classes in levels.classes.items() if classes}
    own = [top.get(folder_of(i), "") == name_key(_slug(i.rsplit("/", 1)[-1])) for i in collection.images]
    if sum(own) * 2 > len(own):
        return "painter"
    raise UserError(
        f"{collection.folder}: the files are named as WikiArt's (painter_title), and the folders ({some_names(names)}) "
        f"are no well-known styles or genres; {WAY_OUT}"
    )


def _slug(name: str) -> str:
    """The painter in a file's name: vincent-van-gogh; "" where it is not named so."""
    match = _FILE.fullmatch(repair_mojibake(name))
    return match[1] if match and match[1] == match[1].lower() and " " not in match[1] else ""


def person_name(slug: str) -> str:
    """The name that vincent-van-gogh stands for.

    >>> [person_name(slug) for slug in ("vincent-van-gogh", "utagawa-kunisada-ii", "pablo picasso")]
    ['Vincent van Gogh', 'Utagawa Kunisada II', 'Pablo Picasso']
    """
    first, *others = re.split(r"[- ]+", slug.strip("- "))
    return " ".join(
        [_capital(first)]
        + [word.upper() if _NUMBER.fullmatch(word) else word if word in _SMALL else _capital(word) for word in others]
    )


def _capital(word: str) -> str:
    """The word with a capital at its start, and behind each point and bracket: m.c. is M.C."""
    return re.sub(r"(^|[.(])(\w)", lambda match: match[1] + match[2].upper(), word)


def split_title(text: str) -> tuple[str, str]:
    """Title and year.

    >>> [split_title(text) for text in ("guernica-1937", "composition-1938-2", "haystacks(1)")]
    [('Guernica', '1937'), ('Composition 2', '1938'), ('Haystacks', '')]
    """
    text = _NO_TITLE.sub("", text)
    year = _YEAR.fullmatch(text)
    title = year[1] + (year[3] or "") if year else text
    title = " ".join(title.translate(_SPACES).split())
    return title[:1].upper() + title[1:], year[2] if year else ""


# ------------------------------------------------------------------------------------------------- their tables


def _kaggle_table(collection: Collection, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """What classes.csv adds: the split, a style where no folder says it, and whose painter is not certain."""
    table = next((t for t in collection.tables if t.stem.lower() == "classes"), None)
    try:
        names = column_names(table) if table else []
    except UserError as error:
        collection.notes.append(f"{error}.")
        names = []
    if not table or not {"filename", "genre"} <= {column_key(name) for name in names}:
        return rows, []
    frame = read_table(table, {"filename", "genre", "subset"}, collection.notes)
    frame = _by_image(collection, table, frame)
    used: list[str] = []
    if "subset" in frame:
        subset = rows["id"].map(frame["subset"]).fillna("")
        rows = rows.assign(part=subset.map(part_of_name))
        uncertain = subset.str.contains("uncertain")
        rows.loc[uncertain, "painter"] = ""
        collection.note(
            int(uncertain.sum()), f"paintings have an uncertain painter according to {table.name}, and get no painter."
        )
        used.append("the split")
    if "style" not in rows:
        styles = {text: list_of_names(text) or [text] for text in set(frame["genre"])}
        style = rows["id"].map(frame["genre"]).fillna("").map(lambda text: styles.get(text, [""]))
        rows = rows.assign(style=[names[0] if len(names) == 1 else "" for names in style])
        several = sum(len(names) > 1 for names in style)
        collection.note(several, f"paintings have several styles in {table.name}, and get no style.")
        used.append("style")
    return rows, [f"{' and '.join(used)} from {table.name}"] if used else []


def _artgan_tables(collection: Collection, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """What ArtGAN's tables add: the genre, and the authors' split (that of the styles, where there is one)."""
    tables = {t.stem.lower(): t for t in collection.tables if _ARTGAN.fullmatch(t.stem)}
    frames = {stem: _by_image(collection, t, read_csv(t, collection.notes, header=("filename", "number")))
              for stem, t in sorted(tables.items())}  # fmt: skip
    used: list[str] = []
    numbers = [frame["number"] for stem, frame in frames.items() if stem.startswith("genre")]
    if numbers:
        names = _class_names(collection, "genre")
        genre = rows["id"].map(pd.concat(numbers)[lambda n: ~n.index.duplicated()]).fillna("")
        if unnamed := sorted(set(genre) - set(names) - {""}):
            raise UserError(
                f"{collection.folder}: genre_class.txt does not name the genre {unnamed[0]} of the tables: put it "
                "beside them, or take them away"
            )
        rows = rows.assign(genre=[names.get(number, "") for number in genre])
        used.append("genre")
    parts: dict[str, dict[str, str]] = {}
    for stem, frame in frames.items():
        kind, part = stem.split("_")
        parts.setdefault(kind, {}).update(dict.fromkeys(frame.index, part_of_name(part)))
    split = {image_id: part for kind in ("artist", "genre", "style") for image_id, part in parts.get(kind, {}).items()}
    if split:
        rows = rows.assign(part=[split.get(image_id, "") for image_id in rows["id"]])
        differ = {i for table in parts.values() for i, part in table.items() if split[i] != part}
        sentence = "paintings are in different parts of the split by the tables of two tasks: the style's counts."
        collection.note(len(differ), sentence)
        used.append("the split")
    return rows, [f"{' and '.join(used)} from {', '.join(f'{stem}.csv' for stem in frames)}"] if used else []


def _by_image(collection: Collection, table: TableFile, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with the ids of the images as their index; rows without an image are left out and noted."""
    frame = frame.rename(columns={name: column_key(str(name)) for name in frame})
    names = [repair_mojibake(name) for name in frame["filename"]]
    images = {repair_mojibake(image_id): image_id for image_id in collection.images}
    ids = ImageNames(collection.folder, images).match(names, collection.base(table))
    frame.index = pd.Index([images[fitting[0]] if len(fitting) == 1 else "" for fitting in ids], dtype=object)
    collection.note(int((frame.index == "").sum()), f"of the {len(frame):,} rows of {table.name} have no image here.")
    return frame[(frame.index != "") & ~frame.index.duplicated()]


def _class_names(collection: Collection, task: str) -> dict[str, str]:
    """{"0": "abstract painting", ...} from genre_class.txt: a line a class, with or without its number."""
    table = next((t for t in collection.tables if t.stem.lower() == f"{task}_class"), None)
    if table is None:
        return {}
    with table.open() as file:
        lines = [
            line.split(maxsplit=1) for line in file.read().decode("utf-8-sig", "replace").splitlines() if line.strip()
        ]
    numbered = all(len(words) == 2 and words[0].isdecimal() for words in lines)
    pairs = lines if numbered else [[str(i), " ".join(words)] for i, words in enumerate(lines)]
    return {number: clean_label(name.replace("_", " ")) for number, name in pairs}
