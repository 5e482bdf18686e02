"""Label paintings: painter, style and genre of each, with a confidence.

    python -m painters_mtl.predict FOLDER --model models/full --output predictions.csv
    python -m painters_mtl.predict a.jpg b.png paintings.zip --top-k 3

Folders are searched to the bottom, zips read in place. The CSV has a row for each picture, also for one that cannot be
read: `path, painter, painter_confidence, style, style_confidence, genre, genre_confidence`, then `painter_2,
painter_2_confidence` ... for --top-k, and `error` (empty, or why it could not be read). Exit status: 0 all read, 1 some
were not, 2 misuse.
"""

import csv
import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from painters_mtl import cli
from painters_mtl.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.images import ImageFile
    from painters_mtl.runs import Run


@dataclass
class Settings:
    """What to label, and with which model."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """folders (with all below them), zips (read in place) or single files"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    output: Path = Path("predictions.csv")
    """the CSV to write"""
    top_k: int = 1
    """how many classes to give for each task, the likeliest first"""
    batch_size: int = 32
    """pictures that go through the network at once"""
    threads: int = 0
    """how many pictures are decoded at once; 0: as many as there are cores"""


@dataclass(frozen=True)
class Labelled:
    """One picture's outcome: its probabilities {task: float32 (classes,)}, or why it could not be read."""

    file: "ImageFile"
    probabilities: "dict[str, np.ndarray] | None"
    error: str = ""


def label(run: "Run", files: "Iterable[ImageFile]", batch_size: int = 32, threads: int = 0) -> Iterator[Labelled]:
    """Label pictures one after the other, in order, in constant memory: decoding overlaps with the network."""
    import numpy as np

    cli.import_tensorflow()
    from painters_mtl import images
    from painters_mtl.calibration import soften
    from painters_mtl.pipeline import inference
    from painters_mtl.store import copy_of

    forward = inference(run.model(), run.image_size)

    def decode(file: "ImageFile") -> "np.ndarray | images.Unreadable":
        try:
            return copy_of(file.read(), run.copy_side, run.views, str(file))[1]
        except images.Unreadable as refusal:
            return refusal

    def finish(batch: "list[tuple[ImageFile, np.ndarray | images.Unreadable]]") -> Iterator[Labelled]:
        good = [pixels for _, pixels in batch if isinstance(pixels, np.ndarray)]
        found = forward(np.stack(good)) if good else {}
        found = {name: iter(soften(p.numpy(), run.temperatures[name])) for name, p in found.items()}
        for file, pixels in batch:
            if isinstance(pixels, images.Unreadable):
                detail = f" ({pixels.detail})" if pixels.detail else ""
                yield Labelled(file, None, pixels.reason + detail)
            else:
                yield Labelled(file, {name: next(values) for name, values in found.items()})

    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[ImageFile, Future]] = deque()
        batch: list[tuple[ImageFile, np.ndarray | images.Unreadable]] = []
        for file in files:
            waiting.append((file, pool.submit(decode, file)))
            if len(waiting) >= batch_size + 2 * workers:
                first, future = waiting.popleft()
                batch.append((first, future.result()))
            if len(batch) == batch_size:
                yield from finish(batch)
                batch = []
        while waiting:
            first, future = waiting.popleft()
            batch.append((first, future.result()))
            if len(batch) == batch_size or not waiting:
                yield from finish(batch)
                batch = []


def predict(settings: Settings) -> int:
    """The verb. Returns 0 when every picture was read, 1 when some were not."""
    from painters_mtl import images
    from painters_mtl.files import whole
    from painters_mtl.runs import open_run

    for name in ("top_k", "batch_size"):
        if getattr(settings, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(settings, name)} must be at least 1")
    if not settings.paths:
        raise UserError("nothing to label: name folders, zips or files")
    parent = settings.output.resolve().parent
    if not parent.is_dir() or settings.output.is_dir():
        raise UserError(f"--output {settings.output} cannot be written: name a file in a folder that is there")
    if settings.output.suffix.lower() != ".csv":
        raise UserError(f"--output {settings.output} must end in .csv")
    run = open_run(settings.model)
    files = images.find(*settings.paths)
    if not files:
        raise UserError(f"there is no picture in {', '.join(map(str, settings.paths))}")
    print(f"labelling {len(files):,} pictures with {run.folder}", flush=True)
    from tqdm import tqdm

    errors = Counter[str]()
    with (
        whole(settings.output) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out,
    ):
        table = csv.writer(out)
        table.writerow(columns(run, settings.top_k))
        labelled = label(run, files, settings.batch_size, settings.threads)
        for one in tqdm(labelled, total=len(files), unit=" pictures", mininterval=0.5):
            table.writerow(row(run, one, settings.top_k))
            if one.error:
                errors[one.error.split(" (")[0]] += 1
    refused = sum(errors.values())
    print(f"wrote {len(files):,} rows to {settings.output}")
    if refused:
        reasons = ", ".join(f"{n} {reason}" for reason, n in errors.most_common())
        print(f"{refused:,} pictures could not be read ({reasons}): see the column error", file=sys.stderr)
    return 1 if refused else 0


def columns(run: "Run", top_k: int) -> list[str]:
    """Header of the CSV."""
    names = ["path"]
    for k in range(1, top_k + 1):
        for task in run.tasks.values():
            if k <= len(task.classes):
                name = task.name if k == 1 else f"{task.name}_{k}"
                names += [name, f"{name}_confidence"]
    return [*names, "error"]


def row(run: "Run", one: Labelled, top_k: int) -> list[str]:
    """A line of the CSV, in the order of `columns`; empty cells for a picture that could not be read."""
    import numpy as np

    cells = [str(one.file)]
    best = {} if one.probabilities is None else {k: np.argsort(-p, kind="stable") for k, p in one.probabilities.items()}
    for k in range(top_k):
        for task in run.tasks.values():
            if k < len(task.classes):
                if one.probabilities is None:
                    cells += ["", ""]
                else:
                    chosen = int(best[task.name][k])
                    cells += [task.classes[chosen], f"{one.probabilities[task.name][chosen]:.4f}"]
    return [*cells, one.error]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return cli.run(Settings, predict, argv, "painters-mtl predict", __doc__)


if __name__ == "__main__":
    sys.exit(main())
