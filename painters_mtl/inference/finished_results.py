"""`predict --resume` with a finished table: its rows are kept, once it is clear that the same network made them.

A table does not say which network made it, or with which options. So some of its pictures are labelled again: where
class and confidence come out as they stand there, all rows are trusted.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.messages import say
from painters_mtl.data.tasks import UNKNOWN
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.predictor import PredictOptions, prediction_columns, prediction_rows
from painters_mtl.inference.result_files import is_tried_again
from painters_mtl.inference.result_tables import Row

if TYPE_CHECKING:
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

CHECKED = 8  # pictures
TOLERANCE, OF_BF16 = 2e-3, 5e-2  # of a confidence: other batches and other processors round otherwise
_OTHER_TASKS = (
    "{file} was made with other --unknown-tasks ({task}): leave --resume out to label everything anew, or give the same"
)
NOT_ALWAYS = {"likeliest", "thumbnail", "read_in_part"}  # of a gallery's rows, and of damaged pictures


@dataclass(frozen=True)
class FinishedResults:
    """The rows of a finished output, without pictures that are asked for and were not read, or in part only."""

    file: Path
    rows: Callable[[], Iterator[Row]]  # one after the other, each time from the file
    paths: frozenset[str]


def read_finished(
    file: Path, read_rows: Callable[[Path], Iterator[Row]], files: Sequence[ImageFile], run: "Run", top_k: int
) -> FinishedResults:
    """The rows of a finished output. Raises `UserError` where it has other columns than this run would write.

    Args:
        read_rows: reads such a file.
        files: the pictures that are asked for.
    """
    by_shown = {display_path(str(each)): str(each) for each in files}  # Parquet holds paths as they are shown
    asked = set(by_shown.values())

    def rows() -> Iterator[Row]:
        for row in read_rows(file):
            path = by_shown.get(row["path"], by_shown.get(row["path"].removeprefix("./"), row["path"]))
            if not (path in asked and is_tried_again(row)):
                yield row | {"path": path}

    columns = set(prediction_columns(run, top_k))
    paths = set()
    for row in rows():
        paths.add(row["path"])
        if not row["error"] and (different := (set(row) ^ columns) - NOT_ALWAYS):
            raise UserError(
                f"{file} was made by another model or with another --top-k ({', '.join(sorted(different))}): leave "
                "--resume out to label everything anew, or give the same"
            )
    return FinishedResults(file, rows, frozenset(paths))


def check_finished(finished: FinishedResults, run: "Run", forward: "Forward", options: PredictOptions) -> None:
    """Label some pictures of a finished output again. Raises `UserError` where they come out differently.

    Args:
        forward: the network, as `options` ask for it.
    """
    named_always = [name for name in run.tasks if name not in options.unknown_tasks]
    without_score = [name for name in run.tasks if name in options.unknown_tasks and name != "painter"]  # in the table

    def readable() -> Iterator[Row]:
        """From the file each time: a table may be larger than the memory."""
        for row in finished.rows():
            if task := next((name for name in named_always if row.get(name) == UNKNOWN), ""):
                raise UserError(_OTHER_TASKS.format(file=finished.file, task=task))
            if not row["error"]:
                yield row

    rest = readable()
    first = list(islice(rest, CHECKED // 2))
    doubtful = heapq.nsmallest(CHECKED // 2, rest, key=lambda row: row.get("painter_known", 1.0))
    for task in without_score:
        rest = islice(readable(), CHECKED // 2, None)
        doubtful += heapq.nsmallest(CHECKED // 2, rest, key=itemgetter(f"{task}_confidence"))
    rows = {ImageFile.of(row["path"]): row for row in (*first, *doubtful)}
    again = prediction_rows(run, forward, rows, replace(options, top_k=max(2, options.top_k), thumbnails=False))
    compared = [(row, new) for row, new in zip(rows.values(), again, strict=True) if not new["error"]]
    tolerance = OF_BF16 if options.runtime.endswith("bf16") else TOLERANCE
    for row, new in compared:
        if not _same_labels(row, new, run, tolerance):
            raise UserError(
                f"{finished.file} was made by another model or with other options, or {display_path(row['path'])} has "
                "changed since: leave --resume out to label everything anew, or give the same"
            )
    for task in without_score:
        named = [row[task] != UNKNOWN for row, new in compared if new[task] == UNKNOWN]
        if len(named) > 1 and all(named):  # a single one may be on the threshold
            raise UserError(_OTHER_TASKS.format(file=finished.file, task=task))
    if rows and not compared:
        say(f"note: none of the pictures in {finished.file} can be read now: its rows are kept unchecked")


def _same_labels(row: Row, new: Row, run: "Run", tolerance: float) -> bool:
    """Whether a picture has the class and the confidence of each task that it had before."""
    for task in run.tasks:
        confidence = new[f"{task}_confidence"]
        if abs(row[f"{task}_confidence"] - confidence) > tolerance:
            return False
        tied = confidence - new.get(f"{task}_2_confidence", 0.0) <= tolerance
        at_threshold = UNKNOWN in (row[task], new[task])  # for all that is known where the score is not in the table
        if (score := new.get(f"{task}_known")) is not None:
            at_threshold = abs(score - run.thresholds.get(task, 0.0)) <= tolerance
        if row[task] != new[task] and not tied and not at_threshold:
            return False
    return True
