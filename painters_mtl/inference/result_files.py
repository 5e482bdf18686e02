"""What came of each picture, as a table: written line by line as it goes, and made into the file asked for at the end.

While it runs, `OUTPUT.part` has a JSON line for each picture that is done, behind a first line that says what they were
made with. A run that was cut off goes on behind the last whole line.
"""

import base64
import csv
import importlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.files import atomic_write

if TYPE_CHECKING:
    from painters_mtl.images.decode import Picture

ENDINGS = (".csv", ".jsonl", ".parquet", ".html")
THUMBNAIL = 160  # longer side of a thumbnail, in pixels
GROUP = 10_000  # rows that a Parquet file is written in at once
Row = dict[str, Any]
T = TypeVar("T")


def check_output(output: Path) -> None:
    """Refuse, before anything is computed, an output that cannot be written. Raises `UserError`."""
    parent = output.resolve().parent
    if not parent.is_dir() or output.is_dir():
        raise UserError(f"--output {output} cannot be written: name a file in a folder that is there")
    if not os.access(parent, os.W_OK):
        raise UserError(f"--output {output} cannot be written: no permission in {parent}")
    if output.suffix.lower() not in ENDINGS:
        raise UserError(f"--output {output} must end in {', '.join(ENDINGS)}")
    if output.suffix.lower() == ".parquet":
        _pyarrow()


class Journal:
    """The rows of a run, on disk as they come.

    >>> with Journal(Path("out.csv"), {"model": "x"}) as journal:   # doctest: +SKIP
    ...     journal.write({"path": "a.jpg", "painter": "Claude Monet"})
    """

    def __init__(self, output: Path, made_with: Row, resume: bool = False) -> None:
        """Begin anew, or with `resume` behind the rows that are there already; then they are in `done`, by path.

        Raises `UserError` where these were made with something else.
        """
        self.file = output.with_name(output.name + ".part")
        self.done: set[str] = set()
        self.errors: list[str] = []
        made_with = json.loads(json.dumps(made_with))
        sound = 0
        if resume and self.file.is_file():
            with self.file.open("rb") as lines:
                for number, line in enumerate(lines):
                    found = _sound(line)
                    if found is None:
                        break
                    if number == 0:
                        self._check(found, made_with)
                    else:
                        self.done.add(found["path"])
                        self.errors += [found["error"]] if found.get("error") else []
                    sound += len(line)
        self.stream: IO[bytes] = self.file.open("r+b" if sound else "wb")
        if sound:
            self.stream.truncate(sound)
            self.stream.seek(sound)
        else:
            self._append(made_with)
        self.rows = len(self.done)

    def _check(self, found: Row, made_with: Row) -> None:
        changed = sorted(k for k in {*found, *made_with} if found.get(k) != made_with.get(k))
        if changed:
            raise UserError(
                f"{self.file} was made with another {', '.join(changed)}: leave --resume out to begin anew, or give "
                "the same"
            )

    def write(self, row: Row) -> None:
        """Add a row; it is on its way to the disk when this returns."""
        self._append(row)
        self.rows += 1
        if row.get("error"):
            self.errors.append(row["error"])

    def _append(self, value: Row) -> None:
        self.stream.write(json.dumps(value).encode() + b"\n")
        self.stream.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        if not self.rows:  # nothing to go on with
            self.file.unlink(missing_ok=True)


def read_rows(journal: Path) -> Iterator[Row]:
    """The rows of a journal, one after the other."""
    with journal.open("rb") as lines:
        next(lines)
        for line in lines:
            if (row := _sound(line)) is not None:
                yield row


def in_input_order(journal: Path, paths: Iterable[str]) -> None:
    """Bring the rows of a journal into the order of `paths`; rows of other paths come first, as they are."""
    place = {path: number for number, path in enumerate(paths)}
    starts, places = [], []
    with journal.open("rb") as lines, atomic_write(journal) as temporary:
        head = next(lines)
        at = len(head)
        for line in lines:
            if (row := _sound(line)) is not None:
                starts.append(at)
                places.append(place.get(row["path"], -1))
            at += len(line)
        with temporary.open("wb") as out:
            out.write(head)
            for k in sorted(range(len(starts)), key=places.__getitem__):
                lines.seek(starts[k])
                out.write(lines.readline())


def write_results(output: Path, columns: Iterable[str]) -> None:
    """Make the file asked for, whole, from its journal, which then goes; .html is `gallery.write_gallery`'s."""
    journal, columns = output.with_name(output.name + ".part"), list(columns)
    with atomic_write(output) as temporary:
        {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[output.suffix.lower()](
            read_rows(journal), columns, temporary
        )
    journal.unlink()


def thumbnail(picture: "Picture") -> str:
    """The cached image, a squashed square, in the original's shape again: a JPEG in base64."""
    from PIL import Image

    scale = THUMBNAIL / max(picture.width, picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    stream = io.BytesIO()
    Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()


def _sound(line: bytes) -> Row | None:
    """A line of a journal; None for the torn end of a run that was killed."""
    try:
        found = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _csv(rows: Iterable[Row], columns: list[str], file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        table = csv.writer(out)
        table.writerow(columns)
        for row in rows:
            values = (row.get(name) for name in columns)
            table.writerow("" if v is None else f"{v:.4f}" if isinstance(v, float) else v for v in values)


def _jsonl(rows: Iterable[Row], columns: list[str], file: Path) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps({name: row.get(name) for name in columns}) + "\n")


def _parquet(rows: Iterable[Row], columns: list[str], file: Path) -> None:
    pa, pq = _pyarrow()
    number = {name for name in columns if name.endswith(("_confidence", "_known"))}
    schema = pa.schema([(name, pa.float32() if name in number else pa.string()) for name in columns])
    with pq.ParquetWriter(file, schema) as writer:
        for group in in_groups(rows, GROUP):
            # Parquet's text is UTF-8: bytes of a path that are not become escapes.
            lists = {n: [display_path(v) if isinstance(v := row.get(n), str) else v for row in group] for n in columns}
            writer.write_table(pa.table(lists, schema))


def in_groups(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` rows, in order; the last has what is left."""
    group: list[T] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UserError('.parquet needs pyarrow: pip install "painters-mtl[parquet]"; or choose .csv') from None
