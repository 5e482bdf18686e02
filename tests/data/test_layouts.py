"""What a folder is taken for, and what is refused because it is not clear."""

from collections import Counter
from pathlib import Path

import pytest
from folders import column, draw, labels, touch, write, zipped

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.settings import LabelSettings
from painters_mtl.images.files import find_images
from painters_mtl.inference.result_tables import write_table
from painters_mtl.training.settings import TrainSettings

ROWS = "".join(f"{k}.jpg,{'Monet' if k % 2 else 'Degas'},{'Dada' if k % 3 else 'Cubism'}\n" for k in range(6))
TABLE = f"filename,artist,style\n{ROWS}"
IMAGES = [f"{k}.jpg" for k in range(6)]
WIKIART = [f"{style}/{painter}_work-{k}-1900.jpg" for style in ("Cubism", "Baroque") for k in range(3)
           for painter in ("claude-monet", "edgar-degas")]  # fmt: skip


# ------------------------------------------------------------------------------------------------- recognised


@pytest.mark.parametrize(
    ("layout", "files", "images"),
    [
        ("painter-by-numbers", {"all_data_info.csv": "artist,new_filename\nA,0.jpg\n"}, IMAGES),
        ("labels.csv", {"labels.csv": TABLE}, IMAGES),
        ("labels.csv", {"Labels.CSV": TABLE, "other.csv": "id,x\n1,2\n"}, IMAGES),
        ("labels.csv", {"archive/labels.csv": TABLE}, [f"archive/{name}" for name in IMAGES]),
        ("table", {"labels.tsv": TABLE.replace(",", "\t")}, IMAGES),
        ("table", {"paintings.csv": TABLE, "README.txt": "a, b"}, IMAGES),
        ("table", {"paintings.csv": TABLE, "sample_submission.csv": "id,label\n1.jpg,0\n"}, IMAGES),
        ("table", {"paintings.csv": TABLE, "museums.csv": "id,city\n1,Paris\n"}, IMAGES),
        ("imagefolder", {"metadata.csv": TABLE.replace("filename", "file_name")}, IMAGES),
        ("wikiart", {}, WIKIART),
        ("wikiart", {"classes.csv": f"filename,artist,genre\n{WIKIART[0]},x,['Cubism']\n"}, WIKIART),
        ("wikiart", {}, [f"archive/wikiart/{name}" for name in WIKIART]),
        ("best-artworks", {"artists.csv": "id,name,genre\n0,Claude Monet,Impressionism\n1,Edgar Degas,Realism\n"},
         ["images/images/Claude_Monet/a_1.jpg", "images/images/Edgar_Degas/b_1.jpg"]),
        ("folders", {}, ["Monet/1.jpg", "Degas/1.jpg"]),
        ("folders", {"README.txt": "prose"}, ["train/Monet/1.jpg", "test/Degas/1.jpg"]),
        ("folders", {"labels.txt": "Degas\nMonet\n"}, ["Monet/1.jpg", "Degas/1.jpg"]),
        ("folders", {"labels.csv": "id,name\n0,Degas\n1,Monet\n"}, ["Monet/1.jpg", "Degas/1.jpg"]),
        ("folders", {"notes.csv": "id,genre\n7,portrait\n"}, ["Monet/1.jpg", "Degas/1.jpg"]),
        ("folders", {"sizes.csv": "filename,width\n1.jpg,3\n"}, ["Monet/1.jpg", "Degas/2.jpg"]),
    ],
)  # fmt: skip
def test_it_is_recognised_and_said(tmp_path, layout, files, images):
    touch(tmp_path, *images)
    for name, text in files.items():
        write(tmp_path / name, text)
    catalog = read_catalog(tmp_path)
    assert catalog.layout == layout
    assert catalog.notes[0].startswith("read as ")


@pytest.mark.parametrize("name", ["predictions.csv", "labels.csv", "vectors.jsonl"])
def test_what_predict_wrote_beside_the_pictures_is_not_learned(tmp_path, name):
    """Its labels are a network's guesses, and the user has sorted the pictures since."""
    touch(tmp_path, *(f"{p}/{p}{k}.jpg" for p in ("Turner", "Constable") for k in range(3)))
    rows = [{"path": f"{p}{k}.jpg", "painter": "Claude Monet", "painter_confidence": 0.9, "doubtful": "", "error": ""}
            for p in ("Turner", "Constable") for k in range(3)]  # fmt: skip
    write_table(rows, list(rows[0]), name.rpartition(".")[2], tmp_path / name)
    catalog = read_catalog(tmp_path)
    assert catalog.layout == "folders" and set(column(catalog, "painter")) == {"Turner", "Constable"}
    assert f"{name} holds labels that predict or embed wrote, and is not read (--table takes it)." in catalog.notes
    table = read_catalog(tmp_path, LabelSettings(table=Path(name)))
    assert set(column(table, "painter")) == {"Claude Monet"}
    touch(tmp_path / "flat", "Turner0.jpg")
    write_table(rows, list(rows[0]), name.rpartition(".")[2], tmp_path / "flat" / name)
    with pytest.raises(UserError, match=f"{name} holds labels that predict or embed wrote"):
        read_catalog(tmp_path / "flat")


def test_runs_and_explanations_among_the_pictures_are_no_data(tmp_path):
    touch(tmp_path, *(f"{p}/{k}.jpg" for p in ("Turner", "Constable") for k in range(3)))
    before = read_catalog(tmp_path)
    touch(tmp_path, "models/own/figures/confusion.png", "models/own/baselines/painter/figures/confusion.png",
          "explanations/0-explained.png")  # fmt: skip
    for run in ("own", "own/baselines/painter"):
        TrainSettings().save(tmp_path / "models" / run / "config.json")
        write(tmp_path / "models" / run / "split.csv", "id,split,painter\nTurner/0.jpg,train,Monet\n")
    after = read_catalog(tmp_path)
    assert after.notes == before.notes and column(after, "id") == column(before, "id")
    assert [f.name for f in find_images(tmp_path / "models" / "own")] == ["confusion.png"]  # a folder that is named
    write(tmp_path / "yolo" / "config.json", "{}")
    write(tmp_path / "yolo" / "split.csv", "id\n")
    touch(tmp_path, "yolo/mine.jpg", "mine/monet-explained.png", "mine/0.png")
    names = {f.name for f in find_images(tmp_path)}
    assert {"mine.jpg", "monet-explained.png"} <= names and "0-explained.png" not in names  # others' files are found


def test_raw_files_beside_the_pictures_are_no_other_pictures(tmp_path):
    touch(tmp_path, *(f"{k}.{end}" for k in range(4) for end in ("jpg", "NEF", "psd")), "alone.psd")
    write(tmp_path / "labels.csv", "filename,painter\n" + "".join(f"{k}.tif,{'AB'[k % 2]}\n" for k in range(4)))
    assert column(read_catalog(tmp_path), "id") == [f"{k}.jpg" for k in range(4)]
    assert "alone.psd" in [f.name for f in find_images(tmp_path)]


def test_a_table_of_what_a_competition_asks_for_does_not_take_the_place_of_class_folders(tmp_path):
    touch(tmp_path, *(f"train/{p}/{k}.jpg" for p in ("Monet", "Degas") for k in range(5)), "test/x.jpg", "test/y.jpg")
    write(tmp_path / "solution.csv", "image,artist\nx.jpg,Monet\ny.jpg,Monet\n")
    catalog = read_catalog(tmp_path)
    assert catalog.layout == "folders" and Counter(column(catalog, "painter")) == {"Monet": 5, "Degas": 5}
    assert any(note.startswith("2 of the 12 images are in no class folder") for note in catalog.notes)


def test_a_table_that_names_the_images_goes_before_their_folders(tmp_path):
    touch(tmp_path, "room 1/a.jpg", "room 2/b.jpg")
    write(tmp_path / "paintings.csv", "image,artist\na.jpg,Monet\nb.jpg,Degas\n")
    assert labels(read_catalog(tmp_path), "painter") == {"room 1/a.jpg": ("Monet",), "room 2/b.jpg": ("Degas",)}


def test_labels_csv_that_only_numbers_the_classes_is_named(tmp_path):
    touch(tmp_path, "Monet/1.jpg", "Degas/1.jpg")
    write(tmp_path / "labels.csv", "id,name\n0,Degas\n1,Monet\n")
    assert "labels.csv does not say which image is what, and is not read." in read_catalog(tmp_path).notes


def test_columns_without_a_table_are_refused(tmp_path):
    touch(tmp_path, *WIKIART)
    with pytest.raises(UserError, match=r"--columns: .* was read as WikiArt.*without a table; name one by --table"):
        read_catalog(tmp_path, LabelSettings(columns={"painter": "maker"}))


def test_tables_in_a_folder_of_their_own_beside_many_others(tmp_path):
    touch(tmp_path, *(f"{k}/{k}.jpg" for k in range(20)))
    rows = "".join(f"{k}.jpg,{'Monet' if k % 2 else 'Degas'}\n" for k in range(20))
    write(tmp_path / "metadata" / "paintings.csv", f"image,artist\n{rows}")
    assert Counter(column(read_catalog(tmp_path), "painter")) == {"Monet": 10, "Degas": 10}


@pytest.mark.parametrize("images", [WIKIART, ["Monet/1.jpg", "Degas/1.jpg"]])
def test_tasks_that_no_table_has_are_refused(tmp_path, images):
    touch(tmp_path, *images)
    with pytest.raises(UserError, match=r"--tasks school: .* has no such labels \(read as .*--folders school"):
        read_catalog(tmp_path, LabelSettings(tasks=("school",)))


def test_a_table_that_cannot_be_read_is_said_and_passed_over(tmp_path):
    pytest.importorskip("pyarrow")
    touch(tmp_path, "Monet/1.jpg", "Degas/1.jpg")
    write(tmp_path / "paintings.parquet", "no parquet")
    catalog = read_catalog(tmp_path)
    assert catalog.layout == "folders" and any("paintings.parquet cannot be read" in note for note in catalog.notes)


# ------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("images", [["a.jpg"], ["one/a.jpg", "b.jpg"], ["train/a.jpg", "test/b.jpg"]])
def test_pictures_alone_name_what_can_be_done_with_them(tmp_path, images):
    draw(*(tmp_path / name for name in images))
    count = "1 picture" if len(images) == 1 else "2 pictures"
    with pytest.raises(
        UserError, match=rf"has {count}, and nothing says .* painters-mtl predict; .*sub-folder.*labels\.csv"
    ):
        read_catalog(tmp_path)


def test_a_table_without_pictures_names_the_three_layouts(tmp_path):
    write(tmp_path / "notes.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match=r"train_info\.csv.*labels\.csv.*sub-folder.*it has .*images"):
        read_catalog(tmp_path)


def test_a_column_that_is_not_there_is_named(tmp_path):
    draw(*(tmp_path / f"pictures/{k}.jpg" for k in range(4)))
    write(tmp_path / "Liste.csv", "Bild;Person\n" + "".join(f"{k}.jpg;m{k % 2}\n" for k in range(4)))
    settings = LabelSettings(columns={"filename": "Bild", "painter": "Maler"})
    with pytest.raises(UserError, match=r"Liste\.csv has no column Maler \(--columns\); it has bild, person"):
        read_catalog(tmp_path, settings)


def test_columns_may_be_called_in_other_languages(tmp_path):
    draw(*(tmp_path / f"{k}.jpg" for k in range(4)))
    write(
        tmp_path / "Liste.csv", "Datei;Künstler;Gattung\n" + "".join(f"{k}.jpg;Franz Marc;Porträt\n" for k in range(4))
    )
    table = read_catalog(tmp_path).table
    assert table["painter"].tolist() == ["Franz Marc"] * 4 and table["genre"].tolist() == ["Porträt"] * 4


def test_what_windows_leaves_is_no_table_of_the_user(tmp_path):
    draw(tmp_path / "a.jpg", tmp_path / "b.jpg")
    write(tmp_path / "Thumbs.db", "x")
    with pytest.raises(UserError) as error:
        read_catalog(tmp_path)
    assert "is no table" not in str(error.value)


def test_the_columns_of_a_table_that_labels_nothing_are_named(tmp_path):
    """With the option that says what they are."""
    draw(*(tmp_path / f"pictures/{k}.jpg" for k in range(4)))
    write(tmp_path / "collection.csv", "photo file,maker\n" + "".join(f"{k}.jpg,m{k % 2}\n" for k in range(4)))
    with pytest.raises(UserError, match=r"collection.csv has the columns photo file, maker: .*--columns filename=COL"):
        read_catalog(tmp_path)


@pytest.mark.parametrize("name", ["catalogue.xlsx", "labels.json"])
def test_a_table_of_a_kind_that_is_not_read_is_named(tmp_path, name):
    draw(tmp_path / "a.jpg", tmp_path / "b.jpg")
    write(tmp_path / name, "[]")
    with pytest.raises(UserError, match=f"{name} is no table that is read here: save it as CSV, or as JSON lines"):
        read_catalog(tmp_path)


@pytest.mark.real
def test_pictures_without_labels_are_refused(paintings):
    with pytest.raises(UserError, match="75 pictures"):
        read_catalog(paintings / "originals")


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (["Monet/1.jpg", "Degas/1.jpg", "test/1.jpg"], "folders called test stand beside Degas, Monet"),
        (["Monet/1.jpg", "Degas/1.jpg", "backup/1.jpg"], "folders called backup stand beside Degas, Monet"),
        (["Monet/1.jpg", "Degas/1.jpg", "images/9.jpg"], "folders called images stand beside Degas, Monet"),
        (["Monet/1.jpg", "Degas/1.jpg", "Cubism/1.jpg"], r"some are called as styles or genres \(Cubism\)"),
        (["00/1.jpg", "01/1.jpg", "02/1.jpg"], "00, 01, 02, which are no names of classes"),
        (["1890/1.jpg", "1891/1.jpg"], "no names of classes"),
        (["France/Monet/1.jpg", "France/Degas/1.jpg", "Spain/Miro/1.jpg", "Spain/Dali/1.jpg"], "folders on two levels"),
        ([f"{room}/claude-{p}_x-{k}.jpg" for room in ("room-a", "room-b") for p in ("monet", "lorrain") for k in "12"],
         r"named as WikiArt's .* the folders \(room-a, room-b\) are no well-known styles"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_the_way_out(tmp_path, images, sentence):
    touch(tmp_path, *images)
    with pytest.raises(UserError, match=f"{sentence}.*--folders painter, style or genre"):
        read_catalog(tmp_path)
    assert len(read_catalog(tmp_path, LabelSettings(folders="painter")).table) == len(images)


def test_several_tables_are_refused_until_one_is_named(tmp_path):
    touch(tmp_path, *IMAGES)
    write(tmp_path / "louvre.csv", TABLE)
    write(tmp_path / "orsay.csv", TABLE.replace("Monet", "Manet"))
    with pytest.raises(
        UserError, match=r"several tables could hold the labels \(louvre.csv, orsay.csv\).*--table FILE"
    ):
        read_catalog(tmp_path)
    for name in (Path("orsay.csv"), tmp_path / "orsay.csv"):
        assert set(column(read_catalog(tmp_path, LabelSettings(table=name)), "painter")) == {"Manet", "Degas"}
    for name, sentence in (("none.csv", "there is no such file"), ("0.jpg", "must end in .csv")):
        with pytest.raises(UserError, match=f"--table {name}: .*{sentence}|--table {name}: {sentence}"):
            read_catalog(tmp_path, LabelSettings(table=Path(name)))


def test_a_table_beside_another_form_of_it_is_named(tmp_path):
    touch(tmp_path, *IMAGES)
    write(tmp_path / "labels.csv", TABLE)
    write(tmp_path / "labels.tsv", TABLE.replace(",", "\t"))
    assert "labels.tsv lies beside labels.csv and is not read (--table takes it)." in read_catalog(tmp_path).notes


def test_a_table_from_elsewhere(tmp_path):
    touch(tmp_path / "images", *IMAGES)
    table = write(tmp_path / "elsewhere" / "mine.tsv", TABLE.replace(",", "\t"))
    catalog = read_catalog(tmp_path / "images", LabelSettings(table=table))
    assert len(catalog.table) == 6 and set(column(catalog, "style")) == {"Dada", "Cubism"}


# ------------------------------------------------------------------------------------------------- small inputs


def test_the_cases(cases):
    """Each of these was trained on as something else by version 0.4.0."""
    expected = {
        "best_artworks": ("best-artworks", {"Vincent van Gogh": 5, "Edgar Degas": 5, "Frida Kahlo": 5}),
        "training_set": ("folders", {"Vincent van Gogh": 8, "Edgar Degas": 8, "Frida Kahlo": 8}),
        "wikiart_styles": ("wikiart", {"Claude Monet": 12, "Edgar Degas": 12}),
        "synology": ("folders", {"Vincent van Gogh": 6, "Edgar Degas": 6}),
        "placeholders": ("labels.csv", {"": 12, "Edgar Degas": 12, "Claude Monet": 12}),
        "unknown_painter": ("labels.csv", {"": 12, "Edgar Degas": 12, "Claude Monet": 12}),
    }
    catalogs = {name: read_catalog(cases / name) for name in expected}
    for name, (layout, painters) in expected.items():
        assert (catalogs[name].layout, Counter(column(catalogs[name], "painter"))) == (layout, painters), name
    assert Counter(column(catalogs["best_artworks"], "style")) == {"Impressionism": 15}
    assert Counter(column(catalogs["training_set"], "part")) == {"train": 15, "test": 9}
    assert Counter(column(catalogs["wikiart_styles"], "style")) == {"Baroque": 8, "Cubism": 8, "Impressionism": 8}
    assert Counter(column(catalogs["placeholders"], "style")) == {"": 24, "Cubism": 12}
    notes = {name: " ".join(catalog.notes) for name, catalog in catalogs.items()}
    assert "15 images in resized are smaller copies" in notes["best_artworks"]
    assert "divided already: 15 train, 9 test" in notes["training_set"]
    assert "12 cells of painter hold a placeholder (nan)" in notes["placeholders"]
    assert "24 cells of style hold a placeholder (NULL, n/a)" in notes["placeholders"]
    assert "12 cells of painter say that it is unknown (unknown)" in notes["unknown_painter"]


def test_a_table_that_lies_in_a_zip_and_unpacked_is_one_table(tmp_path):
    touch(tmp_path / "archive", "images/1.jpg", "images/2.jpg")
    write(tmp_path / "archive" / "art.csv", "filename,artist\n1.jpg,Monet\n2.jpg,Degas\n")
    zipped(tmp_path / "archive.zip", tmp_path / "archive", "art.csv", "images/1.jpg", "images/2.jpg")
    assert labels(read_catalog(tmp_path), "painter") == {
        "archive/images/1.jpg": ("Monet",), "archive/images/2.jpg": ("Degas",)
    }  # fmt: skip


def test_a_table_in_a_zip_can_be_named_as_the_message_writes_it(tmp_path):
    touch(tmp_path / "in", "1.jpg", "2.jpg")
    write(tmp_path / "in" / "a.csv", "filename,artist\n1.jpg,Monet\n2.jpg,Degas\n")
    write(tmp_path / "in" / "b.csv", "filename,artist\n1.jpg,Manet\n2.jpg,Cezanne\n")
    zipped(tmp_path / "data" / "all.zip", tmp_path / "in", "a.csv", "b.csv", "1.jpg", "2.jpg")
    with pytest.raises(UserError, match=r"several tables could hold the labels \(all\.zip/a\.csv, all\.zip/b\.csv\)"):
        read_catalog(tmp_path / "data")
    catalog = read_catalog(tmp_path / "data", LabelSettings(table=Path("all.zip/b.csv")))
    assert column(catalog, "painter") == ["Manet", "Cezanne"]


def test_another_table_and_folders_that_say_more_are_named(tmp_path):
    touch(tmp_path, "Cubism/1.jpg", "Cubism/2.jpg", "Baroque/3.jpg")
    write(tmp_path / "labels.csv", "filename,genre\n1.jpg,portrait\n2.jpg,landscape\n3.jpg,portrait\n")
    write(tmp_path / "metadata.csv", "file_name,artist\n1.jpg,Monet\n2.jpg,Degas\n3.jpg,Monet\n")
    catalog = read_catalog(tmp_path)
    assert Counter(column(catalog, "genre")) == {"portrait": 2, "landscape": 1} and not any(column(catalog, "style"))
    assert any(note.startswith("metadata.csv could label the images too and is not read") for note in catalog.notes)
    assert any("(Baroque, Cubism) are not read as labels" in n and "--folders style" in n for n in catalog.notes)


def test_a_table_above_the_folder_is_named(tmp_path):
    draw(*(tmp_path / "data" / "images" / f"{k}.jpg" for k in range(3)))
    write(tmp_path / "labels.csv", "filename,artist\n")
    with pytest.raises(UserError, match=rf"Above it lies {tmp_path}/labels.csv: --data {tmp_path} reads it"):
        read_catalog(tmp_path / "data" / "images")
