"""Folders of small paintings in any layout, for the tests of what reads them."""

import zipfile
from pathlib import Path

from PIL import Image

from painters_mtl.data.catalog import Catalog, read_catalog


def draw(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (sum(map(ord, path.name)) % 256, 80, 90)).save(path)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def labelled(folder: Path, text: str, *images: str, encoding: str = "utf-8") -> Catalog:
    draw(*(folder / name for name in images))
    write(folder / "labels.csv", text, encoding)
    return read_catalog(folder)


def zipped(path: Path, folder: Path, *names: str, prefix: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(folder / name, prefix + name)


def column(catalog: Catalog, name: str) -> list[str]:
    return catalog.table[name].tolist()


def touch(folder: Path, *names: str) -> Path:
    """Empty files: enough where only names are read."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def labels(catalog: Catalog, *columns: str) -> dict[str, tuple[str, ...]]:
    """{id: cells of the columns}."""
    return dict(zip(catalog.table["id"], zip(*(catalog.table[c] for c in columns), strict=True), strict=True))
