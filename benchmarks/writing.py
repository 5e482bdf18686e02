"""What is around the network in `predict`: files listed, rows written as they come, read back, put into the table.

    .venv/bin/python benchmarks/writing.py ../shared/paintings/pbn64/train

Prints pictures and rows a second, each measured alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from painters_mtl.images import files as images
from painters_mtl.inference.result_files import ResultJournal, write_results

ROW = {
    "painter": "Camille Pissarro",
    "painter_confidence": 0.4271,
    "painter_known": 0.1532,
    "style": "Impressionism",
    "style_confidence": 0.8113,
    "genre": "landscape",
    "genre_confidence": 0.7127,
}


def seconds(command: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    command()
    return time.perf_counter() - start


def write(output: Path, rows: int) -> None:
    """The journal of so many rows."""
    with ResultJournal(output, {}) as journal:
        for k in range(rows):
            journal.write({"path": f"paintings/of/a/folder/{k:09d}.jpg", **ROW})


def read_back(output: Path, rows: int) -> None:
    """As --resume does."""
    with ResultJournal(output, {}, resume=True) as journal:
        assert len(journal.done) == rows


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures to list")
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    count = len(images.find_images(options.folder))
    print(f"listing {count:,} files: {count / seconds(partial(images.find_images, options.folder)):,.0f} a second")
    with tempfile.TemporaryDirectory() as place:
        for ending in (".parquet", ".csv"):
            output = Path(place) / f"out{ending}"
            for what, command in (
                ("rows as they come", partial(write, output, options.rows)),
                ("rows read back", partial(read_back, output, options.rows)),
                (f"rows into {ending}", partial(write_results, output, ending[1:], ("path", *ROW, "error"))),
            ):
                print(f"{what}: {options.rows / seconds(command):,.0f} a second")
            print(f"{ending}: {output.stat().st_size / options.rows:.0f} bytes a row")


if __name__ == "__main__":
    main()
