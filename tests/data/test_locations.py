"""Which folder is the data: the given one, Kaggle's mount, the local one, or the demo; and never one without images."""

import zipfile
from pathlib import Path

import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.locations import DEMO_FOLDER, find_data, resolve_demo, without_images
from painters_mtl.data.settings import CollectionSettings


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def only_tables(folder: Path) -> Path:
    """What `download` without --images leaves: tables, and the replacements of a few damaged images."""
    write(folder / "all_data_info.csv", "artist,title,new_filename\nA,T,1.jpg\n")
    write(folder / ".download.json", "{}")
    with zipfile.ZipFile(folder / "replacements_for_corrupted_files.zip", "w") as archive:
        archive.writestr("train/1.jpg", b"x")
    return folder


def test_find_data(tmp_path):
    nowhere, kaggle, local = tmp_path / "no", tmp_path / "kaggle", tmp_path / "local"
    assert find_data(None, [nowhere], nowhere) is None
    write(local / "x.jpg")
    kaggle.mkdir()
    assert find_data(None, [nowhere, kaggle], local) == local  # Kaggle's is empty
    write(kaggle / "deep" / "x.jpg")
    assert find_data(None, [nowhere, kaggle], local) == kaggle
    assert find_data(local, [kaggle], local) == local
    (tmp_path / "empty").mkdir()
    file, empty = local / "x.jpg", tmp_path / "empty"
    for path, word in ((nowhere, "no such folder"), (file, "not a folder"), (empty, "is empty")):
        with pytest.raises(UserError, match=word) as error:
            find_data(path)
        assert str(path) in str(error.value)


def test_tables_without_images_are_passed_over(tmp_path):
    nowhere, tables = tmp_path / "no", only_tables(tmp_path / "tables")
    assert find_data(None, [nowhere], tables) is None and without_images([nowhere], tables) == tables
    with pytest.raises(UserError, match=r"tables but no images: painters-mtl download --images --output"):
        find_data(tables)
    with zipfile.ZipFile(tables / "train_1.zip", "w") as archive:
        archive.writestr("train_1/1.jpg", b"x")
    assert find_data(None, [nowhere], tables) == tables == find_data(tables)
    assert without_images([nowhere], tables) is None and without_images([nowhere], nowhere) is None


def test_the_word_demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CollectionSettings(data=Path("demo")).data == DEMO_FOLDER
    assert find_data(DEMO_FOLDER) is None  # it is still to be drawn
    make_demo(DEMO_FOLDER, count=3, size=40, workers=1)
    assert find_data(DEMO_FOLDER) == DEMO_FOLDER
    (DEMO_FOLDER / "demo.json").unlink()
    assert find_data(DEMO_FOLDER) is None  # it was interrupted
    write(DEMO_FOLDER / "labels.csv", "filename,artist\n00001.jpg,Claude Monet\n")
    assert find_data(DEMO_FOLDER) == DEMO_FOLDER  # somebody's own pictures
    Path("demo").mkdir()
    assert CollectionSettings(data=Path("demo")).data == Path("demo")  # a folder that is called so
    assert resolve_demo(None) is None and resolve_demo(Path("elsewhere")) == Path("elsewhere")
