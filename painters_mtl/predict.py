"""Label paintings: painter, style and genre of each, with a confidence.

    python -m painters_mtl.predict FOLDER --model models/full --output predictions.csv
    python -m painters_mtl.predict a.jpg b.png paintings.zip --top-k 3 --output gallery.html
    find . -name "*.jpg" | python -m painters_mtl.predict - --runtime auto --resume
    python -m painters_mtl.predict FOLDER --engine ray --ray-address HOST:PORT     # spread over a Ray cluster

Folders are searched to the bottom, zips read in place; "*.jpg" in quotes is a pattern, and - stands for a list of
paths on standard input, one a line. There is a row for each picture, also for one that cannot be read: path, painter,
painter_confidence, painter_known, style, style_confidence, genre, genre_confidence, then painter_2,
painter_2_confidence ... for --top-k, and error (empty, or why it could not be read). A painter is "unknown" where
painter_known, a score from 0 to 1, is below the threshold that 95 % of the known painters' works reach; the confidence
stays that of the likeliest of them. The ending of --output decides: .csv, .jsonl, .parquet, or .html, a gallery.

Exit status: 0 all read, 1 some were not, 2 misuse, 130 interrupted (--resume goes on).
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.runs.run import Run

FEW = 8  # pictures that Keras labels sooner than it compiles the network; it then holds all their activations
IN_GALLERY = 3  # likeliest classes shown of each task


@dataclass
class Settings:
    """What to label, and with which model."""

    paths: tyro.conf.Positional[tuple[str, ...]]
    """folders (with all below them), zips (read in place), single files, patterns such as "*.jpg", or - for a list"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    output: Path = Path("predictions.csv")
    """the file to write: .csv, .jsonl, .parquet or .html (a gallery, in parts of 500 pictures)"""
    resume: bool = False
    """go on with an --output that was cut off"""
    top_k: int = 1
    """how many classes to give for each task, the likeliest first"""
    unknown: bool = True
    """call a painter "unknown" whose work looks like that of none of the known ones; --no-unknown: name one always"""
    unknown_tasks: tuple[str, ...] = ("painter",)
    """the tasks that may be answered "unknown": painter,style,genre"""
    tta: Literal["none", "flip", "crops"] = "none"
    """the mean over several looks at each painting: flip: mirrored too (2 looks); crops: five crops too (12)"""
    runtime: Literal["keras", "openvino", "openvino-bf16", "litert", "auto"] = "keras"
    """what runs the network; auto: the fastest that is installed and gives the same answers"""
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
    def gallery(self) -> bool:
        """Whether the output is one, and no table."""
        return self.output.suffix.lower() == ".html"

    @property
    def kept_classes(self) -> int:
        """How many of each task are kept, the likeliest first."""
        return max(self.top_k, IN_GALLERY) if self.gallery else self.top_k

    @property
    def tasks_with_unknown(self) -> tuple[str, ...]:
        """The tasks whose answer may be "unknown"."""
        return tuple(name for names in self.unknown_tasks for name in names.split(",") if self.unknown)


def predict(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl.images.files import images_from_arguments
    from painters_mtl.inference.result_files import check_output
    from painters_mtl.runs.run import open_run_for_pictures

    _check(settings)
    check_output(settings.output)
    run = open_run_for_pictures(settings.model)
    run.check()
    for task in settings.tasks_with_unknown:
        if task not in (*run.tasks, "painter"):
            raise UserError(f"--unknown-tasks {task} is no task of {run.folder}; it has {', '.join(run.tasks)}")
    files = images_from_arguments(settings.paths)
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    lock = settings.output.with_name(f".{settings.output.name}.lock")
    with file_lock(lock, f"writing {settings.output}", wait=False):
        return _write(settings, run, files)


def _write(settings: Settings, run: "Run", files: "list[ImageFile]") -> int:
    """Label the files and write the table or the gallery; returns the verb's status."""
    from tqdm import tqdm

    from painters_mtl.inference.predictor import prediction_columns
    from painters_mtl.inference.result_files import Journal, in_input_order, write_results

    made_with = {
        "model": run.digest or str(run.folder),
        "--top-k": settings.kept_classes,
        "--unknown": settings.tasks_with_unknown,
    }
    made_with |= {"--tta": settings.tta, "--runtime": settings.runtime, "--output": settings.output.suffix.lower()}
    with Journal(settings.output, made_with, settings.resume) as journal:
        todo = [file for file in files if str(file) not in journal.done]
        if journal.done:
            print(f"going on behind {len(journal.done):,} pictures that are done")
        print(f"labelling {len(todo):,} pictures with {run.folder}", flush=True)
        with _resumable(journal.file):
            for row in tqdm(_rows(settings, run, todo), total=len(todo), unit=" pictures", mininterval=0.5):
                journal.write(row)
    with _resumable(journal.file):
        if settings.engine != "local" or settings.resume:  # Ray's groups come back in any order, also before a cut
            in_input_order(journal.file, map(str, files))
        if settings.gallery:
            from painters_mtl.reports.gallery import write_gallery

            written = write_gallery(settings.output, run)
            print(f"wrote {journal.rows:,} pictures to {', '.join(map(str, written[:3]))}{' ...' * (len(written) > 3)}")
        else:
            write_results(settings.output, prediction_columns(run, settings.kept_classes))
            print(f"wrote {journal.rows:,} rows to {settings.output}")
    if journal.errors:
        counts = Counter(error.split(" (")[0] for error in journal.errors)
        reasons = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
        print(f"{len(journal.errors):,} pictures could not be read ({reasons}): see the column error", file=sys.stderr)
    return 1 if journal.errors else 0


@contextlib.contextmanager
def _resumable(journal: Path) -> Iterator[None]:
    """Say where the rows are that are done, when something ends the block early."""
    try:
        yield
    except (KeyboardInterrupt, OSError):
        print(f"\n{journal} holds what is done: the same command with --resume goes on", file=sys.stderr)
        raise


def _rows(settings: Settings, run: "Run", files: "list[ImageFile]") -> Iterator[dict[str, Any]]:
    """The row of each picture: from this process, or from the machines of a cluster."""
    from painters_mtl.inference.predictor import PredictOptions, open_network, prediction_rows

    if not files:
        return
    options = PredictOptions(
        runtime=settings.runtime,
        batch_size=settings.batch_size,
        threads=settings.threads,
        tta=settings.tta,
        compiled=settings.tta != "none" or len(files) > min(settings.batch_size, FEW),
        top_k=settings.kept_classes,
        unknown_tasks=settings.tasks_with_unknown,
        thumbnails=settings.gallery,
    )
    if settings.engine == "local":
        yield from prediction_rows(run, open_network(run, options, files), files, options)
        return
    from painters_mtl.inference.ray_jobs import label_on_ray
    from painters_mtl.inference.runtime_choice import export_on_first_use, fastest_runtime

    if options.runtime == "auto":
        options = replace(options, runtime=fastest_runtime(run, files))
    if options.runtime != "keras":
        export_on_first_use(run, options.runtime, files)  # once, before many workers open it
    yield from label_on_ray(run.folder, files, options, settings.ray_address, settings.ray_cpus)


def _check(settings: Settings) -> None:
    command_line.check_numbers(settings, top_k=1, batch_size=1, threads=0)
    command_line.check_engine(settings)
    if not settings.paths:
        raise UserError("nothing to label: name folders, zips or files, or - for a list on standard input")
    if settings.engine == "ray":
        from painters_mtl.common.ray_cluster import check_cluster

        check_cluster(settings.ray_address)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, predict, argv, "painters-mtl predict", __doc__)


if __name__ == "__main__":
    sys.exit(main())
