"""Folders whose names are the classes, on one level or two."""

from collections import Counter

import pandas as pd
import pytest
from folders import column, draw, labels, touch, zipped
from PIL import Image

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import COLUMNS, read_catalog
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.images.files import ImageFile


def test_one_folder_a_painter(tmp_path):
    images = ("Claude_Monet/1.jpg", "Claude_Monet/deep/er/2.jpg", "02_Degas/1.png", "x.jpg")
    draw(*(tmp_path / name for name in images))
    catalog = read_catalog(tmp_path)
    assert catalog.layout == "folders"
    assert dict(zip(column(catalog, "id"), column(catalog, "painter"), strict=True)) == {
        "02_Degas/1.png": "Degas",
        "Claude_Monet/1.jpg": "Claude Monet",
        "Claude_Monet/deep/er/2.jpg": "Claude Monet",
    }
    assert any("1 of the 4 images is in no class folder" in note for note in catalog.notes)


def test_zipped_folders_give_the_same_catalogue(tmp_path):
    names = ["Monet/1.jpg", "Monet/2.jpg", "Degas/1.jpg"]
    draw(*(tmp_path / "plain" / name for name in names))
    zipped(tmp_path / "zip" / "paintings.zip", tmp_path / "plain", *names)
    zipped(tmp_path / "flat" / "Monet.zip", tmp_path / "plain" / "Monet", "1.jpg", "2.jpg")
    zipped(tmp_path / "flat" / "Degas.zip", tmp_path / "plain" / "Degas", "1.jpg")
    plain, packed, flat = (read_catalog(tmp_path / kind).table for kind in ("plain", "zip", "flat"))
    values = [c for c in COLUMNS if c not in ("file", "member")]
    pd.testing.assert_frame_equal(plain[values], packed[values])
    pd.testing.assert_frame_equal(plain[values], flat[values])
    assert set(packed["file"]) == {str(tmp_path / "zip" / "paintings.zip")}
    assert packed["member"].tolist() == sorted(names)


def test_zips_in_a_zip_are_folders_and_their_endings_no_part_of_a_name(tmp_path):
    """Nobody is called "Monet.zip", and a part of a zip that was made in parts is no painter."""
    for name, inner in (("painters", ["Monet", "Degas"]), ("parts", ["part1", "part2"])):
        for one in inner:
            draw(tmp_path / "plain" / one / f"{one}.jpg")
            zipped(tmp_path / "packed" / f"{one}.zip", tmp_path / "plain" / one, f"{one}.jpg")
        zipped(tmp_path / name / "all.zip", tmp_path / "packed", *(f"{one}.zip" for one in inner))
    assert column(read_catalog(tmp_path / "painters"), "painter") == ["Degas", "Monet"]
    with pytest.raises(UserError, match=r"nothing says what they show|part1, part2"):
        read_catalog(tmp_path / "parts")


def test_well_known_names_are_what_they_are(tmp_path):
    for kind, names in (("style", ["Cubism", "Pop_Art", "01_Ukiyo_e", "Zaum"]), ("genre", ["portrait", "still-life"])):
        catalog = read_catalog(touch(tmp_path / kind, *(f"{name}/{k}.jpg" for name in names for k in range(2))))
        assert set(column(catalog, kind)) == {n.removeprefix("01_").replace("_", " ") for n in names}
        assert set(column(catalog, "painter")) == {""}
        assert f"{kind} from the folder" in catalog.notes[0]
    assert any(note.startswith("1 folder has no well-known name of a style (Zaum)") for note in
               read_catalog(tmp_path / "style").notes)  # fmt: skip


@pytest.mark.parametrize("folders", ["painter", "style", "genre"])
def test_the_user_says_what_the_folders_are(tmp_path, folders):
    touch(tmp_path, "Cubism/1.jpg", "Dada/1.jpg", "images/1.jpg")
    catalog = read_catalog(tmp_path, LabelSettings(folders=folders))
    assert column(catalog, folders) == ["Cubism", "Dada", "images"]
    assert [set(column(catalog, other)) for other in TASK_NAMES if other != folders] == [{""}] * 2


TWO_LEVELS = ["Cubism/Picasso/1.jpg", "Cubism/Braque/1.jpg", "Dada/Arp/1.jpg", "Dada/Ray/1.jpg"]


def test_two_levels(tmp_path):
    expected = {name: tuple(name.split("/")[:2]) for name in TWO_LEVELS}
    down = read_catalog(touch(tmp_path / "down", *TWO_LEVELS))
    assert labels(down, "style", "painter") == expected
    up = read_catalog(touch(tmp_path / "up", *("{1}/{0}/{2}".format(*name.split("/")) for name in TWO_LEVELS)))
    assert {(style, painter) for style, painter in labels(up, "style", "painter").values()} == set(expected.values())
    touch(tmp_path / "rooms", *(name.replace("Cubism", "East").replace("Dada", "West") for name in TWO_LEVELS))
    lower = read_catalog(tmp_path / "rooms", LabelSettings(folders="*/painter"))
    assert column(lower, "painter") == ["Braque", "Picasso", "Arp", "Ray"]
    own = read_catalog(tmp_path / "rooms", LabelSettings(folders="wing/painter", tasks=("wing",)))
    assert column(own, "wing") == ["East", "East", "West", "West"]
    with pytest.raises(UserError, match=r"--folders style/genre/painter names 3 levels of folders, and there are 2"):
        read_catalog(tmp_path / "down", LabelSettings(folders="style/genre/painter"))


def test_batches_below_styles_are_no_painters(tmp_path):
    touch(tmp_path, *(f"{style}/batch_{k}/x.jpg" for style in ("Cubism", "Dada") for k in range(2)))
    catalog = read_catalog(tmp_path)
    assert set(column(catalog, "style")) == {"Cubism", "Dada"} and set(column(catalog, "painter")) == {""}


def test_folders_of_nobody_and_of_nothing_are_no_class(tmp_path):
    touch(tmp_path, *(f"{name}/{k}.jpg" for name in ("Monet", "Degas", "Unknown_Artist", "nan") for k in range(3)))
    assert Counter(column(read_catalog(tmp_path), "painter")) == {"Monet": 3, "Degas": 3, "": 6}


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("train", "valid", "test"), ("training_set", "dev", "test_set"), ("Train Data", "Validation Data", "Test Data"),
     ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"), ("data/train", "data/val", "data/test"),
     ("train/images", "val/images", "test/images"), ("TRAIN", "VAL", "TEST")],
)  # fmt: skip
def test_a_split_that_somebody_made(tmp_path, train, valid, test):
    for part, count in ((train, 4), (valid, 2), (test, 3)):
        touch(tmp_path, *(f"{part}/{name}/{k}.jpg" for name in ("Monet", "Degas") for k in range(count)))
    catalog = read_catalog(tmp_path)
    assert Counter(zip(column(catalog, "painter"), column(catalog, "part"), strict=True)) == {
        (name, part): count for name in ("Monet", "Degas")
        for part, count in (("train", 4), ("validation", 2), ("test", 3))}  # fmt: skip
    assert "the paintings are divided already: 8 train, 4 validation, 6 test (--split new divides them anew)." in (
        catalog.notes)  # fmt: skip


def test_a_part_alone_is_no_split(tmp_path):
    touch(tmp_path / "one", "train/Monet/1.jpg", "train/Degas/1.jpg")
    touch(tmp_path / "no_train", *(f"{part}/{name}/1.jpg" for part in ("val", "test") for name in ("Monet", "Degas")))
    for name in ("one", "no_train"):
        assert set(column(read_catalog(tmp_path / name), "part")) == {""}


def test_the_split_above_styles_and_wikiarts_names(tmp_path):
    names = [f"{s}/{p}_work-{k}.jpg" for s in ("Cubism", "Dada") for p in ("man-ray", "juan-gris") for k in range(2)]
    touch(tmp_path, *(f"{part}/{name}" for part in ("train", "test") for name in names))
    catalog = read_catalog(tmp_path)
    assert catalog.layout == "wikiart" and Counter(column(catalog, "part")) == {"train": 8, "test": 8}
    assert Counter(column(catalog, "style")) == {"Cubism": 8, "Dada": 8}


def test_unlabelled_images_of_the_test_part_are_left_out(tmp_path):
    touch(tmp_path, "train/Monet/1.jpg", "train/Degas/1.jpg", "test/7.jpg")
    catalog = read_catalog(tmp_path)
    assert column(catalog, "painter") == ["Degas", "Monet"]
    assert "1 of the 3 images is in no class folder and is left out." in catalog.notes


def test_a_zip_that_was_unpacked_into_a_folder_of_its_name_counts_once(tmp_path):
    """As "Extract all" leaves it: archive.zip beside archive/; nobody is called "archive"."""
    names = [f"{painter}/{i}.jpg" for painter in ("Monet", "Degas") for i in range(3)]
    draw(*(tmp_path / "data" / "archive" / name for name in names[:-1]))  # the last one was not unpacked
    draw(tmp_path / "plain" / names[-1])
    draw(*(tmp_path / "plain" / name for name in names))
    zipped(tmp_path / "data" / "archive.zip", tmp_path / "plain", *names)
    catalog = read_catalog(tmp_path / "data")
    assert Counter(column(catalog, "painter")) == {"Monet": 3, "Degas": 3}
    assert any(note.startswith("5 images are there twice") for note in catalog.notes)


def test_zips_called_as_the_parts_of_a_split_are_these_parts(tmp_path):
    """train.zip and test.zip, each with class folders: files of the same name in both are not the same picture."""
    names = [f"{painter}/{i}.jpg" for painter in ("Monet", "Degas") for i in range(3)]
    draw(*(tmp_path / "plain" / name for name in names))
    for part in ("train", "test"):
        zipped(tmp_path / "data" / f"{part}.zip", tmp_path / "plain", *names)
    catalog = read_catalog(tmp_path / "data")
    assert Counter(zip(column(catalog, "painter"), column(catalog, "part"), strict=True)) == {
        (painter, part): 3 for painter in ("Monet", "Degas") for part in ("train", "test")
    }


def test_different_pictures_of_one_name_in_two_zips_are_both_there_and_copies_of_a_zip_once(tmp_path):
    names = [f"{painter}/{i}.jpg" for painter in ("Monet", "Degas") for i in range(3)]
    draw(*(tmp_path / "one" / name for name in names))
    for name in names:
        draw(tmp_path / "two" / name)
        Image.new("RGB", (9, 9)).save(tmp_path / "two" / name)
    zipped(tmp_path / "data" / "a.zip", tmp_path / "one", *names)
    zipped(tmp_path / "data" / "b.zip", tmp_path / "two", *names)
    zipped(tmp_path / "data" / "b (1).zip", tmp_path / "two", *names)
    catalog = read_catalog(tmp_path / "data")
    assert Counter(column(catalog, "painter")) == {"Monet": 6, "Degas": 6}
    assert catalog.table["id"].is_unique


def test_a_folder_around_others_that_are_there_already_is_no_class(tmp_path):
    touch(tmp_path, "Monet/1.jpg", "Degas/2.jpg", "from a friend/monet/3.jpg", "from a friend/Degas/4.jpg")
    assert Counter(column(read_catalog(tmp_path), "painter")) == {"Monet": 2, "Degas": 2}


def test_folders_of_one_painter_in_other_spellings_are_one_class(tmp_path):
    """Else the painters of test/ would be others than those of train/."""
    touch(tmp_path, "train/Paul Cézanne/1.jpg", "train/Edgar Degas/2.jpg", "train/Edgar Degas/3.jpg")
    touch(tmp_path, "test/paul-cezanne/4.jpg", "test/edgar_degas/5.jpg")
    catalog = read_catalog(tmp_path)
    assert Counter(column(catalog, "painter")) == {"Paul Cézanne": 2, "Edgar Degas": 3}
    assert any("(paul-cezanne is Paul Cézanne)" in note for note in catalog.notes)


def test_a_picture_above_the_others_does_not_cost_a_level(tmp_path):
    """A cover beside the folders of the painters keeps the style that its folder says, and has no painter."""
    names = [f"{style}/{painter}/{i}.jpg" for style, painter in (("Cubism", "Braque"), ("Fauvism", "Derain"))
             for i in range(8)]  # fmt: skip
    touch(tmp_path, *names, "Cubism/cover.jpg", "readme.jpg")
    catalog = read_catalog(tmp_path)
    named = read_catalog(tmp_path, LabelSettings(folders="style/painter"))
    assert labels(catalog, "style", "painter") == labels(named, "style", "painter")
    assert labels(catalog, "style", "painter") == {
        **{name: tuple(name.split("/")[:2]) for name in names},
        "Cubism/cover.jpg": ("Cubism", ""),
    }
    assert "1 image is in no folder of a painter (such as Cubism/cover.jpg), but above these." in catalog.notes
    assert any("1 of the 18 images is in no class folder" in note for note in catalog.notes)
    only_painters = read_catalog(tmp_path, LabelSettings(folders="*/painter"))
    assert set(column(only_painters, "id")) == set(names)
    with pytest.raises(UserError, match="names 3 levels of folders, and there are 2 above the images"):
        read_catalog(tmp_path, LabelSettings(folders="style/painter/genre"))


def test_albums_below_class_folders_are_no_classes_though_few_pictures_lie_beside_them(tmp_path):
    for kind, tops, albums in (
        ("painter", ("Claude Monet", "Edgar Degas"), ("early", "late")),
        ("style", ("Cubism", "Impressionism", "Fauvism"), ("good", "bad")),
    ):
        names = [f"{top}/{album}/{i}.jpg" for top in tops for album in albums for i in range(10)]
        for beside in (tops, tops[:1]):  # a picture beside the albums of each, or of one
            folder = tmp_path / f"{kind}{len(beside)}"
            catalog = read_catalog(touch(folder, *names, *(f"{top}/p.jpg" for top in beside)))
            assert set(column(catalog, kind)) == set(tops) and len(catalog.table) == len(names) + len(beside)
            assert {value for other in {*TASK_NAMES} - {kind} for value in column(catalog, other)} == {""}


def test_folders_on_two_levels_with_a_picture_above_them(tmp_path):
    touch(tmp_path, *(f"{a}/{b}/{i}.jpg" for a in ("Monet", "Renoir") for b in "ab" for i in range(6)), "cover.jpg")
    with pytest.raises(UserError, match=r"two levels \(Monet/a \.\.\.\)"):
        read_catalog(tmp_path)


def test_what_cannot_be_opened_is_no_picture_and_is_named(tmp_path):
    for name in ("Monet", "Renoir", "Degas"):
        touch(tmp_path / name, "1.jpg", "2.jpg")
        zipped(tmp_path / "data" / f"{name}.zip", tmp_path / name, "1.jpg", "2.jpg")
    damaged = tmp_path / "data" / "Degas.zip"
    damaged.write_bytes(damaged.read_bytes()[:100])
    catalog = read_catalog(tmp_path / "data")
    assert sorted(set(column(catalog, "painter"))) == ["Monet", "Renoir"] and len(catalog.table) == 4
    said = [note for note in catalog.notes if "Degas.zip" in note]
    assert len(said) == 1 and said[0].startswith(f"{damaged} cannot be read: damaged zip (")
    assert said[0].endswith("): what is in it is left out.")
    assert not any("in no class folder" in note for note in catalog.notes)
    for name in ("Monet", "Renoir"):
        (tmp_path / "data" / f"{name}.zip").unlink()
    with pytest.raises(UserError, match=r"holds no picture that can be read: .*Degas\.zip cannot be read: damaged zip"):
        read_catalog(tmp_path / "data")


def test_names_in_a_zip_are_utf_8_though_it_does_not_say_so(tmp_path):
    """As in zips that macOS writes: the flag of each name that would say it is not set."""
    touch(tmp_path, "Paul C\u00e9zanne/1.jpg", "Paul C\u00e9zanne/2.jpg", "Monet/1.jpg")
    path = tmp_path / "data" / "all.zip"
    zipped(path, tmp_path, "Paul C\u00e9zanne/1.jpg", "Paul C\u00e9zanne/2.jpg", "Monet/1.jpg")
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + flags + 1] &= ~8
    path.write_bytes(data)
    catalog = read_catalog(tmp_path / "data")
    assert column(catalog, "painter") == ["Monet", "Paul C\u00e9zanne", "Paul C\u00e9zanne"]
    assert all(ImageFile(*place).read() == b"" for place in catalog.table[["file", "member"]].itertuples(index=False))


def test_links_that_lead_nowhere_are_passed_over(tmp_path):
    touch(tmp_path, "Monet/1.jpg", "Degas/1.jpg")
    (tmp_path / "loop").symlink_to("loop")
    assert column(read_catalog(tmp_path), "painter") == ["Degas", "Monet"]


def test_numbers_that_tell_folders_apart_stay(tmp_path):
    touch(tmp_path, "1900_Paris/a.jpg", "1920_Paris/b.jpg", "02_Berlin/c.jpg")
    catalog = read_catalog(tmp_path, LabelSettings(tasks=("period",), folders="period"))
    assert sorted(column(catalog, "period")) == ["1900 Paris", "1920 Paris", "Berlin"]


def test_numbers_that_begin_anew_in_each_part_are_none_of_a_class(tmp_path):
    touch(tmp_path, "train/01_Monet/a.jpg", "train/02_Degas/b.jpg", "test/01_Degas/c.jpg", "test/02_Monet/d.jpg")
    assert Counter(column(read_catalog(tmp_path), "painter")) == {"Monet": 2, "Degas": 2}
