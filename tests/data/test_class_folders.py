"""Folders whose names are the classes, on one level or two."""

import pandas as pd
from folders import column, draw, zipped

from painters_mtl.data.catalog import COLUMNS, read_catalog


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
    assert any("1 of the 4 images have no row" in note for note in catalog.notes)


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
