"""The competition's tables, and every quirk of the real ones."""

import csv
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from folders import column, draw, write, zipped

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import COLUMNS, read_catalog
from painters_mtl.data.classes import choose_classes
from painters_mtl.data.settings import LabelSettings

ALL_HEADER = "artist,date,genre,style,title,artist_group,in_train,new_filename\n"
TRAIN_HEADER = "filename,artist,title,style,genre,date\n"
HASH = {name: f"{i:032x}" for i, name in enumerate(("Claude Monet", "Walter Sickert"), 10)}


def competition(folder: Path, full: bool = True, train: bool = True, images: bool = True) -> Path:
    """Six paintings: 1 to 4 in train (3 with a leaked title), 5 and 6 in test (6 with a leaked title, no hash)."""
    monet, sickert = "Claude Monet,1900.0,landscape,Impressionism", "Walter Sickert,,portrait,Realism"
    if full:
        write(folder / "all_data_info.csv", ALL_HEADER + (
            f"{monet},Haystacks,train_and_test,True,1.jpg\n"
            f"{monet},\"Haystacks, end of summer\",train_and_test,True,2.jpg\n"
            "Sunset,1901.0,landscape,Impressionism,Haystacks,train_and_test,True,3.jpg\n"
            f"{sickert},Ennui,train_only,True,4.jpg\n"
            f"{monet},Poplars,train_and_test,False,5.jpg\n"
            "the Fur Cape,,portrait,Realism,Woman,train_and_test,False,6.jpg\n"
            + "".join(f"{monet},Study {i},train_and_test,True,{i}.jpg\n" for i in range(1000, 1200))))  # fmt: skip
    if train:
        m, s = HASH["Claude Monet"], HASH["Walter Sickert"]
        write(folder / "train_info.csv", TRAIN_HEADER + (
            f"1.jpg,{m},Haystacks,Impressionism,landscape,1900.0\n2.jpg,{m},x,Impressionism,landscape,\n"
            f"3.jpg,{m},Haystacks,Impressionism,landscape,1901.0\n4.jpg,{s},Ennui,Realism,portrait,\n"))  # fmt: skip
    if images:
        draw(*(folder / ("train" if i < 5 else "test") / f"{i}.jpg" for i in range(1, 7)))
    return folder


def test_titles_return_from_the_artist_column(tmp_path):
    catalog = read_catalog(competition(tmp_path))
    assert catalog.layout == "painter-by-numbers"
    table = catalog.table.set_index("id")
    assert table.loc["train/3.jpg", ["painter", "title"]].tolist() == ["Claude Monet", "Haystacks, Sunset"]  # by hash
    assert table.loc["test/6.jpg", ["painter", "title"]].tolist() == ["", "Woman, the Fur Cape"]  # by artist_group
    assert table.loc["train/4.jpg", "painter"] == "Walter Sickert"
    assert table["competition"].to_dict() == {
        **{f"train/{i}.jpg": "train" for i in range(1, 5)}, "test/5.jpg": "test", "test/6.jpg": "test"}  # fmt: skip
    assert any(note.startswith("2 rows had the end of their title") and "of 1 found by hash (1 remain" in note
               for note in catalog.notes)  # fmt: skip
    assert any("200 of the 206 rows" in note for note in catalog.notes)


def test_the_name_most_rows_of_a_hash_have_is_the_painter(tmp_path):
    names = ["Aerial", "Walter Sickert", "Walter Sickert", "Aerial"]  # no group or mark shows that the first is a title
    rows = "".join(f"{name},,,Realism,View,train_and_test,{i < 3},{i}.jpg\n" for i, name in enumerate(names))
    write(tmp_path / "all_data_info.csv", ALL_HEADER + rows + "Walter Sickert,,,Realism,x,train_and_test,False,9.jpg\n")
    write(tmp_path / "train_info.csv", TRAIN_HEADER + "".join(f"{i}.jpg,{'f' * 32},View,,,\n" for i in range(3)))
    draw(*(tmp_path / f"{i}.jpg" for i in range(4)))
    table = read_catalog(tmp_path).table
    assert table["painter"].tolist() == ["Walter Sickert"] * 4  # the last has no hash: the title is proven elsewhere
    assert table["title"].tolist() == ["View, Aerial", "View", "View", "View, Aerial"]
    (tmp_path / "all_data_info.csv").unlink()
    assert read_catalog(tmp_path).table["competition"].tolist() == ["train"] * 3


def test_only_the_full_table_or_only_the_hashes(tmp_path):
    full = read_catalog(competition(tmp_path / "full", train=False)).table.set_index("id")
    assert full.loc["train/3.jpg", "painter"] == "" and full.loc["train/1.jpg", "painter"] == "Claude Monet"
    hashed = read_catalog(competition(tmp_path / "hashes", full=False))
    assert set(hashed.table["painter"]) == set(HASH.values()) and set(hashed.table["competition"]) == {"train"}
    assert any("only as a hash" in note for note in hashed.notes)
    assert any("2 of the 6 images have no row" in note for note in hashed.notes)


def test_a_row_that_only_the_hashes_name_keeps_its_title(tmp_path):
    folder = competition(tmp_path)
    table = (folder / "all_data_info.csv").read_text()
    (folder / "all_data_info.csv").write_text("".join(x for x in table.splitlines(True) if not x.endswith(",4.jpg\n")))
    catalog = read_catalog(folder)
    row = catalog.table.set_index("id").loc["train/4.jpg"]
    assert (row["title"], row["painter"]) == ("Ennui", HASH["Walter Sickert"])
    assert any(note.startswith("2 rows had the end of their title") for note in catalog.notes)


def test_columns_of_its_tables_can_be_named_and_its_test_paintings_stay_apart(tmp_path):
    folder = competition(tmp_path, images=False)
    draw(*(folder / "img" / f"{i}.jpg" for i in range(1, 7)))
    write(folder / "all_data_info.csv", (folder / "all_data_info.csv").read_text().replace("style", "Art School", 1))
    usual, named = (read_catalog(folder, LabelSettings(columns=columns)) for columns in ({}, {"genre": "art school"}))
    assert named.layout == "painter-by-numbers"
    assert column(named, "competition") == column(usual, "competition") and "test" in column(named, "competition")
    assert column(named, "genre") == ["Impressionism"] * 3 + ["Realism", "Impressionism", "Realism"]
    own = read_catalog(folder, LabelSettings(tasks=("painter", "art_school")))
    assert column(own, "art_school") == column(named, "genre")
    alone = read_catalog(folder, LabelSettings(table=Path("train_info.csv")))
    assert alone.layout == "painter-by-numbers" and len(alone.table) == 4
    write(folder / "labels.csv", "image,maler\n1.jpg,Monet\n2.jpg,Manet\n")  # the user's own, which --columns means
    theirs = read_catalog(folder, LabelSettings(columns={"painter": "maler"}))
    assert theirs.layout == "labels.csv" and column(theirs, "painter") == ["Monet", "Manet"]
    write(tmp_path / "mine" / "train_info.csv", "image,style\n1.jpg,Dada\n2.jpg,Cubism\n")
    draw(*(tmp_path / "mine" / f"{i}.jpg" for i in (1, 2)))
    own_table = read_catalog(tmp_path / "mine", LabelSettings(table=tmp_path / "mine" / "train_info.csv"))
    assert own_table.layout != "painter-by-numbers" and column(own_table, "style") == ["Dada", "Cubism"]
    with pytest.raises(UserError, match=r"--columns genre=school: there is no column school; all_data_info has artist"):
        read_catalog(folder, LabelSettings(columns={"genre": "school"}))


def test_a_cut_down_full_table_keeps_its_painters(tmp_path):
    rows = "".join(f"P{'ABC'[i % 3]},,,Realism,T{i},train_and_test,True,{i}.jpg\n" for i in range(30))
    write(tmp_path / "all_data_info.csv", ALL_HEADER + rows)
    draw(*(tmp_path / "train_1" / f"{i}.jpg" for i in range(30)))
    assert Counter(read_catalog(tmp_path).table["painter"]) == {"PA": 10, "PB": 10, "PC": 10}


def test_train_or_test_by_the_folder_or_zip_where_no_table_says(tmp_path):
    draw(*(tmp_path / name for name in ("train_3/1.jpg", "test/2.jpg", "plain/3.jpg", "4.jpg")))
    zipped(tmp_path / "test.zip", tmp_path, "4.jpg")
    (tmp_path / "4.jpg").unlink()
    write(tmp_path / "all_data_info.csv", "artist,new_filename\nA,1.jpg\nA,2.jpg\nA,3.jpg\nA,4.jpg\n")
    table = read_catalog(tmp_path).table.set_index("id")
    assert table["competition"].to_dict() == {
        "train_3/1.jpg": "train", "test/2.jpg": "test", "plain/3.jpg": "", "test/4.jpg": "test"}  # fmt: skip


def test_zips_are_read_in_place_and_give_the_same_ids(tmp_path):
    plain = competition(tmp_path / "plain")
    packed = competition(tmp_path / "packed", images=False)
    zipped(packed / "train_1.zip", plain, "train/1.jpg", "train/2.jpg")
    zipped(packed / "train_2.zip", plain, "train/3.jpg", "train/4.jpg")
    zipped(packed / "test.zip", plain, "test/5.jpg", "test/6.jpg")
    for name in ("all_data_info.csv", "train_info.csv"):
        zipped(packed / f"{name}.zip", packed, name)
        (packed / name).unlink()
    before = sorted(packed.rglob("*"))
    a, b = read_catalog(plain), read_catalog(packed)
    values = [c for c in COLUMNS if c not in ("file", "member")]
    pd.testing.assert_frame_equal(a.table[values], b.table[values])
    assert a.notes == b.notes and sorted(packed.rglob("*")) == before
    assert b.table.set_index("id").loc["test/5.jpg", "file"] == str(packed / "test.zip")


def test_folders_go_before_zips_and_replacements_before_all(tmp_path):
    folder = competition(tmp_path)
    zipped(folder / "train_1.zip", folder, "train/1.jpg", "train/2.jpg")
    zipped(folder / "replacements_for_corrupted_files.zip", folder, "train/2.jpg")
    draw(folder / "replacements_for_corrupted_files" / "test" / "5.jpg")
    catalog = read_catalog(folder)
    table = catalog.table.set_index("id")
    assert len(table) == 6
    assert table.loc["train/1.jpg", "member"] == ""
    assert table.loc["train/2.jpg", "file"] == str(folder / "replacements_for_corrupted_files.zip")
    assert "replacements_for_corrupted_files/test/5.jpg" in table.index
    assert table.loc["replacements_for_corrupted_files/test/5.jpg", "competition"] == "test"
    assert any(note.startswith("3 images are there twice") for note in catalog.notes)
    assert any(note.startswith("1 image has the file name of another") for note in catalog.notes)


def test_tables_one_level_below(tmp_path):
    competition(tmp_path / "painter-by-numbers")
    catalog = read_catalog(tmp_path)
    assert len(catalog.table) == 6 and catalog.table["id"][0] == "painter-by-numbers/test/5.jpg"


@pytest.mark.real
def test_the_real_competition_data(paintings):
    folder = paintings / "pbn64"
    catalog = read_catalog(folder)
    table = catalog.table
    assert (len(table), Counter(table["competition"])) == (13_783, {"train": 12_169, "test": 1_614})
    assert table["id"].is_unique and all(Path(file).is_file() for file in table["file"][::500])
    assert any("89,467 of the 103,250 rows" in note for note in catalog.notes)

    # another way: the csv module, no repair; the painters' order is that of the repaired names but for one near tie
    with (folder / "all_data_info.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["new_filename"]: row for row in csv.DictReader(file)}
    mine = [rows[name.rsplit("/", 1)[1]] for name in table["id"]]
    assert [row["in_train"] == "True" for row in mine] == (table["competition"] == "train").tolist()
    train = [row for row in mine if row["in_train"] == "True"]
    tasks, _ = choose_classes(table, {"painter": 8, "style": 10, "genre": 23})
    top = [name for name, _ in Counter(" ".join(row["artist"].split()) for row in train).most_common(8)]
    assert set(tasks["painter"].classes) == set(top)
    assert set(tasks["style"].classes) == {"Impressionism", "Post-Impressionism"}
    genres = Counter(row["genre"] for row in train if row["genre"])
    assert [genres[name] for name in tasks["genre"].classes] == sorted(genres.values(), reverse=True)[:23]
    same = [" ".join(row["artist"].split()) == name for row, name in zip(mine, table["painter"], strict=True)]
    assert 0.99 < sum(same) / len(same) < 1  # the others are titles that leaked
    assert not {"Vase with Fifteen Sunflowers", "Church of the Covenant (Boston)"} & set(table["painter"])


@pytest.mark.real
def test_what_leaked_can_be_told_without_the_hashes(paintings, tmp_path):
    """Of the names that the hashes prove to be titles, the full table alone shows most, and never a painter."""
    for kind in ("both", "full"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "all_data_info.csv").symlink_to(paintings / "pbn64" / "all_data_info.csv")
        (tmp_path / kind / "train").symlink_to(paintings / "pbn64" / "train")
    (tmp_path / "both" / "train_info.csv").symlink_to(paintings / "pbn64" / "train_info.csv")
    both, full = (read_catalog(tmp_path / kind).table for kind in ("both", "full"))
    assert both["id"].tolist() == full["id"].tolist()
    removed = full["painter"] == ""
    assert 20 < removed.sum() < 80
    assert (full["painter"][~removed] == both["painter"][~removed]).mean() > 0.998
    assert (both["title"][removed].str.contains(", ")).all()  # each was a title by the hashes too
