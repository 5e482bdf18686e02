"""Which image a file name in a table means."""

from pathlib import Path

import pytest
from folders import draw

from painters_mtl.data.image_names import ImageNames

IDS = [
    "images/a.jpg",
    "images/B.JPG",
    "images/0012.png",
    "Monet/1.jpg",
    "Degas/1.jpg",
    "images/Zoë  b.jpg",
    "x.tar.jpg",
]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("images/a.jpg", "images/a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("./a.jpg", "images/a.jpg"),
        ("images\\a.jpg", "images/a.jpg"),
        (" a.jpg ", "images/a.jpg"),
        ("A.JPG", "images/a.jpg"),
        ("a", "images/a.jpg"),
        ("a.png", "images/a.jpg"),  # as it was before somebody converted it
        ("b.jpg", "images/B.JPG"),
        ("Images/b", "images/B.JPG"),
        ("12", "images/0012.png"),
        ("12.0", "images/0012.png"),
        ("0012", "images/0012.png"),
        ("Zoe\u0308 b.jpg", "images/Zoë  b.jpg"),
        ("x.tar", "x.tar.jpg"),
        ("Monet/1", "Monet/1.jpg"),
        ("/home/somebody/images/a.jpg", "images/a.jpg"),
        ("/home/somebody/Degas/1.jpg", "Degas/1.jpg"),
        ("C:\\Users\\me\\images\\A.jpg", "images/a.jpg"),
        ("D:/photos/b.jpg", "images/B.JPG"),
        ("https://museum.example/iiif/a.jpg", "images/a.jpg"),
        ("https://museum.example/iiif/Zo%C3%AB%20b.jpg", "images/Zoë  b.jpg"),
        ("dataset/images/a.jpg", "images/a.jpg"),
        (f"https://museum.example/{'x' * 300}/images/a.jpg", "images/a.jpg"),
    ],
)
def test_one_image_is_meant(tmp_path, name, image_id):
    assert ImageNames(tmp_path, IDS).match([name]) == [[image_id]]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "c.jpg",
        "https://museum.example/" + "x" * 300,
        "ages/a.jpg",
        "../a.jpg",
        "C:\\a.jpg",
        "/a.jpg",
        "x",
        "images/../../a.jpg",
    ],
)
def test_no_image_is_meant(tmp_path, name):
    assert ImageNames(tmp_path, IDS).match([name]) == [[]]


def test_it_is_not_clear_which_is_meant(tmp_path):
    names = ImageNames(tmp_path, IDS)
    assert names.match(["1.jpg", "1", "/elsewhere/works/1.jpg"]) == [["Monet/1.jpg", "Degas/1.jpg"], [], []]


def test_an_image_that_a_name_means_as_it_stands_is_no_other_names(tmp_path):
    """Row "12.jpg" has no image here: it must not lend its label to 012.jpg."""
    assert ImageNames(tmp_path, ["012.jpg"]).match(["12.jpg", "012.jpg"]) == [[], ["012.jpg"]]
    assert ImageNames(tmp_path, ["a.jpg"]).match(["A.jpg", "a.jpg"]) == [[], ["a.jpg"]]
    # Two painters' first works, of which one is here: the last part of the path alone does not tell them apart.
    assert ImageNames(tmp_path, ["1.jpg"]).match(["/data/Monet/1.jpg", "/data/Degas/1.jpg"]) == [[], []]
    assert ImageNames(tmp_path, ["Degas/1.jpg"]).match(["/data/Monet/1.jpg", "/data/Degas/2.jpg"]) == [[], []]


def test_names_start_from_the_folder_of_their_table(tmp_path):
    names = ImageNames(tmp_path, ["train/1.jpg", "test/1.jpg", "1.jpg", "other/2.jpg"])
    assert names.match(["1.jpg", "../test/1.jpg", "../other/2.jpg"], base="train") == [
        ["train/1.jpg"], ["test/1.jpg"], ["other/2.jpg"]]  # fmt: skip


def test_an_absolute_path_of_another_file_is_not_taken_for_one_here(tmp_path):
    draw(tmp_path / "elsewhere" / "a.jpg", tmp_path / "data" / "a.jpg")
    names = ImageNames(tmp_path / "data", ["a.jpg"])
    assert names.match([f"{tmp_path}/elsewhere/a.jpg"]) == [[]]
    assert names.match([f"{tmp_path}/data/a.jpg"]) == [["a.jpg"]]


def test_an_absolute_path_may_lead_around_a_link_or_a_folder_above(tmp_path, monkeypatch):
    real = tmp_path / "real"
    draw(real / "a.jpg")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "elsewhere").mkdir()
    draw(tmp_path / "elsewhere" / "b.jpg")
    (real / "more").symlink_to("../elsewhere")
    assert ImageNames(tmp_path / "link", ["more/b.jpg"]).match([f"{real}/more/b.jpg"]) == [["more/b.jpg"]]
    for folder in (real, tmp_path / "link", Path("../real"), Path("../link")):
        names = ImageNames(folder, ["a.jpg"])
        for named in (f"{tmp_path}/real/a.jpg", f"{tmp_path}/link/a.jpg", f"{tmp_path}/here/../link/a.jpg"):
            assert names.match([named]) == [["a.jpg"]], (folder, named)
