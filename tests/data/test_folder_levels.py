"""What the folders above an image say: parts of a split, classes, or nothing."""

import pytest

from painters_mtl.data.folder_levels import resolve_folders


@pytest.mark.parametrize(
    ("folders", "parts", "classes"),
    [
        (["Monet", "Degas"], ["", ""], [("Monet",), ("Degas",)]),
        (["a/b/Monet", "a/b/Degas"], ["", ""], [("Monet",), ("Degas",)]),
        (["train/Monet", "test/Monet"], ["train", "test"], [("Monet",)] * 2),
        (["training_set/training_set/Monet", "test_set/test_set/Monet"], ["train", "test"], [("Monet",)] * 2),
        (["seg_train/seg_train/Monet", "seg_test/Monet"], ["train", "test"], [("Monet",)] * 2),
        (["archive/Train Data/Monet", "archive/Valid Data/Monet"], ["train", "validation"], [("Monet",)] * 2),
        (["images/train/Monet", "images/val/Monet"], ["train", "validation"], [("Monet",)] * 2),
        (["train/images/Monet", "test/images/Degas"], ["train", "test"], [("Monet",), ("Degas",)]),
        (["train/wikiart/Cubism", "test/wikiart/Dada"], ["train", "test"], [("Cubism",), ("Dada",)]),
        (["images/images/Monet", "resized/resized"], ["", ""], [("Monet",), ()]),
        (["train_1", "train_2", "test"], ["train", "train", "test"], [()] * 3),
        (["train/Monet", "test/Monet", "unlabeled"], ["train", "test", ""], [("Monet",), ("Monet",), ()]),
        (["Monet", "Degas", "more/Degas"], ["", "", ""], [("Monet",), ("Degas",), ("Degas",)]),
        (["", "Monet"], ["", ""], [(), ("Monet",)]),
        (["Monet/deep/er", "Degas"], ["", ""], [("Monet", "deep", "er"), ("Degas",)]),
        (
            ["Monet/train", "Monet/test", "Degas/train"],
            ["train", "test", "train"],
            [("Monet",), ("Monet",), ("Degas",)],
        ),
        (["Monet/images", "Degas/images/train"], ["", "train"], [("Monet",), ("Degas",)]),
        (["train/Monet", "train/Degas"], ["train", "train"], [("Monet",), ("Degas",)]),
    ],
)
def test_levels(folders, parts, classes):
    levels = resolve_folders(folders)
    assert [levels.parts[folder] for folder in folders] == parts
    assert [levels.classes[folder] for folder in folders] == classes
    assert levels.odd == ()


@pytest.mark.parametrize("folders", [["Monet", "Degas", "test"], ["Monet", "images"], ["x/Monet", "x/Degas", "x/val"]])
def test_what_stands_beside_classes_and_is_none(folders):
    assert resolve_folders(folders).odd == (folders[-1].rpartition("/")[2],)
