"""Real paintings, re-laid in each form that people have: the same labels come out as the museum's table has them."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from folders import labels

from painters_mtl.data.catalog import Catalog, read_catalog
from painters_mtl.data.settings import LabelSettings
from painters_mtl.data.values import clean, name_key

pytestmark = pytest.mark.real
TASKS = ("painter", "style", "genre")
Work = dict[str, str]  # file (where the picture is), name, and the labels


@pytest.fixture(scope="module")
def gallery(paintings: Path) -> list[Work]:
    """Every eighth work of the gallery, with and without labels."""
    with (paintings / "gallery" / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [work(paintings / "gallery" / "images" / row["filename"], row) for row in csv.DictReader(file)][::8]


@pytest.fixture(scope="module")
def other_styles(paintings: Path) -> list[Work]:
    """All of the paintings in the styles that WikiArt's folders here do not have."""
    with (paintings / "other_styles" / "labels.csv").open(encoding="utf-8", newline="") as file:
        return [work(paintings / "other_styles" / row["filename"], row) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def pbn64(paintings: Path) -> list[Work]:
    """Some of the competition's test paintings: their painters have names in the table, and no title leaked."""
    with (paintings / "pbn64" / "all_data_info.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (paintings / "pbn64" / "test" / row["new_filename"]).is_file()]
    return [work(paintings / "pbn64" / "test" / row["new_filename"], row) for row in rows[::10]]


def work(file: Path, row: dict[str, str]) -> Work:
    names = {"painter": row["artist"], "style": row["style"], "genre": row["genre"]}
    return {"file": str(file), "name": file.name} | {task: clean(name) for task, name in names.items()}


def link(works: list[Work], place: Path, path: Callable[[Work], str]) -> dict[str, Work]:
    """The pictures, linked under new paths; {path: work}."""
    by_path = {path(one): one for one in works}
    for name, one in by_path.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(one["file"])
    return by_path


def check(catalog: Catalog, by_path: dict[str, Work], *tasks: str) -> None:
    """That the paintings with a label in `tasks` are there, each with its own."""
    expected = {path: tuple(one[task] for task in tasks) for path, one in by_path.items()}
    read = labels(catalog, *tasks)
    assert len(read) > 20 and set(read) <= set(expected)
    assert {path: names for path, names in expected.items() if any(names)} == {p: n for p, n in read.items() if any(n)}


def table(by_path: dict[str, Work], header: str = "file_name artist style genre") -> pd.DataFrame:
    """The museum's table, under other names for its columns."""
    return pd.DataFrame([(path, *(one[t] for t in TASKS)) for path, one in by_path.items()], columns=header.split())


@pytest.mark.parametrize("collection", ["gallery", "other_styles", "pbn64"])
class TestForms:
    """Each form, with each collection."""

    @pytest.fixture
    def works(self, collection: str, request: pytest.FixtureRequest) -> list[Work]:
        return request.getfixturevalue(collection)

    @pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.csv.gz", "labels.jsonl", "labels.parquet"])
    def test_tables(self, works: list[Work], tmp_path: Path, name: str) -> None:
        by_path = link(works, tmp_path, lambda one: f"pictures/{one['name']}")
        frame = table(by_path)
        frame["file_name"] = [Path(path).name for path in by_path]
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
            frame.to_parquet(tmp_path / name)
        elif name.endswith("jsonl"):
            (tmp_path / name).write_text("\n".join(map(json.dumps, frame.to_dict("records"))), encoding="utf-8")
        else:
            text = frame.to_csv(None, index=False, sep="\t" if "tsv" in name else ",").encode()
            (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
        check(read_catalog(tmp_path), by_path, *TASKS)

    def test_columns_and_paths_of_another_machine(self, works: list[Work], tmp_path: Path) -> None:
        by_path = link(works, tmp_path, lambda one: f"pictures/{one['name']}")
        frame = table(by_path, "Photo Maker Movement Topic")
        frame["Photo"] = [f"D:\\archive\\pictures\\{Path(path).stem.upper()}" for path in by_path]
        frame.to_csv(tmp_path / "export.csv", index=False, sep=";")
        settings = LabelSettings(columns={"file": "photo", "painter": "maker", "genre": "topic"})
        check(read_catalog(tmp_path, settings), by_path, *TASKS)

    def test_imagefolder_a_part(self, works: list[Work], tmp_path: Path) -> None:
        parts = {one["name"]: ("train", "train", "validation", "test")[k % 4] for k, one in enumerate(works)}
        by_path = link(works, tmp_path, lambda one: f"{parts[one['name']]}/{one['name']}")
        for part in set(parts.values()):
            rows = table({p: one for p, one in by_path.items() if p.startswith(f"{part}/")}).to_dict("records")
            lines = [json.dumps({**row, "file_name": Path(row["file_name"]).name}) for row in rows]
            (tmp_path / part / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
        catalog = read_catalog(tmp_path)
        check(catalog, by_path, *TASKS)
        assert all(part == path.split("/")[0] for path, (part,) in labels(catalog, "part").items())

    @pytest.mark.parametrize("task", TASKS)
    def test_class_folders(self, works: list[Work], tmp_path: Path, task: str) -> None:
        labelled = [one for one in works if one[task]]
        by_path = link(labelled, tmp_path, lambda one: f"{one[task].replace(' ', '_')}/{one['name']}")
        check(read_catalog(tmp_path), by_path, task)

    def test_a_split_above_class_folders(self, works: list[Work], tmp_path: Path) -> None:
        labelled = [one for one in works if one["painter"]]
        parts = {one["name"]: ("Train Data", "Test Data")[k % 3 == 0] for k, one in enumerate(labelled)}
        by_path = link(labelled, tmp_path, lambda one: f"{parts[one['name']]}/{one['painter']}/{one['name']}")
        catalog = read_catalog(tmp_path)
        check(catalog, by_path, "painter")
        assert all(path.lower().startswith(part) for path, (part,) in labels(catalog, "part").items())
        assert {part for (part,) in labels(catalog, "part").values()} == {"train", "test"}

    def test_wikiart(self, works: list[Work], tmp_path: Path) -> None:
        labelled = [one for one in works if one["style"] and one["painter"]]
        slugs = {one["name"]: name_key(one["painter"]).replace(" ", "-") for one in labelled}

        def path(one: Work) -> str:
            title = name_key(one["name"]).replace(" ", "-")
            return f"{one['style'].replace(' ', '_')}/{slugs[one['name']]}_{title}-1900.jpg"

        by_path = link(labelled, tmp_path, path)
        catalog = read_catalog(tmp_path)
        assert catalog.layout == "wikiart" and len(catalog.table) == len(by_path)
        check(catalog, by_path, "style")
        painters = {path: name_key(one["painter"]) for path, one in by_path.items()}
        assert {path: name_key(name) for path, (name,) in labels(catalog, "painter").items()} == painters

    def test_best_artworks(self, works: list[Work], tmp_path: Path) -> None:
        labelled = [one for one in works if one["painter"]]
        numbered = {one["name"]: f"{one['painter'].replace(' ', '_')}_{k}.jpg" for k, one in enumerate(labelled)}
        by_path = link(
            labelled, tmp_path, lambda one: f"images/images/{one['painter'].replace(' ', '_')}/{numbered[one['name']]}"
        )
        link(labelled, tmp_path, lambda one: f"resized/resized/{numbered[one['name']]}")
        styles = {one["painter"]: one["style"] for one in labelled if one["style"]}
        names = sorted({one["painter"] for one in labelled})
        rows = [(k, name, styles.get(name, "")) for k, name in enumerate(names)]
        pd.DataFrame(rows, columns=["id", "name", "genre"]).to_csv(tmp_path / "artists.csv", index=False)
        catalog = read_catalog(tmp_path)
        assert catalog.layout == "best-artworks" and len(catalog.table) == len(by_path)
        check(catalog, by_path, "painter")
        of_painters = {path: styles.get(one["painter"], "") for path, one in by_path.items()}
        assert {path: style for path, (style,) in labels(catalog, "style").items()} == of_painters
