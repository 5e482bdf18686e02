"""How long it takes to understand a folder of 100,000 paintings, beyond listing its files; each layout once.

    python benchmarks/reading.py                   # makes 100,000 empty files for each layout in a temporary folder
    python benchmarks/reading.py --rows 10000

Then the memory of a table beside the number of columns that are not used, in a process each.
"""

import argparse
import csv
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.tables import read_table
from painters_mtl.images.files import find_images

PAINTERS = [
    f"{first} {last}" for first in ("Ada", "Bo", "Cy", "Dee", "Eve") for last in ("Red", "Umber", "Ochre", "Gray")
]
STYLES = ("Baroque", "Cubism", "Impressionism", "Realism", "Rococo")
GENRES = ("portrait", "landscape", "still life")


def touch(folder: Path, names: list[str]) -> list[str]:
    """Make empty files; returns their names."""
    for parent in {(folder / name).parent for name in names}:
        parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return names


def labels(names: list[str]) -> Iterator[dict[str, str]]:
    """A row for each file."""
    for i, name in enumerate(names):
        yield {"file_name": name, "artist": PAINTERS[i % 20], "style": STYLES[i % 5], "genre": GENRES[i % 3],
               "title": f"work {i}", "date": f"{1600 + i % 300}.0"}  # fmt: skip


def write_csv(file: Path, rows: list[dict[str, str]]) -> None:
    """With a header."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, rows[0])
        table.writeheader()
        table.writerows(rows)


def slug(name: str) -> str:
    """Ada Red as ada-red."""
    return name.lower().replace(" ", "-")


def competition(folder: Path, n: int) -> None:
    """all_data_info.csv and train/."""
    names = touch(folder, [f"train/{i}.jpg" for i in range(n)])
    rows = [{**row, "new_filename": Path(row["file_name"]).name, "in_train": "True"} for row in labels(names)]
    write_csv(folder / "all_data_info.csv", rows)


def wikiart(folder: Path, n: int) -> None:
    """Names alone."""
    touch(folder, [f"{STYLES[i % 5]}/{slug(PAINTERS[i % 20])}_work-{i}-1900.jpg" for i in range(n)])


def wikiart_with_table(folder: Path, n: int) -> None:
    """Names and classes.csv."""
    wikiart(folder, n)
    names = [f.path[len(str(folder)) + 1 :] for f in find_images(folder)]
    rows = [
        {"filename": name, "artist": "x", "genre": "['Cubism']", "description": "", "subset": "train"} for name in names
    ]
    write_csv(folder / "classes.csv", rows)


def best_artworks(folder: Path, n: int) -> None:
    """Half of the files are the smaller copies."""
    names = [f"{PAINTERS[i % 20].replace(' ', '_')}_{i}.jpg" for i in range(n // 2)]
    touch(folder, [f"images/images/{name.rpartition('_')[0]}/{name}" for name in names])
    touch(folder, [f"resized/resized/{name}" for name in names])
    write_csv(
        folder / "artists.csv", [{"id": str(i), "name": p, "genre": STYLES[i % 5]} for i, p in enumerate(PAINTERS)]
    )


def ready_split(folder: Path, n: int) -> None:
    """train/ and test/ above class folders."""
    touch(folder, [f"{'train' if i % 4 else 'test'}/{PAINTERS[i % 20]}/{i}.jpg" for i in range(n)])


def imagefolder(folder: Path, n: int) -> None:
    """train/metadata.jsonl and test/metadata.jsonl."""
    for part, count in (("train", n * 3 // 4), ("test", n // 4)):
        names = touch(folder / part, [f"{i}.jpg" for i in range(count)])
        lines = (json.dumps(row) for row in labels(names))
        (folder / part / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def table(folder: Path, n: int) -> None:
    """labels.csv with paths."""
    write_csv(folder / "labels.csv", list(labels(touch(folder, [f"images/{i}.jpg" for i in range(n)]))))


def table_moved(folder: Path, n: int) -> None:
    """labels.csv with absolute paths of another machine."""
    names = touch(folder, [f"images/{i}.jpg" for i in range(n)])
    rows = [{**row, "file_name": f"/home/somebody/data/{row['file_name']}"} for row in labels(names)]
    write_csv(folder / "labels.csv", rows)


def parquet(folder: Path, n: int) -> None:
    """paintings.parquet."""
    import pandas as pd

    pd.DataFrame(labels(touch(folder, [f"images/{i}.jpg" for i in range(n)]))).to_parquet(folder / "paintings.parquet")


def class_folders(folder: Path, n: int) -> None:
    """One a painter."""
    touch(folder, [f"{PAINTERS[i % 20]}/{i}.jpg" for i in range(n)])


LAYOUTS: tuple[Callable[[Path, int], None], ...] = (
    competition, wikiart, wikiart_with_table, best_artworks, ready_split, imagefolder, table, table_moved, parquet,
    class_folders,
)  # fmt: skip


def peak() -> float:
    """The most memory that this process has had, in MB. (What getrusage says begins with that of the parent.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def peak_of_reading(file: str, pipe: object) -> None:
    """Send by how many MB the process grows while a table is read, at the most."""
    if file.endswith("parquet"):
        import pyarrow.parquet  # noqa: F401 - it is no part of what a table takes
    before = peak()
    frame = read_table(TableFile(Path(file)), {"file_name", "artist"}, [])
    pipe.send((len(frame), peak() - before))  # type: ignore[attr-defined]


def memory(folder: Path, rows: int) -> None:
    """Print the growth for tables with more and more columns of no use."""
    context = multiprocessing.get_context("spawn")
    for kind in ("csv", "jsonl", "parquet"):
        for extra in (0, 20, 100):
            file = folder / f"wide.{kind}"
            more = {f"column_{k}": "some words of no use" for k in range(extra)}
            data = [{"file_name": f"{i}.jpg", "artist": PAINTERS[i % 20], **more} for i in range(rows)]
            if kind == "csv":
                write_csv(file, data)
            elif kind == "jsonl":
                file.write_text("\n".join(map(json.dumps, data)), encoding="utf-8")
            else:
                import pandas as pd

                pd.DataFrame(data).to_parquet(file)
            del data
            here, there = context.Pipe()
            process = context.Process(target=peak_of_reading, args=(str(file), there))
            process.start()
            count, grown = here.recv()
            process.join()
            size = file.stat().st_size / 2**20
            print(f"{kind:<8}{extra:>5} columns of no use, {count:,} rows, {size:>6.0f} MB: grows by {grown:.0f} MB")


def main() -> None:
    """Make, list, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--memory", action="store_true", help="the memory alone")
    options = parser.parse_args()
    rows = options.rows
    if options.memory:
        with tempfile.TemporaryDirectory() as name:
            memory(Path(name), rows // 2)
        return
    print(f"{'layout':<20}{'recognised as':<20}{'paintings':>10}{'listing s':>11}{'reading s':>11}{'beyond s':>10}")
    for make in LAYOUTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, rows)
            find_images(folder)  # the system has the names in memory for both
            start = time.process_time()
            find_images(folder)
            listed = time.process_time()
            catalog = read_catalog(folder)
            done = time.process_time()
            listing, reading = listed - start, done - listed
            print(f"{make.__name__:<20}{catalog.layout:<20}{len(catalog.table):>10,}{listing:>11.2f}{reading:>11.2f}"
                  f"{reading - listing:>10.2f}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        memory(Path(name), rows // 2)


if __name__ == "__main__":
    main()
