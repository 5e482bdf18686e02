"""The rows of a prediction on disk as they come, and the table that they become at the end.

While pictures are labelled, the journal `OUTPUT.part` (see `common.journal`) has a record for each one that is done,
behind a first record that says what they are made with. A run that was cut off goes on behind the last whole record.
"""

import base64
import io
import json
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write
from painters_mtl.common.journal import Journal, read_records, record_bytes
from painters_mtl.inference.result_tables import Row, write_table

if TYPE_CHECKING:
    from painters_mtl.images.decode import Picture

THUMBNAIL = 160  # longer side of a thumbnail, in pixels


def journal_file(output: Path) -> Path:
    """Where the rows of an output are until it is written."""
    return output.with_name(output.name + ".part")


@dataclass
class LabelledOutput:
    """How many rows came of a job, and what was wrong with pictures."""

    rows: int = 0
    errors: list[str] = field(default_factory=list)  # why pictures could not be read
    read_in_part: list[str] = field(default_factory=list)  # what is wrong with pictures of which a part could be read
    nothing_new: bool = False  # the output was finished, and holds all pictures already

    def count(self, row: Row, asked: bool = True) -> None:
        """Take one more row into account; of a picture that nobody asked about only that it is there."""
        self.rows += 1
        if asked and row.get("error"):
            self.errors.append(row["error"])
        if asked and row.get("read_in_part"):
            self.read_in_part.append(row["read_in_part"])


class ResultJournal:
    """The rows of a prediction, on disk as they come; for one process at a time.

    >>> with ResultJournal(Path("out.csv"), {"model": "x"}) as journal:   # doctest: +SKIP
    ...     journal.write({"path": "a.jpg", "painter": "Claude Monet"})

    Attributes:
        done: the paths of the rows that were there when it was opened.
        labelled: all rows, those of before too.
    """

    def __init__(
        self, output: Path, made_with: Mapping[str, Any], resume: bool = False, asked: Container[str] = ()
    ) -> None:
        """Begin anew, or with `resume` behind the rows that are there already.

        Args:
            asked: the paths of the pictures whose errors count; those of a row that is there already may be others.

        Raises `UserError` where these were made with something else.
        """
        self.file = journal_file(output)
        self.done: set[str] = set()
        self.labelled = LabelledOutput()
        head = json.loads(json.dumps(made_with))
        if not resume:
            self._clear()
        self._journal = Journal(self.file)
        for number, record in enumerate(self._journal):
            if number == 0:
                self._check(json.loads(record), head)
            else:
                row = json.loads(record)
                self.done |= {row["path"], row["path"].removeprefix("./")}  # as earlier versions wrote it
                self.labelled.count(row, row["path"] in asked)
            head = None
        if head is not None:
            self._journal.append(json.dumps(head).encode())

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            if self.file.is_file():
                self.file.unlink()

    def _check(self, stored: Row, made_with: Row) -> None:
        changed = sorted(key for key in {*stored, *made_with} if stored.get(key) != made_with.get(key))
        if changed:
            self._journal.close()
            raise UserError(
                f"{self.file} was made with another {', '.join(changed)}: leave --resume out to begin anew, or give "
                "the same"
            )

    def write(self, row: Row) -> None:
        """Add a row; a kill of this process cannot lose it when this returns."""
        self._journal.append(json.dumps(row).encode())
        self.labelled.count(row)

    def __enter__(self) -> "ResultJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        if not self.labelled.rows:  # nothing to go on with
            self.file.unlink(missing_ok=True)


def journal_rows(journal: Path) -> Iterator[Row]:
    """The rows of a journal, one after the other."""
    for number, record in enumerate(read_records(journal)):
        if number:
            yield json.loads(record.content)


def write_journal(output: Path, made_with: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Write the journal of an output whole, with these rows: a kill leaves what was there, or all of them."""
    with atomic_write(journal_file(output)) as temporary, temporary.open("wb") as out:
        out.writelines(record_bytes(json.dumps(each).encode() for each in chain([made_with], rows)))


def is_tried_again(row: Row) -> bool:
    """Whether the picture of a row was not read, or not whole: another file may lie in its place by now."""
    return bool(row.get("error") or row.get("read_in_part"))


def leave_out_errors(output: Path, paths: Container[str]) -> None:
    """Take the rows of those pictures out of a journal that could not be read, so that they are tried again."""
    journal = journal_file(output)

    def tried_again(row: Row) -> bool:
        return row["path"] in paths and is_tried_again(row)

    if any(map(tried_again, journal_rows(journal))):
        made_with = json.loads(next(read_records(journal)).content)
        write_journal(output, made_with, (row for row in journal_rows(journal) if not tried_again(row)))


def sort_rows(journal: Path, paths: Iterable[str]) -> None:
    """Bring the rows of a journal into the order of `paths`; rows of other paths come first, as they are."""
    place = {path: number for number, path in enumerate(paths)}
    starts, places = [], []
    for number, record in enumerate(read_records(journal)):
        starts.append(record.start)
        places.append(place.get(json.loads(record.content)["path"], -1) if number else -2)
    order = sorted(range(len(starts)), key=places.__getitem__)
    with atomic_write(journal) as temporary, temporary.open("wb") as out:
        records = read_records(journal, (starts[k] for k in order))
        out.writelines(record_bytes(record.content for record in records))


def write_results(output: Path, file_format: str, columns: Iterable[str]) -> None:
    """Make the table asked for, whole, from its journal, which then goes; .html is `gallery.write_gallery`'s."""
    with atomic_write(output) as temporary:
        write_table(journal_rows(journal_file(output)), list(columns), file_format, temporary)
    journal_file(output).unlink()


def thumbnail(picture: "Picture") -> str:
    """The cached image, a squashed square, in the original's shape again: a JPEG in base64."""
    from PIL import Image

    scale = THUMBNAIL / max(picture.width, picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    stream = io.BytesIO()
    Image.fromarray(picture.pixels).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=80)
    return base64.b64encode(stream.getvalue()).decode()
