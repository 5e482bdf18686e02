"""What is around the network in `predict`: files listed, rows written as they come, read back, put into the table.

python benchmarks/writing.py FOLDER

Prints pictures and rows a second, each measured alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from painters_mtl import images
from painters_mtl.results import Journal, finish

COLUMNS = ("path", "painter", "painter_confidence", "painter_known", "style", "style_confidence", "genre",
           "genre_confidence", "error")  # fmt: skip


def seconds(command: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    command()
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures to list")
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    found = images.find(options.folder)
    spent = seconds(lambda: images.find(options.folder))
    print(f"listing and sorting {len(found):,} files: {len(found) / spent:,.0f} a second")

    row = {"painter": "Camille Pissarro", "painter_confidence": 0.4271, "painter_known": 0.1532,
           "style": "Impressionism", "style_confidence": 0.8113, "genre": "landscape",
           "genre_confidence": 0.7127}  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        for ending in (".parquet", ".csv"):
            output = Path(place) / f"out{ending}"

            def write(output: Path = output) -> None:
                with Journal(output, {"model": "x"}) as journal:
                    for k in range(options.rows):
                        journal.write({"path": f"paintings/of/a/folder/{k:09d}.jpg", **row})

            def read_back(output: Path = output) -> None:
                with Journal(output, {"model": "x"}, resume=True) as journal:
                    assert len(journal.done) == options.rows

            if ending == ".parquet":
                spent = seconds(write)
                size = output.with_name(output.name + ".part").stat().st_size / options.rows
                print(f"rows written as they come: {options.rows / spent:,.0f} a second, {size:.0f} bytes each")
                print(f"rows read back by --resume: {options.rows / seconds(read_back):,.0f} a second")
            else:
                write()
            spent = seconds(lambda output=output: finish(output, COLUMNS))  # type: ignore[misc]
            size = output.stat().st_size / options.rows
            print(f"the finished {ending} file: {options.rows / spent:,.0f} rows a second, {size:.0f} bytes each")


if __name__ == "__main__":
    main()
