"""Say what a folder of paintings holds; and which pictures can be read, were repaired, or are refused.

    painters-mtl check --data FOLDER     # layout, labels, classes, what is left out; no picture is opened
    painters-mtl check FOLDER
    painters-mtl check train_1.zip more/ one.jpg --output check.csv

Begin with the first command: it says what `train` would make of the folder, and takes the options of `train` for what
the program does not see by itself. The other commands decode every picture to its end (a JPEG at an eighth of its size,
which is fast) and read zips in place. The table goes to standard output; `--output` writes a CSV, a row for each
picture: path, status (ok, repaired, refused), reason, detail, width, height, format, mode, bytes. Exit status: 0 all
readable, 1 some refused, 2 misuse.
"""

import csv
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import Unreadable, UserError, display_path
from painters_mtl.common.files import atomic_write
from painters_mtl.data.settings import LabelSettings

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile

STATUSES = ("ok", "repaired", "refused")
LISTED = 40  # files named on the terminal at most


@dataclass
class Settings(LabelSettings):
    """What to check."""

    paths: tyro.conf.Positional[tuple[str, ...]] = ()
    """folders (with all below them), zips (read in place), files, patterns such as "*.jpg", or - for a list"""
    output: Path | None = None
    """write a row for each picture to this CSV"""
    threads: int = 0
    """how many pictures are read at once; 0: as many as there are cores"""


@dataclass(frozen=True)
class Row:
    """One picture's outcome; the fields are the CSV's columns."""

    path: str
    status: str
    reason: str = ""
    detail: str = ""
    width: int | None = None
    height: int | None = None
    format: str = ""
    mode: str = ""
    bytes: int | None = None


def examine(file: "ImageFile") -> Row:
    """Read and decode one picture."""
    from painters_mtl.images.decode import decode

    size = None
    try:
        data = file.read()
        size = len(data)
        picture = decode(data, longest=64, path=str(file))
    except Unreadable as error:
        return Row(str(file), "refused", error.reason, error.detail, bytes=size)
    status, detail = ("repaired", f"{picture.share:.0%} of it could be read") if picture.repaired else ("ok", "")
    shape = picture.width, picture.height, picture.format, picture.mode
    return Row(str(file), status, picture.repaired, detail, *shape, size)


def examine_all(files: Iterable["ImageFile"], threads: int) -> Iterator[Row]:
    """The rows in the order of `files`; no more than a few pictures are in memory at any time."""
    waiting: deque[Future[Row]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for file in files:
            waiting.append(pool.submit(examine, file))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def check(settings: Settings) -> int:
    """Say what a data folder holds, or examine pictures; returns the exit status."""
    if settings.data is not None:
        return check_data(settings, settings.data)
    return check_pictures(settings)


def check_data(settings: Settings, folder: Path) -> int:
    """Print what `train` would understand of a folder; returns 2 where nothing can be trained on it, else 0."""
    from painters_mtl.data.catalog import read_catalog
    from painters_mtl.data.locations import find_data
    from painters_mtl.data.summary import summary

    if settings.paths or settings.output:
        raise UserError(
            "--data says what a folder is taken for, and opens no picture: leave the paths and --output out"
        )
    place = find_data(folder)
    if place is None:
        raise UserError(f"{folder} holds no whole demo yet: painters-mtl train --data demo --dry-run draws it")
    text, trainable = summary(read_catalog(place, settings), settings)
    print(text)
    return 0 if trainable else 2


def check_pictures(settings: Settings) -> int:
    """Examine all pictures, print the table, write the CSV; returns the exit status."""
    default = LabelSettings()
    for field in fields(LabelSettings):
        if getattr(settings, field.name) != getattr(default, field.name):
            raise UserError(f"--{field.name} is for check --data FOLDER, which says what a folder is taken for")
    from painters_mtl.common.messages import ProgressBar
    from painters_mtl.images.files import images_from_arguments

    if not settings.paths:
        raise UserError("name a folder, a zip or files, or --data FOLDER, as in: painters-mtl check FOLDER")
    command_line.check_numbers(settings, threads=0)
    output = settings.output
    if output:
        command_line.check_output("--output", output, ())
    files = images_from_arguments(settings.paths)
    if not files:
        names = ", ".join(display_path(path) for path in settings.paths)
        raise UserError(f"no pictures in {names}: in folders and zips they are known by their suffix (.jpg, .png, ...)")
    threads = settings.threads or os.cpu_count() or 1
    rows = ProgressBar(examine_all(files, threads), "check", len(files), unit=" pictures", file=sys.stderr)
    counts: Counter[tuple[str, str]] = Counter()
    faults: list[Row] = []
    for row in _written(rows, output) if output else rows:
        counts[row.status, row.reason] += 1
        if row.status != "ok" and len(faults) < LISTED:
            faults.append(row)
    _print(counts, faults, output)
    return int(any(status == "refused" for status, _ in counts))


def _written(rows: Iterable[Row], output: Path) -> Iterator[Row]:
    """The same rows, also written to a CSV; the file appears when it is whole."""
    with atomic_write(output) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.writer(file)
        table.writerow(field.name for field in fields(Row))
        for row in rows:
            table.writerow(astuple(row))
            yield row


def _print(counts: Counter[tuple[str, str]], faults: list[Row], output: Path | None) -> None:
    total = sum(counts.values())
    lines = [f"{total:8,}  pictures"]
    for status in STATUSES:
        reasons = sorted((-n, reason) for (s, reason), n in counts.items() if s == status)
        lines.append(f"{-sum(n for n, _ in reasons):8,}  {status}")
        lines += [f"{-n:8,}    {reason}" for n, reason in reasons if reason]
    if faults:
        lines.append("")
        lines += [
            f"{row.status:8}  {row.reason:18}  {display_path(row.path)}" + (f"  ({row.detail})" if row.detail else "")
            for row in faults
        ]
        more = total - counts["ok", ""] - len(faults)
        if more:
            lines.append(f"... and {more:,} more, " + ("see the CSV" if output else "--output FILE lists them all"))
    if output:
        lines += ["", f"wrote {total:,} rows to {display_path(str(output))}"]
    print("\n".join(lines))


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, check, argv, "painters-mtl check", __doc__)


if __name__ == "__main__":
    sys.exit(main())
