"""Names that are known: styles, genres, parts of a split; and those that are not taken for one."""

import csv
from collections import Counter

import pytest

from painters_mtl.data.known_names import is_generic_folder, kind_of_name, kind_of_names, part_of_name


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train Train TRAIN training training_set trainset train_set trainData seg_train train_1"),
        ("train", "labels_train Training-Images wikiart_train train_images"),
        ("validation", "valid val VAL validation validation_set dev val2017 Valid_Data devset"),
        ("test", "test Test testing test_set testset seg_test test2 Test-Data"),
    ],
)  # fmt: skip
def test_parts_of_a_split(part, names):
    for name in (*names.split(), *(name.replace("_", " ") for name in names.split())):
        assert part_of_name(name) == part, name


@pytest.mark.parametrize(
    "name", ["Trainer", "Testa", "Valdes", "Devon", "images", "train_and_test", "Saint Val", "seg_pred"]
)
def test_other_names_are_no_part(name):
    assert part_of_name(name) == ""


@pytest.mark.parametrize(
    "name", ["images", "Images", "img", "images_1", "resized", "256x256", "img_256", "jpg", "data", "raw", "part2"]
)
def test_names_that_say_nothing(name):
    assert is_generic_folder(name)


@pytest.mark.parametrize("name", ["Monet", "1890", "images of Monet", "Cubism", "", "train"])
def test_names_that_say_something(name):
    assert not is_generic_folder(name)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("Ukiyo_e", {"style"}), ("pop-art", {"style"}), ("PopArt", {"style"}), ("still_life", {"genre"}),
     ("Portraits", {"genre"}), ("abstract", {"style", "genre"}), ("Claude Monet", set()), ("Op-Art", {"style"})],
)  # fmt: skip
def test_kinds(name, kinds):
    assert kind_of_name(name) == kinds


def test_the_kind_of_most():
    assert kind_of_names(["Cubism", "Dada", "Zaum"]) == ("style", ["Zaum"])
    assert kind_of_names(["portrait", "landscape", "abstract"]) == ("genre", [])
    assert kind_of_names(["Monet", "Degas", "Cubism"])[0] == ""
    assert kind_of_names([]) == ("", [])


def test_the_real_styles_and_genres_are_known_and_no_painter_is_one(paintings):
    with (paintings / "pbn64" / "all_data_info.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for kind in ("style", "genre"):
        counts = Counter(row[kind] for row in rows if row[kind])
        assert [name for name in counts if kind not in kind_of_name(name)] == []
    painters = Counter(row["artist"] for row in rows)
    taken = {
        name: n for name, n in painters.items() if kind_of_name(name) or part_of_name(name) or is_generic_folder(name)
    }
    assert sum(taken.values()) <= 3  # ends of titles that leaked into the column: "Flowers", "Self Portrait"
