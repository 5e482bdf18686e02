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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.images.decode import Picture
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

CROP = 7 / 8  # side of the crops of --tta crops
FEW = 8  # pictures that Keras labels sooner than it compiles the network; it then holds all their activations
SENT = 64  # pictures for a comparison with Keras, should a Ray worker have to make one
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
    unknown_tasks: tuple[Literal["painter", "style", "genre"], ...] = ("painter",)
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
    def classes(self) -> int:
        """How many of each task are kept, the likeliest first."""
        return max(self.top_k, IN_GALLERY) if self.gallery else self.top_k

    @property
    def doubted(self) -> tuple[str, ...]:
        """The tasks whose answer may be "unknown"."""
        return self.unknown_tasks if self.unknown else ()


@dataclass(frozen=True)
class Prediction:
    """One picture's outcome: what the network says of it, or why it could not be read."""

    file: "ImageFile"
    probabilities: "dict[str, np.ndarray] | None"  # {task: float32 (classes,)}, calibrated
    error: str = ""
    known: dict[str, float] = field(default_factory=dict)  # {task: score, 0 to 1, that it is any of the classes}
    picture: "Picture | None" = None  # the small copy that the network saw

    def unknown(self, run: "Run", task: str) -> bool:
        """Whether its score for a task is below the run's threshold."""
        return run.unknown(task, self.known[task])


def label(
    run: "Run",
    files: "Iterable[ImageFile]",
    batch_size: int = 32,
    threads: int = 0,
    tta: str = "none",
    runtime: str = "keras",
) -> Iterator[Prediction]:
    """Label pictures one after the other, in order, in constant memory: decoding overlaps with the network.

    A runtime other than Keras that is used for the first time is compared with it on some of `files`, which must then
    be a list.
    """
    from painters_mtl.inference.runtimes import load

    sample = files if isinstance(files, Sequence) else ()
    yield from predict_with(
        run, flipped_and_shifted(load(run, runtime, batch_size, sample), tta), files, batch_size, threads
    )


def predict_with(
    run: "Run", forward: "Forward", files: "Iterable[ImageFile]", batch_size: int = 32, threads: int = 0
) -> Iterator[Prediction]:
    """As `label`, with a network that is opened already: see `open_network`."""
    import numpy as np

    from painters_mtl.data.tasks import known_output
    from painters_mtl.evaluation.calibration import apply_temperature
    from painters_mtl.evaluation.open_set import known_score
    from painters_mtl.images.stream import stream_images

    for seen in stream_images(files, run, forward, batch_size, threads):
        if seen.outputs is None:
            yield Prediction(seen.file, None, seen.error)
            continue
        found = {name: apply_temperature(seen.outputs[name][None], run.temperatures[name])[0] for name in run.tasks}
        known = {
            name: float(known_score(np.asarray(found[name]), seen.outputs.get(known_output(name))))
            for name in run.tasks
        }
        yield Prediction(seen.file, found, "", known, seen.picture)


def open_network(
    model: Path, runtime: str, batch_size: int, sample: "Sequence[ImageFile]", tta: str, once: bool
) -> "tuple[Run, Forward]":
    """A run and its network in a runtime, compared with Keras on `sample` if that is still to be done."""
    from painters_mtl.inference.runtimes import load
    from painters_mtl.runs.run import open_run

    run = open_run(model)
    return run, flipped_and_shifted(load(run, runtime, batch_size, sample, once), tta)


def rows(
    run: "Run",
    forward: "Forward",
    files: "Iterable[ImageFile]",
    batch_size: int,
    threads: int,
    top_k: int,
    unknown: Iterable[str],
    thumbnails: bool,
) -> Iterator[dict[str, Any]]:
    """The journal's line of each picture, in order: its cells, and for a gallery its thumbnail."""
    for one in predict_with(run, forward, files, batch_size, threads):
        cells = row(run, one, top_k, unknown)
        if thumbnails and one.picture:
            from painters_mtl.reports.gallery import thumbnail

            cells["thumbnail"] = thumbnail(one.picture)
        yield cells


def flipped_and_shifted(forward: "Forward", tta: str) -> "Forward":
    """The mean of a network's outputs over several looks at each copy; of whole paintings one is as good as none.

    Args:
        tta: "none"; "flip": as it is and mirrored; "crops": also four corners and the middle, each mirrored too.
    """
    import numpy as np
    from PIL import Image

    if tta == "none":
        return forward
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)] if tta == "crops" else []

    def crop(copy: np.ndarray, at: tuple[float, float]) -> np.ndarray:
        height, width = copy.shape[:2]
        top, left = at[0] * (1 - CROP) * height, at[1] * (1 - CROP) * width
        box = (left, top, left + CROP * width, top + CROP * height)
        return np.asarray(Image.fromarray(copy).resize((width, height), Image.Resampling.BILINEAR, box))

    def crops(copies: np.ndarray, at: tuple[float, float]) -> np.ndarray:
        flat = copies.reshape(-1, *copies.shape[-3:])
        return np.stack([crop(copy, at) for copy in flat]).reshape(copies.shape)

    def mean(copies: np.ndarray) -> dict[str, np.ndarray]:
        views = [copies, *(crops(copies, at) for at in corners)]
        found = [forward(np.ascontiguousarray(v)) for view in views for v in (view, view[..., ::-1, :])]
        return {name: np.mean([np.asarray(one[name]) for one in found], axis=0) for name in found[0]}

    return mean


def predict(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl.images.inputs import images_from_arguments
    from painters_mtl.inference.result_files import check_output
    from painters_mtl.runs.run import open_run_for_pictures

    _check(settings)
    check_output(settings.output)
    run = open_run_for_pictures(settings.model)
    run.check()
    files = images_from_arguments(settings.paths)
    if not files:
        raise UserError(f"there is no picture in {', '.join(settings.paths)}")
    lock = settings.output.with_name(f".{settings.output.name}.lock")
    with file_lock(lock, f"writing {settings.output}", wait=False):
        return _write(settings, run, files)


def _write(settings: Settings, run: "Run", files: "list[ImageFile]") -> int:
    """Label the files and write the table or the gallery; returns the verb's status."""
    from tqdm import tqdm

    from painters_mtl.inference.result_files import Journal, in_input_order, write_results

    made_with = {"model": run.digest or str(run.folder), "--top-k": settings.classes, "--unknown": settings.doubted}
    made_with |= {"--tta": settings.tta, "--runtime": settings.runtime, "--output": settings.output.suffix.lower()}
    with Journal(settings.output, made_with, settings.resume) as journal:
        todo = [file for file in files if str(file) not in journal.done]
        if journal.done:
            print(f"going on behind {len(journal.done):,} pictures that are done")
        print(f"labelling {len(todo):,} pictures with {run.folder}", flush=True)
        with _resumable(journal.file):
            for line in tqdm(_lines(settings, run, todo), total=len(todo), unit=" pictures", mininterval=0.5):
                journal.write(line)
    with _resumable(journal.file):
        if settings.engine != "local" or settings.resume:  # Ray's groups come back in any order, also before a cut
            in_input_order(journal.file, map(str, files))
        if settings.gallery:
            from painters_mtl.reports.gallery import write_gallery

            written = write_gallery(settings.output, run)
            print(f"wrote {journal.rows:,} pictures to {', '.join(map(str, written[:3]))}{' ...' * (len(written) > 3)}")
        else:
            write_results(settings.output, columns(run, settings.classes))
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


def _lines(settings: Settings, run: "Run", files: "list[ImageFile]") -> Iterator[dict[str, Any]]:
    """What the journal gets: from this process, or from the machines of a cluster."""
    from painters_mtl.inference.runtimes import fastest, load

    if not files:
        return
    size = settings.batch_size
    ways: dict[str, Any] = {"batch_size": size, "threads": settings.threads, "top_k": settings.classes}
    ways |= {"unknown": settings.doubted, "thumbnails": settings.gallery}
    once = len(files) <= min(size, FEW) and settings.tta == "none"
    if settings.engine == "local":
        forward = flipped_and_shifted(load(run, settings.runtime, size, files, once), settings.tta)
        yield from rows(run, forward, files, **ways)
        return
    from painters_mtl.studies.ray_jobs import label_files

    runtime = fastest(run, files) if settings.runtime == "auto" else settings.runtime
    if runtime != "keras":
        load(run, runtime, size, files)  # exported and compared once, before many open it
    opening: dict[str, Any] = {"model": run.folder, "runtime": runtime, "batch_size": size}
    opening |= {"sample": files[:SENT], "tta": settings.tta, "once": once}
    yield from label_files(files, opening, ways, settings.ray_address, settings.ray_cpus)


def _check(settings: Settings) -> None:
    command_line.check_numbers(settings, top_k=1, batch_size=1, threads=0)
    command_line.check_engine(settings)
    if not settings.paths:
        raise UserError("nothing to label: name folders, zips or files, or - for a list on standard input")
    if settings.engine == "ray":
        from painters_mtl.studies.ray_jobs import check

        check(settings.ray_address)


def columns(run: "Run", top_k: int) -> list[str]:
    """Header of the table."""
    names = ["path"]
    for k in range(1, top_k + 1):
        for task in run.tasks.values():
            if k <= len(task.classes):
                name = task.name if k == 1 else f"{task.name}_{k}"
                names += [name, f"{name}_confidence"]
                names += ["painter_known"] if name == "painter" else []
    return [*names, "error"]


def row(run: "Run", one: Prediction, top_k: int, unknown: Iterable[str] = ("painter",)) -> dict[str, Any]:
    """A line of the table; a picture that could not be read has only path and error.

    What is no column: "doubtful", the tasks whose score is below the threshold, and "likeliest", the class that stood
    where the answer is "unknown".

    Args:
        unknown: tasks whose answer is "unknown" below the run's threshold.
    """
    import numpy as np

    from painters_mtl.data.tasks import UNKNOWN

    cells: dict[str, Any] = {"path": str(one.file), "error": one.error}
    if one.probabilities is None:
        return cells
    for task in run.tasks.values():
        p = one.probabilities[task.name]
        for k, chosen in enumerate(np.argsort(-p, kind="stable")[:top_k], start=1):
            name = task.name if k == 1 else f"{task.name}_{k}"
            cells[name], cells[f"{name}_confidence"] = task.classes[chosen], round(float(p[chosen]), 4)
        if task.name == "painter":
            cells["painter_known"] = round(one.known["painter"], 4)
        if task.name in unknown and one.unknown(run, task.name):
            cells.setdefault("likeliest", {})[task.name] = cells[task.name]
            cells[task.name] = UNKNOWN
    cells["doubtful"] = [name for name in run.tasks if one.unknown(run, name)]
    return cells


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, predict, argv, "painters-mtl predict", __doc__)


if __name__ == "__main__":
    sys.exit(main())
