"""From the settings to a data set: whose split it is, what is said of it, any subset of tasks, the demo by its name."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import LEVELS, make_data, picture, read_rows
from PIL import Image

from painters_mtl.common.errors import UserError
from painters_mtl.data import dataset
from painters_mtl.data.dataset import prepare
from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.settings import DataSettings
from painters_mtl.data.split_file import save_split


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 120 pictures with labels.csv. Tests must not change it."""
    return make_data(tmp_path_factory.mktemp("dataset") / "data", count=120)


def settings(data: Path | None, out: Path, **changes: object) -> DataSettings:
    return DataSettings(data=data, cache=out / "cache", image_size=32, **changes)  # type: ignore[arg-type]


def with_parts(folder: Path, out: Path, parts: list[str]) -> Path:
    """A copy of a folder whose table has a column split."""
    copy = shutil.copytree(folder, out / "parts")
    table = pd.read_csv(copy / "labels.csv", dtype=str, keep_default_na=False)
    table.assign(split=[parts[i % len(parts)] for i in range(len(table))]).to_csv(copy / "labels.csv", index=False)
    return copy


def test_the_split_that_the_data_comes_with_is_used_unless_a_new_one_is_asked_for(small, tmp_path, capsys):
    folder = with_parts(small, tmp_path, ["train", "train", "train", "val", "test"])
    data = prepare(settings(folder, tmp_path))
    assert data.split.tolist() == ["train", "train", "train", "validation", "test"] * 24
    new = prepare(settings(folder, tmp_path, split=Path("new")))
    assert new.split.tolist() == prepare(settings(small, tmp_path)).split.tolist() != data.split.tolist()


def test_a_class_must_have_works_to_learn_from_where_parts_are_given(small, tmp_path):
    folder = with_parts(small, tmp_path, ["train", "train", "validation", "test"])
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    table.loc[table["split"] == "test", "style"] = "Only in test"
    table.to_csv(folder / "labels.csv", index=False)
    data = prepare(settings(folder, tmp_path))
    assert "Only in test" not in data.tasks["style"].classes
    assert "Only in test" in prepare(settings(folder, tmp_path, split=Path("new"))).tasks["style"].classes


def test_the_split_of_a_training_repeats_its_classes(small, tmp_path):
    """The test part, which is not counted, would turn the order of the painters round."""
    folder = with_parts(small, tmp_path, ["train", "train", "validation", "test"])
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    table.loc[(table["split"] == "test") | (table.index % 12 == 0), "painter"] = "Mostly in test"
    table.to_csv(folder / "labels.csv", index=False)
    first = prepare(settings(folder, tmp_path, painters=("2",)))
    save_split(tmp_path / "split.csv", first.table, first.split, first.tasks)
    again = prepare(settings(folder, tmp_path, painters=("2",), split=tmp_path / "split.csv"))
    assert again.tasks == first.tasks and "Mostly in test" not in first.tasks["painter"].classes
    assert again.split.tolist() == first.split.tolist()
    new = prepare(settings(folder, tmp_path, painters=("2",), split=Path("new")))  # all works count there
    save_split(tmp_path / "new.csv", new.table, new.split, new.tasks)
    assert prepare(settings(folder, tmp_path, painters=("2",), split=tmp_path / "new.csv")).tasks == new.tasks
    assert "Mostly in test" in new.tasks["painter"].classes


def test_few_labels_in_validation_are_said(small, tmp_path, capsys):
    prepare(settings(small, tmp_path, sample=60))
    told = capsys.readouterr().out
    assert "few validation paintings have a label (" in told and "calibrated where 20 have one" in told


def test_a_missing_part_is_noted_and_near_copies_leave_train(small, tmp_path, capsys):
    folder = with_parts(small, tmp_path, ["train", "train", "train", "test"])
    names = sorted(p.name for p in (folder / "images").iterdir())
    shutil.copy(folder / "images" / names[3], folder / "images" / names[0])  # a test painting in train
    data = prepare(settings(folder, tmp_path))
    assert data.split[0] == "" and data.split[3] == "test" and data.groups[0] == data.groups[3]
    told = capsys.readouterr().out
    assert "note: 1 painting is left out of train or validation: near-copies are in the test" in told
    assert f"the data comes without a validation part: {len(data.rows('validation'))} paintings of train" in told
    assert "note: 2 paintings are near-copies, or have painter and title in common" in told


def test_works_that_are_all_untitled_can_be_divided(cases, tmp_path, capsys):
    data = prepare(settings(cases / "untitled", tmp_path))
    assert all(len(data.rows(part)) >= 5 for part in ("train", "validation", "test"))
    assert "near-copies" not in capsys.readouterr().out


def test_where_titles_bind_too_many_works_the_message_names_one(cases, tmp_path):
    folder = shutil.copytree(cases / "untitled", tmp_path / "series")
    table = (folder / "labels.csv").read_text(encoding="utf-8")
    (folder / "labels.csv").write_text(table.replace("Untitled", "The Nymphs").replace("Claude Monet", "Edgar Degas"))
    with pytest.raises(UserError, match=r"called 'The Nymphs' by Edgar Degas"):
        prepare(settings(folder, tmp_path))


@pytest.mark.parametrize("tasks", [("style",), ("painter", "genre"), ("style", "school")])
def test_any_subset_of_tasks_and_the_users_own(small, tmp_path, tasks):
    folder = shutil.copytree(small, tmp_path / "own")
    rows = read_rows(folder / "labels.csv")
    table = pd.DataFrame(rows).assign(school=[("North", "South", "")[i % 3] for i in range(len(rows))])
    table.to_csv(folder / "labels.csv", index=False)
    data = prepare(settings(folder, tmp_path, tasks=tasks))
    assert tuple(data.tasks) == tasks == tuple(data.trainable_tasks())
    for name in tasks:
        column = table.set_index("filename")[name].reindex(data.table["id"])
        assert data.tasks[name].decode(data.labels[name]) == column.tolist()
    assert len(data.all_painters_task()[0].classes) == 3 and data.by_trained_painters().any()


def test_held_out_painters_do_not_need_a_painter_task(tmp_path, capsys):
    """Styles alone are learned; the painters are known, and some of them are kept out of training."""
    rng = np.random.default_rng(0)
    rows = []
    (tmp_path / "data" / "images").mkdir(parents=True)
    for i in range(400):
        style = i % 2
        Image.fromarray(picture((LEVELS[2 * style], 90, 90), rng)).save(tmp_path / "data" / "images" / f"{i:03d}.png")
        rows.append((f"images/{i:03d}.png", f"Painter {i // 2 % 80}", ("Dots", "Lines")[style]))
    table = pd.DataFrame(rows, columns=["filename", "artist", "style"])
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    data = prepare(settings(tmp_path / "data", tmp_path, tasks=("style",)))
    painters = data.table["painter"].to_numpy()
    held_out = set(painters[data.rows("validation")]) - set(painters[data.rows("train")])
    assert len(held_out) >= 2 and f"by {len(held_out)} held-out painters" in capsys.readouterr().out


def test_the_same_split_whatever_the_order_of_the_table(small, tmp_path):
    folder = shutil.copytree(small, tmp_path / "moved")
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    table.sample(frac=1, random_state=3).to_csv(folder / "labels.csv", index=False)
    one, other = prepare(settings(small, tmp_path)), prepare(settings(folder, tmp_path))
    assert one.table["id"].tolist() == other.table["id"].tolist()
    assert one.split.tolist() == other.split.tolist() and one.groups.tolist() == other.groups.tolist()


@pytest.mark.real
def test_the_same_split_whatever_the_image_size(paintings, tmp_path):
    """Two of a painter's series are near-copies by cached images of 120 pixels and none by those of 160."""
    table = pd.read_csv(paintings / "wikiart" / "labels.csv", dtype=str, keep_default_na=False)
    chosen = table[table["artist"].str.contains("Landfield|Malevich")]
    assert len(chosen) > 60
    (tmp_path / "data").mkdir()
    chosen.to_csv(tmp_path / "data" / "labels.csv", index=False)
    for name in chosen["filename"]:
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        shutil.copy(paintings / "wikiart" / name, tmp_path / "data" / name)
    sizes = {size: replace(settings(tmp_path / "data", tmp_path), image_size=size) for size in (64, 96, 128)}
    one, *others = [prepare(each) for each in sizes.values()]
    assert np.bincount(one.groups).max() > 1
    for other in others:
        assert one.groups.tolist() == other.groups.tolist() and one.split.tolist() == other.split.tolist()


# ------------------------------------------------------------------------------------------------- the demo


def small_demo(folder: Path) -> Path:
    return make_demo(folder, count=150, size=48)


def test_tables_without_images_are_not_chosen_silently(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dataset, "make_demo", small_demo)  # a smaller one
    tables = Path("data/painter-by-numbers")
    tables.mkdir(parents=True)
    (tables / "all_data_info.csv").write_text("artist,style,genre,title,new_filename\nA,S,G,T,1.jpg\n")
    data = prepare(settings(None, tmp_path))
    assert data.demo and data.folder == Path("data/demo")
    told = capsys.readouterr().out
    assert f"note: {tables} has tables but no images: painters-mtl download --images fetches them" in told
    assert "using the demo" in told
    with pytest.raises(UserError, match="has the competition's tables but no images"):
        prepare(settings(tables, tmp_path))


def test_the_demo_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dataset, "make_demo", small_demo)
    real = Path("data/painter-by-numbers/x.jpg")  # what would be used without --data
    real.parent.mkdir(parents=True)
    real.touch()
    data = prepare(settings(Path("demo"), tmp_path))
    assert data.demo and len(data.table) == 150
    assert capsys.readouterr().out.startswith("using the demo, paintings drawn by code\n")


def test_what_cannot_work_is_said_before_the_copies_are_made(small: Path, tmp_path: Path) -> None:
    for changes, said in (
        ({"painters": ("Nobody",)}, "Nobody"),
        ({"split": tmp_path / "typo.csv"}, "typo.csv is not there"),
    ):
        with pytest.raises(UserError, match=said):
            prepare(settings(small, tmp_path, **changes))
    empty = shutil.copytree(small, tmp_path / "template")
    table = pd.read_csv(empty / "labels.csv", dtype=str)
    table.assign(painter="", style="", genre="").to_csv(empty / "labels.csv", index=False)
    with pytest.raises(UserError, match="no picture has a painter, style or genre"):
        prepare(settings(empty, tmp_path))
    assert not (tmp_path / "cache").exists()


def test_a_sample_is_a_part_of_the_paintings_and_the_same_each_time(small: Path, tmp_path: Path) -> None:
    def ids(**changes: object) -> list[str]:
        data = prepare(settings(small, tmp_path, **changes))
        assert len(data.table) == len(data.split) == len(data.image_rows)
        return list(data.table["id"])

    everything, part = ids(), ids(sample=50)
    assert len(part) == 50 and [name for name in everything if name in set(part)] == part
    assert ids(sample=50) == part != ids(sample=50, seed=1)
    assert ids(sample=120) == ids(sample=1000) == everything
