"""Many pictures of one visitor to a table: as `predict` makes it, in constant memory, to be stopped."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common.errors import Unreadable, UserError, display_path, reason_of
from painters_mtl.images.files import ImageFile, find_images
from painters_mtl.images.zips import MAX_LISTING, is_zip, listing_bytes
from painters_mtl.inference.predictor import PredictOptions, prediction_columns, prediction_rows
from painters_mtl.inference.result_files import ResultJournal, write_results
from painters_mtl.inference.result_tables import Row
from painters_mtl.page import limits

if TYPE_CHECKING:
    from painters_mtl.page.model import PageModel

IN_USE_SECONDS = 1.0  # between two signs that the uploads of a folder are in use
BATCH = 16  # pictures that go through the network at once: others have their turn in between


@dataclass
class Progress:
    """How far a folder is, and what there is to see of it."""

    total: int
    done: int = 0
    stopped: bool = False
    finished: bool = False
    shown: list[Row] = field(default_factory=list)  # the first rows, with thumbnails
    errors: Counter[str] = field(default_factory=Counter)  # {why: pictures}
    unread: list[tuple[str, str]] = field(default_factory=list)  # the first of them: (name, why)


def pictures_in(uploads: Sequence[ImageFile]) -> list[tuple[ImageFile, str]]:
    """All pictures of some uploads, zips opened, and how each is called on the page: `paintings.zip/a/x.jpg`.

    Raises `UserError` where there is none, or more than the page takes.
    """
    pictures: list[tuple[ImageFile, str]] = []
    for upload in uploads:
        _check_zip(upload)
        for file in find_images(upload.path):
            shown = f"{upload.name}/{file.member}" if file.member else file.name
            pictures.append((file, display_path(shown)))
            if len(pictures) > limits.MOST_PICTURES:
                raise UserError(
                    f"these are more than {limits.MOST_PICTURES:,} pictures: painters-mtl predict takes any number, "
                    "on the machine itself"
                )
    if not pictures:
        raise UserError(f"there is no picture in {', '.join(upload.name for upload in uploads)}")
    return pictures


def _check_zip(upload: ImageFile) -> None:
    """Refuse a zip whose list of members would fill the memory when it is opened. Raises `UserError`."""
    if not is_zip(upload.path):
        return
    try:
        with Path(upload.path).open("rb") as file:
            listing = listing_bytes(file)
    except OSError as error:
        raise Unreadable("missing", "it is not kept any more") from error
    if listing > MAX_LISTING:
        raise UserError(
            f"{upload.name} lists more files than the page takes: painters-mtl predict takes any number, on the "
            "machine itself"
        )


def label_pictures(
    model: "PageModel", pictures: Sequence[tuple[ImageFile, str]], table: Path, stop: threading.Event, top_k: int = 1,
    in_use: Callable[[], None] = lambda: None,
) -> Iterator[Progress]:  # fmt: skip
    """Label the pictures, one row each in the table; gives the same `Progress` after each picture and at the end.

    Args:
        table: its ending says the format, .csv or .jsonl.
        stop: set, the labelling ends after the picture that is under way; the table holds what is done.
        top_k: classes of each task in a row.
        in_use: called every second, so that no upload goes while others are read.
    """
    progress, told = Progress(len(pictures)), time.monotonic()
    columns = prediction_columns(model.run, top_k)
    with ResultJournal(table, {}) as journal:
        for (_, name), row in zip(pictures, _rows(model, pictures, top_k), strict=False):
            row["path"] = name
            _note(progress, row)
            journal.write({column: row[column] for column in columns if column in row})
            if time.monotonic() - told > IN_USE_SECONDS:
                told = time.monotonic()
                in_use()
            yield progress
            if stop.is_set() and progress.done < progress.total:
                progress.stopped = True
                break
    write_results(table, table.suffix.removeprefix("."), columns)
    progress.finished = True
    yield progress


def _rows(model: "PageModel", pictures: Sequence[tuple[ImageFile, str]], top_k: int) -> Iterator[Row]:
    options = PredictOptions(batch_size=BATCH, threads=2, top_k=top_k, thumbnails=True)
    return prediction_rows(model.run, model.forward, (file for file, _ in pictures), options)


def _note(progress: Progress, row: Row) -> None:
    progress.done += 1
    if row["error"]:
        progress.errors[reason_of(row["error"])] += 1
        if len(progress.unread) < limits.MOST_SHOWN:
            progress.unread.append((row["path"], row["error"]))
    elif len(progress.shown) < limits.MOST_SHOWN:
        progress.shown.append(row)
