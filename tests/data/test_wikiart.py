"""Copies of WikiArt: from their names alone, with Kaggle's classes.csv, with ArtGAN's tables."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from folders import column, labels, touch, write

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import Catalog, read_catalog
from painters_mtl.data.readers.wikiart import person_name, split_title
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.values import name_key

NAMES = (
    "Cubism/pablo-picasso_guernica-1937.jpg",
    "Cubism/georges-braque_violin-and-candlestick-1910.jpg",
    "Naive_Art_Primitivism/henri-rousseau_the-dream(1).jpg",
    "Naive_Art_Primitivism/henri-rousseau_the-dream.jpg",
    "Naive_Art_Primitivism/grandma-moses_not_detected_204650.jpg",
)


def test_names_alone(tmp_path):
    catalog = read_catalog(touch(tmp_path, *NAMES))
    assert catalog.notes[0] == "read as WikiArt: style from the folder; painter, title and year from the file name."
    naive = "Naive Art Primitivism"
    assert list(labels(catalog, "style", "painter", "title", "date").values()) == [
        ("Cubism", "Georges Braque", "Violin and candlestick", "1910"),
        ("Cubism", "Pablo Picasso", "Guernica", "1937"),
        (naive, "Grandma Moses", "", ""),
        (naive, "Henri Rousseau", "The dream", ""),  # a file that was copied: the same painter and title
        (naive, "Henri Rousseau", "The dream", ""),
    ]


@pytest.mark.parametrize(
    ("slug", "name"),
    [("vincent-van-gogh", "Vincent van Gogh"), ("le-corbusier", "Le Corbusier"), ("el-greco", "El Greco"),
     ("hans-holbein-the-younger", "Hans Holbein the Younger"), ("utagawa-toyokuni-ii", "Utagawa Toyokuni II"),
     ("m.c.-escher", "M.C. Escher"), ("marevna-(marie-vorobieff)", "Marevna (Marie Vorobieff)"), ("vi", "Vi")],
)  # fmt: skip
def test_names_of_painters(slug, name):
    assert person_name(slug) == name


@pytest.mark.parametrize(
    ("text", "title", "date"),
    [("guernica-1937", "Guernica", "1937"), ("composition-1938-2", "Composition 2", "1938"), ("1984", "", "1984"),
     ("peinture-18-mars-2010-2010", "Peinture 18 mars 2010", "2010"), ("no-5", "No 5", ""), ("a-3000", "A 3000", "")],
)  # fmt: skip
def test_titles_and_years(text, title, date):
    assert split_title(text) == (title, date)


@pytest.mark.parametrize("broken", ["andrΓö£╨│Γö¼╨╣-lhote", "andré-lhote", "andre\u0301-lhote"])
def test_accents_that_were_broken_on_the_way(tmp_path, broken):
    touch(tmp_path, f"Cubism/{broken}_rugby-1917.jpg", "Dada/man-ray_gift-1921.jpg")
    assert column(read_catalog(tmp_path), "painter") == ["André Lhote", "Man Ray"]


def test_genres_painters_or_nothing_as_folders(tmp_path):
    works = [f"{painter}_work-{k}.jpg" for painter in ("claude-monet", "edgar-degas") for k in range(2)]
    genre = read_catalog(touch(tmp_path / "genre", *(f"{g}/{w}" for g in ("landscape", "portrait") for w in works)))
    assert Counter(column(genre, "genre")) == {"landscape": 4, "portrait": 4} and set(column(genre, "style")) == {""}
    own = read_catalog(touch(tmp_path / "own", *(f"{w.split('_')[0]}/{w}" for w in works)))
    flat = read_catalog(touch(tmp_path / "flat", *works))
    assert own.notes[0] == "read as WikiArt: painter from the folder; title and year from the file name."
    for catalog in (own, flat):
        assert catalog.layout == "wikiart"
        assert Counter(column(catalog, "painter")) == {"Claude Monet": 2, "Edgar Degas": 2}
        assert set(column(catalog, "style")) == {""}


def test_folders_of_no_known_style_are_what_the_user_says(tmp_path):
    works = [
        f"{z}/{p}_work-{k}.jpg" for z in ("Zaum", "Zen School") for p in ("olga-rozanova", "k-malevich") for k in "12"
    ]
    touch(tmp_path, *works)
    with pytest.raises(UserError, match=r"Zaum, Zen School.*no well-known styles or genres.*--folders"):
        read_catalog(tmp_path)
    catalog = read_catalog(tmp_path, LabelSettings(folders="style"))
    assert Counter(column(catalog, "style")) == {"Zaum": 4, "Zen School": 4}
    assert set(column(catalog, "painter")) == {"Olga Rozanova", "K Malevich"}


def test_a_table_of_all_works_goes_before_their_names(tmp_path):
    touch(tmp_path, *NAMES)
    write(tmp_path / "my works.csv", "file,artist,style\n" + "".join(f"{name},Somebody,Zaum\n" for name in NAMES))
    write(tmp_path / "classes.csv", f"filename,artist,genre\n{NAMES[0]},x,['Cubism']\n")
    write(tmp_path / "wclasses.csv", f"file,artist,genre,style\n{NAMES[0]},22,133,161\n")
    assert set(column(read_catalog(tmp_path), "style")) == {"Zaum"}
    (tmp_path / "my works.csv").unlink()
    assert read_catalog(tmp_path).layout == "wikiart"


@pytest.mark.parametrize(
    "names",
    [["Monet/img_001.jpg", "Degas/img_002.jpg"], ["Monet/monet_1.jpg", "Degas/degas_1.jpg"],
     ["Cubism/cubism_1.jpg", "Dada/dada_2.jpg"], ["Monet/Claude_Monet_1.jpg", "Degas/Edgar_Degas_1.jpg"]],
)  # fmt: skip
def test_other_names_are_not_taken_for_wikiarts(tmp_path, names):
    assert read_catalog(touch(tmp_path, *names)).layout == "folders"


def test_the_split_that_kaggles_table_has(tmp_path):
    touch(tmp_path, *NAMES)
    subsets = ("train", "test", "train", "uncertain artist", "train")
    rows = "".join(f"{n},x,\"['Cubism', 'Dada']\",x,{s}\n" for n, s in zip(NAMES, subsets, strict=True))
    write(tmp_path / "classes.csv", f"filename,artist,genre,description,subset\n{rows}gone/x_y.jpg,x,['Dada'],x,test\n")
    catalog = read_catalog(tmp_path)
    assert labels(catalog, "part", "painter", "style")[NAMES[1]] == ("test", "Georges Braque", "Cubism")
    assert labels(catalog, "part", "painter")[NAMES[3]] == ("", "")  # whose it is is not certain
    assert catalog.notes[0].endswith("the split from classes.csv.")
    assert "1 of the 6 rows of classes.csv has no image here." in catalog.notes
    assert any(note.startswith("1 painting has an uncertain painter") for note in catalog.notes)


def test_styles_from_kaggles_table_where_no_folder_says_them(tmp_path):
    flat = [name.split("/")[1] for name in NAMES]
    touch(tmp_path, *flat)
    styles = ("['Cubism']", "\"['Cubism', 'Dada']\"", "['Naive Art']", "['Naive Art']", "['Naive Art']")
    rows = "".join(f"{name},x,{style}\n" for name, style in zip(NAMES, styles, strict=True))
    write(tmp_path / "classes.csv", f"filename,artist,genre\n{rows}")
    catalog = read_catalog(tmp_path)
    assert {i: style for i, (style,) in labels(catalog, "style").items()} == {
        flat[0]: "Cubism", flat[1]: "", flat[2]: "Naive Art", flat[3]: "Naive Art", flat[4]: "Naive Art"}  # fmt: skip
    assert any(note.startswith("1 painting has several styles") for note in catalog.notes)


def artgan(folder: Path, names: list[str], numbered: bool = True) -> Path:
    """The tables of ArtGAN beside the images: styles for all, genres for the even ones; the last genre is in train."""
    touch(folder / "wikiart", *names)
    cut = len(names) * 3 // 4
    for kind, chosen in (("style", list(enumerate(names))), ("genre", list(enumerate(names))[::2])):
        parts = {"train": chosen[:1] + [row for row in chosen[1:] if row[0] < cut],
                 "val": [row for row in chosen[1:] if row[0] >= cut]}  # fmt: skip
        if kind == "genre":
            parts["train"].append(parts["val"].pop())
        for part, rows in parts.items():
            text = "".join(f"{name},{k % 2}\n" for k, name in rows)
            write(folder / "wikiart_csv" / f"{kind}_{part}.csv", text)
    names_of = ("abstract_painting", "cityscape")
    lines = [f"{k} {name}" if numbered else name for k, name in enumerate(names_of)]
    write(folder / "wikiart_csv" / "genre_class.txt", "\n".join(lines))
    return folder


@pytest.mark.parametrize("numbered", [True, False])
def test_artgans_tables(tmp_path, numbered):
    names = [f"{s}/{p}_work-{k}.jpg" for s in ("Cubism", "Dada") for p in ("man-ray", "juan-gris") for k in range(4)]
    catalog = read_catalog(artgan(tmp_path, names, numbered))
    ids = [f"wikiart/{name}" for name in names]
    genre, part = (labels(catalog, c) for c in ("genre", "part"))
    assert [genre[i][0] for i in ids] == [["abstract painting", ""][k % 2] for k in range(16)]
    assert [part[i][0] for i in ids] == ["train"] * 12 + ["validation"] * 4
    assert any(
        note.startswith("1 painting is in different parts of the split by the tables of two tasks")
        for note in catalog.notes
    )
    assert "genre and the split from genre_train.csv, genre_val.csv, style_train.csv, style_val.csv" in catalog.notes[0]


def test_a_genre_without_a_name_is_no_class(tmp_path):
    names = [f"{s}/{p}_work-{k}.jpg" for s in ("Cubism", "Dada") for p in ("man-ray", "juan-gris") for k in range(4)]
    (artgan(tmp_path, names) / "wikiart_csv" / "genre_class.txt").unlink()
    with pytest.raises(UserError, match=r"genre_class.txt does not name the genre 0"):
        read_catalog(tmp_path)


# ------------------------------------------------------------------------------------------------- real paintings


def without_table(folder: Path, place: Path) -> Catalog:
    """The catalogue of a folder's sub-folders alone."""
    place.mkdir()
    for below in folder.iterdir():
        if below.is_dir():
            (place / below.name).symlink_to(below)
    return read_catalog(place)


@pytest.mark.real
@pytest.mark.parametrize("name", ["wikiart", "other_styles"])
def test_the_names_say_what_the_table_says(paintings, tmp_path, name):
    catalog = without_table(paintings / name, tmp_path / name)
    assert catalog.layout == "wikiart"
    with (paintings / name / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["filename"]: row for row in csv.DictReader(file)}
    names = labels(catalog, "painter", "style", "title", "date")
    assert set(names) == set(rows) and all(painter for painter, *_ in names.values())
    assert all(style == image_id.split("/")[0].replace("_", " ") for image_id, (_, style, *_) in names.items())

    def share(column: str, place: int) -> float:
        return sum(name_key(rows[i][column]) == name_key(cells[place]) for i, cells in names.items()) / len(names)

    assert share("artist", 0) >= 0.98  # 0.9992 of 18,035, 0.982 of 227: O'Keeffe is okeeffe, Böcklin b-cklin
    assert share("style", 1) >= 0.9 and share("title", 2) >= 0.9 and share("date", 3) >= 0.95


@pytest.mark.real
def test_the_real_names_beside_kaggles_and_artgans_tables(paintings, tmp_path):
    """Some real names of each style, some of them with accents, and tables as their authors made them."""
    names = [f"{d.name}/{f.name}" for d in sorted((paintings / "wikiart").iterdir()) if d.is_dir()
             for f in sorted(d.iterdir())[::97]]  # fmt: skip
    names += [f"{f.parent.name}/{f.name}" for f in (paintings / "wikiart").glob("*/*") if not f.name.isascii()][:20]
    names = sorted(set(names))
    catalog = read_catalog(artgan(tmp_path / "artgan", names))
    genres = Counter(column(catalog, "genre"))
    assert (
        genres["abstract painting"] == (len(names) + 1) // 2
    )  # every second has one, and it is found again by its name
    assert Counter(column(catalog, "part"))["validation"] == len(names) - len(names) * 3 // 4
    touch(tmp_path / "kaggle", *names)
    rows = "".join(f"{name},x,\"['X']\",x,{'train' if k % 5 else 'test'}\n" for k, name in enumerate(names))
    write(tmp_path / "kaggle" / "classes.csv", f"filename,artist,genre,description,subset\n{rows}")
    parts = Counter(column(read_catalog(tmp_path / "kaggle"), "part"))
    assert parts == {"test": (len(names) + 4) // 5, "train": len(names) - (len(names) + 4) // 5}
