"""Label paintings: painter, style and genre of each, with a confidence.

    painters-mtl predict FOLDER --model models/full --output predictions.csv
    painters-mtl predict a.jpg b.png paintings.zip --top-k 3 --output gallery.html
    find . -name "*.jpg" | painters-mtl predict - --resume
    painters-mtl predict FOLDER --output - | grep Monet              # a table on standard output
    painters-mtl predict FOLDER --engine ray --ray-address HOST:PORT     # spread over a Ray cluster

Folders are searched to the bottom, zips read in place; "*.jpg" in quotes is a pattern, and - stands for a list of paths
on standard input, one in each line. Every picture gets a row, even one that cannot be read: path, painter,
painter_confidence, painter_known, style, style_confidence, genre, genre_confidence, then painter_2,
painter_2_confidence ... for --top-k, doubtful, read_in_part, and error (empty, or why it could not be read). A painter
is "unknown" where painter_known, a score from 0 to 1, is below the threshold that 95 % of the known painters' works
reach; the confidence is then that of the likeliest known painter. doubtful names all tasks whose score is below their
threshold. The ending of --output decides: .csv, .jsonl, .parquet, or .html, a gallery. --resume goes on with an output
that was cut off, and adds new pictures to one that is finished.

Exit status: 0 all read, 1 some were not, 2 misuse, 130 interrupted (--resume goes on).
"""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError, count_reasons, display_path
from painters_mtl.common.messages import counted, say

if TYPE_CHECKING:
    from painters_mtl.inference.labelling import LabelJob
    from painters_mtl.inference.predictor import PredictOptions
    from painters_mtl.inference.result_files import LabelledOutput
    from painters_mtl.runs.run import Run

SHOWN = 10  # pictures of which the labels are printed too
IN_GALLERY = 3  # likeliest classes shown of each task
STANDARD_OUTPUT = Path("-")


@dataclass
class Settings:
    """What to label, and with which model."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), single files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    output: Path = Path("predictions.csv")
    """the file to write: .csv, .jsonl, .parquet or .html (a gallery, in parts of 500 pictures); - is standard output"""
    format: Literal["csv", "jsonl", "parquet", "html"] | None = None
    """the format of --output, where its ending does not say it; without it csv for standard output"""
    resume: bool = False
    """label only what is not in --output yet, be it cut off or finished"""
    top_k: int = 1
    """how many classes to give for each task, the likeliest first"""
    unknown: bool = True
    """answer "unknown" where a picture looks like the work of none of the known painters; --no-unknown: name one
    always"""
    unknown_tasks: tuple[str, ...] = ()
    """the tasks that may be answered "unknown", such as painter,style; without it painter"""
    balanced: bool = False
    """name rare classes more often: raises the accuracy averaged over the classes, lowers that over all paintings"""
    balance_strength: float = 0.6  # `evaluation.balance.STRENGTH`, without loading numpy for --help
    """how far --balanced goes: 0 not at all, 1 as if all classes were equally frequent"""
    tta: Literal["none", "flip", "crops"] = "none"
    """label several versions of each picture and take the mean: flip, the picture and its mirror image; crops, five
    crops too, all of them mirrored as well (12 versions)"""
    runtime: Literal["keras", "openvino", "openvino-bf16", "litert", "auto"] = "auto"
    """what runs the network; auto: the fastest that is installed and gives Keras's probabilities (LiteRT; for 10,000
    pictures and more it is measured, once)"""
    batch_size: int = 32
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""
    engine: Literal["local", "ray"] = "local"
    """what labels: local, this process; ray, the machines of a Ray cluster, which must see pictures and model at the
    same paths"""
    ray_address: str = ""
    """with --engine ray, a cluster that runs: host:port, or auto for the one of this machine; without it, one is
    started here for the time of the command"""
    ray_cpus: int = 0
    """with --engine ray, how many cores a worker takes; 0: as many as this machine has, or the smallest of the
    cluster"""

    @property
    def output_format(self) -> str:
        """What --format or the ending of --output says; "" where neither does."""
        if self.output == STANDARD_OUTPUT:
            return self.format or "csv"
        return self.format or self.output.suffix.lower().removeprefix(".")


def predict(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl.common.files import file_lock

    _check(settings)
    if settings.output == STANDARD_OUTPUT:
        from painters_mtl.inference.labelling import print_table

        table = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # notes do not belong to the table
            job = _job(settings)
            say(f"labelling {counted(len(job.files), 'picture')} with {job.run.title}")
            return _status(print_table(job, settings.output_format, table))
    job = _job(settings)
    if settings.output.exists() and not settings.resume:
        _check_replaceable(settings.output, settings.output_format)
    lock = settings.output.with_name(f".{settings.output.name}.lock")
    with file_lock(lock, f"writing {settings.output}", wait=False):
        return _write_output(settings, job)


def _check(settings: Settings) -> None:
    from painters_mtl.inference.result_tables import FORMATS, parquet_packages

    command_line.check_numbers(settings, top_k=1, batch_size=1, threads=0)
    command_line.check_engine(settings)
    if settings.balance_strength != Settings.balance_strength and not settings.balanced:
        raise UserError(f"--balance-strength {settings.balance_strength:g} is for --balanced: add it")
    if not 0 <= settings.balance_strength <= 1:
        raise UserError(f"--balance-strength {settings.balance_strength:g} must be from 0 to 1")
    if not settings.paths:
        raise UserError("nothing to label: name folders, zips or files, or - for a list on standard input")
    if settings.output == STANDARD_OUTPUT:
        if settings.output_format not in ("csv", "jsonl"):
            raise UserError(f"--output - writes csv or jsonl: name a file for --format {settings.format}")
        if settings.resume:
            raise UserError("--output - cannot be gone on with: leave --resume out, or name a file")
    else:
        endings = () if settings.format else tuple(f".{name}" for name in FORMATS)
        command_line.check_output("--output", settings.output, endings)
    if settings.output_format == "parquet":
        parquet_packages()
    if settings.engine == "ray":
        from painters_mtl.common.ray_cluster import import_ray

        import_ray(settings.ray_address)


def _check_replaceable(output: Path, file_format: str) -> None:
    """Raises `UserError` where the output is a file that `predict` did not write, such as a table made by hand."""
    if file_format == "html":
        from painters_mtl.reports.gallery import is_page

        written = is_page(output, output, 1)
    else:
        from painters_mtl.inference.result_tables import is_of_predictions

        written = is_of_predictions(output, file_format)
    if output.stat().st_size and not written:
        raise UserError(f"{output} is there, was not written by predict and is not replaced: name another --output")


def _job(settings: Settings) -> "LabelJob":
    """The pictures, the network and the options that the settings name."""
    from painters_mtl.images.files import images_from_arguments
    from painters_mtl.inference.labelling import LabelJob
    from painters_mtl.runs.model_choice import open_run_for_pictures
    from painters_mtl.runs.training_data import training_counts

    run = open_run_for_pictures(settings.model)
    if settings.balanced:
        training_counts(run)  # refuses a run that does not have them, before any picture is read
    files = images_from_arguments(settings.paths)
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    options = _options(settings, run)
    for task in options.unknown_tasks:
        if not run.thresholds.get(task):
            say(f"note: {run.title} had too few validation paintings with a {task}: none is called unknown or doubtful")
    return LabelJob(run, files, options, settings.engine, settings.ray_address, settings.ray_cpus)


def _options(settings: Settings, run: "Run") -> "PredictOptions":
    from painters_mtl.data.tasks import chosen_tasks
    from painters_mtl.inference.predictor import PredictOptions

    unknown_tasks: tuple[str, ...] = ()
    if settings.unknown_tasks:
        unknown_tasks = tuple(chosen_tasks(run.tasks, settings.unknown_tasks, "--unknown-tasks"))
    elif "painter" in run.tasks:
        unknown_tasks = ("painter",)
    gallery = settings.output_format == "html"
    return PredictOptions(
        runtime=settings.runtime,
        batch_size=settings.batch_size,
        threads=settings.threads,
        tta=settings.tta,
        top_k=max(settings.top_k, IN_GALLERY) if gallery else settings.top_k,
        unknown_tasks=unknown_tasks if settings.unknown else (),
        balanced=settings.balance_strength if settings.balanced else 0.0,
        thumbnails=gallery,
    )


def _write_output(settings: Settings, job: "LabelJob") -> int:
    """Label the pictures and write the table or the gallery; returns the verb's status."""
    from painters_mtl.inference.labelling import going_on, label_into_journal
    from painters_mtl.inference.predictor import prediction_columns
    from painters_mtl.inference.result_files import journal_file, write_results
    from painters_mtl.inference.result_tables import read_table

    output, file_format = settings.output, settings.output_format
    if file_format == "html":
        from painters_mtl.reports.gallery import read_gallery, write_gallery

        labelled = label_into_journal(job, output, file_format, settings.resume, read_gallery)
    else:
        read_rows = partial(read_table, file_format=file_format)
        labelled = label_into_journal(job, output, file_format, settings.resume, read_rows)
    if labelled.nothing_new:
        print(f"all {len(job.files):,} pictures are in {output} already: nothing is left to do")
        return _status(labelled)
    with going_on(journal_file(output)):
        if file_format == "html":
            pages = write_gallery(output, job.run)
            names = ", ".join(map(str, pages[:3])) + (" ..." if len(pages) > 3 else "")
            print(f"wrote {counted(labelled.rows, 'picture')} to {names}")
        else:
            write_results(output, file_format, prediction_columns(job.run, job.options.top_k))
            if len(job.files) <= SHOWN:
                asked = {display_path(str(file)) for file in job.files}  # an output that went on has others too
                for row in read_table(output, file_format):
                    if display_path(row["path"]) in asked:
                        print(in_words(row, list(job.run.tasks)))
            print(f"wrote {counted(labelled.rows, 'row')} to {output}")
    return _status(labelled)


def in_words(row: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """A row of the table as a line: its labels with their confidence, or why it has none."""
    from painters_mtl.data.tasks import UNKNOWN

    if row["error"]:
        return f"{row['path']}: {row['error']}"
    labels = []
    for task in (task for task in tasks if task in row):  # a row of an earlier call may hold less
        confidence = row.get(f"{task}_confidence")
        # Where a task is answered "unknown", the confidence is that of a class that is not named.
        doubtful = ", doubtful" if task in (row.get("doubtful") or "").split(", ") else ""
        share = "" if confidence is None or row[task] == UNKNOWN else f" ({100 * float(confidence):.0f} %{doubtful})"
        labels.append(f"{task} {row[task]}{share}")
    in_part = f"; read in part only ({row['read_in_part']})" if row.get("read_in_part") else ""
    return f"{row['path']}: {', '.join(labels)}{in_part}"


def _status(labelled: "LabelledOutput") -> int:
    """0, or 1 where pictures could not be read; says how many, and why."""
    if labelled.read_in_part:
        in_part = counted(len(labelled.read_in_part), "picture")
        reasons = count_reasons(labelled.read_in_part)
        print(f"{in_part} could be read in part only ({reasons}): the labels are of that part", file=sys.stderr)
    if labelled.errors:
        could_not = counted(len(labelled.errors), "picture")
        print(f"{could_not} could not be read ({count_reasons(labelled.errors)})", file=sys.stderr)
    return 1 if labelled.errors else 0


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, predict, argv, "painters-mtl predict", __doc__)


if __name__ == "__main__":
    sys.exit(main())
