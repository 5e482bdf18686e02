"""Many pictures to rows of a table, here or on Ray: to standard output, or to a journal that can be resumed."""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from painters_mtl.common.interrupts import stop_if_requested
from painters_mtl.common.messages import ProgressBar, counted, say, warn
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.finished_results import FinishedResults, check_finished, read_finished
from painters_mtl.inference.predictor import PredictOptions, open_forward, prediction_columns, prediction_rows
from painters_mtl.inference.result_files import (
    LabelledOutput,
    ResultJournal,
    journal_file,
    leave_out_errors,
    sort_rows,
    write_journal,
)
from painters_mtl.inference.result_tables import Row, write_text_rows

if TYPE_CHECKING:
    from painters_mtl.runs.run import Run

FEW = 8  # pictures that Keras labels sooner than it compiles the network; it then holds all their activations


@dataclass(frozen=True)
class LabelJob:
    """Pictures, what labels them, and where."""

    run: "Run"
    files: Sequence[ImageFile]
    options: PredictOptions
    engine: str = "local"  # or "ray"
    ray_address: str = ""
    ray_cpus: int = 0


def label_files(job: LabelJob, files: Sequence[ImageFile]) -> Iterator[Row]:
    """The row of each file as it comes, with a progress bar: in order, but for those that come from a cluster."""
    if not files:
        return
    run, options = job.run, _compiled_if_worth_it(job.options, len(files))
    if job.engine == "local":
        rows = prediction_rows(run, open_forward(run, options, files), files, options)
    else:
        from painters_mtl.inference.ray_jobs import label_on_ray
        from painters_mtl.inference.runtime_choice import export_on_first_use, fastest_runtime

        if options.runtime == "auto":
            options = replace(options, runtime=fastest_runtime(run, files))
        if options.runtime != "keras":
            export_on_first_use(run, options.runtime, files)  # once, before many workers open it
        rows = label_on_ray(run.folder, files, options, job.ray_address, job.ray_cpus)
    for row in ProgressBar(rows, total=len(files), unit=" pictures"):
        stop_if_requested()
        yield row


def _compiled_if_worth_it(options: PredictOptions, count: int) -> PredictOptions:
    few = options.tta == "none" and count <= min(options.batch_size, FEW)
    return replace(options, compiled=not few)


def print_table(job: LabelJob, file_format: str, out: TextIO) -> LabelledOutput:
    """Write the rows as a table to a stream, each as it comes.

    Args:
        file_format: "csv" or "jsonl".
        out: gets UTF-8, and the bytes of a path that is not as they are, if it has a buffer.
    """
    labelled = LabelledOutput()
    buffer = getattr(out, "buffer", None)  # a notebook's standard output has none
    stream = io.TextIOWrapper(buffer, "utf-8", "surrogateescape", newline="") if buffer is not None else out

    def rows() -> Iterator[Row]:
        for row in label_files(job, job.files):
            labelled.count(row)
            yield row
            stream.flush()

    try:
        write_text_rows(rows(), prediction_columns(job.run, job.options.top_k), file_format, stream)
        stream.flush()
    finally:
        if isinstance(stream, io.TextIOWrapper) and stream is not out:
            with contextlib.suppress(BrokenPipeError):
                stream.detach()
    return labelled


def label_into_journal(
    job: LabelJob, output: Path, file_format: str, resume: bool, read_rows: Callable[[Path], Iterator[Row]]
) -> LabelledOutput:
    """Label the pictures into the journal of an output, in the order of the files.

    Args:
        resume: label only those that are neither in the journal of a run that was cut off nor in a finished output,
            and those that could not be read then, or in part only.
        read_rows: reads a finished output.

    Raises `UserError` where the rows that are there were made by another model or with other options.
    """
    made_with, asked = _made_with(job, file_format), {str(file) for file in job.files}
    if resume and journal_file(output).exists():
        leave_out_errors(output, asked)
    elif resume and output.exists():
        finished = _finished(job, output, read_rows)
        if finished.paths.issuperset(asked):
            labelled = LabelledOutput(nothing_new=True)
            for row in finished.rows():
                labelled.count(row, row["path"] in asked)
            return labelled
        write_journal(output, made_with, finished.rows())
    # The journal is removed at its end where it holds no row: only then is it clear what there is to go on with.
    with going_on(journal_file(output)), ResultJournal(output, made_with, resume, asked) as journal:
        if journal.done:
            say(f"going on: {counted(len(journal.done), 'picture')} done already")
        left = [file for file in job.files if str(file) not in journal.done]
        say(f"labelling {counted(len(left), 'picture')} with {job.run.title}")
        for row in label_files(job, left):
            journal.write(row)
    if job.engine != "local" or resume:  # Ray's groups come back in any order, also before a cut
        with going_on(journal.file):
            sort_rows(journal.file, map(str, job.files))
    return journal.labelled


def _finished(job: LabelJob, output: Path, read_rows: Callable[[Path], Iterator[Row]]) -> FinishedResults:
    """The rows of a finished output, which the same network made."""
    options = replace(job.options, compiled=job.options.tta != "none")
    finished = read_finished(output, read_rows, job.files, job.run, options.top_k)
    check_finished(finished, job.run, open_forward(job.run, options, job.files), options)
    return finished


def _made_with(job: LabelJob, file_format: str) -> dict[str, object]:
    """What rows must have in common to be in one output."""
    return {
        "model": job.run.digest or str(job.run.folder),
        "--top-k": job.options.top_k,
        "--unknown": job.options.unknown_tasks,
        "--tta": job.options.tta,
        **({"--balanced": job.options.balanced} if job.options.balanced else {}),  # earlier versions had no such option
        "--runtime": job.options.runtime,
        "--output": f".{file_format}",
    }


@contextlib.contextmanager
def going_on(journal: Path) -> Iterator[None]:
    """Say where the rows are that are done, when something ends the block early."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        if journal.exists():
            warn(f"\n{journal} holds what is done: the same command with --resume goes on")
        raise
