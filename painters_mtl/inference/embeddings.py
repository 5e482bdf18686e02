"""Pictures to vectors: the features that the heads share, each picture's computed once and kept.

    run = open_run(Path("models/full"))
    found = vectors.compute(run, images.find("paintings/"))
    found.computed                       # how many went through the network; the others were in the cache
    for one in found:                    # in order, in constant memory, also those that cannot be read
        one.features, one.labels         # float32 (channels,), {"painter": ("Claude Monet", 0.71), ...}

The cache is one SQLite file for each network, whichever folders were asked for: a row for each picture, known by its
path and by its size and time (a zip's member: size and checksum). Only what is new or has changed is computed, and a
run that was cut off goes on where it stood. Several processes may use it at once; a damaged one is made again.
"""

import functools
import hashlib
import os
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import UNKNOWN, known_output
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.images import files as images
from painters_mtl.images.cache import file_stamps
from painters_mtl.images.stream import Forward, stream_images
from painters_mtl.runs import run as runs
from painters_mtl.runs.run import Run

VERSION = 2  # of the rows; another one is another file
T = TypeVar("T")
CACHE = Path("data/cache")
CHUNK = 128  # pictures between two writes, and in each look into the cache
FLOATS = np.dtype("<f4")  # a row of the cache: the probabilities of each task, two of KNOWN (or NaN), the features
KNOWN = known_output("painter")


@dataclass(frozen=True)
class Vector:
    """One picture: its features, float32 (channels,), and {task: (class, calibrated confidence)}; or an error.

    As in `predict`, a painter is "unknown" where the score that it is any of them is below the run's threshold.
    """

    file: images.ImageFile
    features: np.ndarray | None
    labels: Mapping[str, tuple[str, float]]
    error: str = ""  # why it could not be read; then features is None and labels is empty


@dataclass(frozen=True)
class Vectors:
    """The vectors of `files`, in that order. They are read from the cache when they are asked for."""

    run: Run
    files: Sequence[images.ImageFile]
    errors: Mapping[images.ImageFile, str]  # those of the files that could not be read, and why
    computed: int  # how many were not in the cache
    cache: Path  # the SQLite file

    @property
    def network(self) -> str:
        """The network's `model_key`: vectors of two networks cannot be compared."""
        return self.cache.stem.removeprefix("vectors-")

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Vector]:
        return self.at(range(len(self.files)))

    def at(self, positions: Sequence[int]) -> Iterator[Vector]:
        """The vectors at these positions, in the order asked for."""
        with closing(_connect(self.cache)) as database:
            for chunk in _chunks(positions):
                files = [self.files[k] for k in chunk]
                good = {file: embeddings_file(file) for file in files if file not in self.errors}
                rows = {name: row for name, _, row in _rows(database, good.values())}
                if not all(name in rows for name in good.values()):
                    raise UserError(f"{self.cache} was changed by others while it was read: run this again")
                found = dict(zip(good, self._vectors(good, [rows[name] for name in good.values()]), strict=True))
                for file in files:
                    yield found[file] if file in found else Vector(file, None, {}, self.errors[file])

    def _vectors(self, files: Iterable[images.ImageFile], rows: Sequence[np.ndarray]) -> Iterator[Vector]:
        if not rows:
            return
        tasks = self.run.tasks
        sizes = [len(task.classes) for task in tasks.values()]
        *parts, beside, features = np.split(np.stack(rows), np.cumsum([*sizes, 2]), axis=1)
        soft = {name: apply_temperature(p, self.run.temperatures[name]) for name, p in zip(tasks, parts, strict=True)}
        unknown = np.zeros(len(rows), bool)
        if "painter" in tasks:
            known_head = None if np.isnan(beside).all() else beside
            unknown = self.run.unknown("painter", known_score(soft["painter"], known_head))
        for k, file in enumerate(files):
            labels = {}
            for name, task in tasks.items():
                said = UNKNOWN if name == "painter" and unknown[k] else task.classes[int(soft[name][k].argmax())]
                labels[name] = said, float(soft[name][k].max())
            yield Vector(file, features[k], labels)


def compute(
    run: Run, files: Sequence[images.ImageFile], cache: Path = CACHE, batch_size: int = 32, threads: int = 0
) -> Vectors:
    """The vectors of `files`; those that the cache lacks are computed now, in constant memory, with a progress bar.

    The features are those of `model.features_model` on the picture's small copy; the labels come from the same pass
    through the network. TensorFlow is imported only if there is something to compute.

    Raises `UserError` when the cache cannot be written or the network cannot be loaded.
    """
    cache = Path(cache) / f"vectors-{model_key(run)}.sqlite"
    stamps = dict(zip(files, file_stamps(files), strict=True))  # before reading: what changes meanwhile is made again
    todo = _missing(cache, stamps)
    errors = {}
    if todo:
        with closing(_connect(cache)) as database:
            waiting: list[tuple[bytes, str, int, bytes]] = []
            seen = stream_images(todo, run, _forward(run), batch_size, threads)
            for k, one in enumerate(tqdm(seen, "computing vectors", len(todo), unit=" pictures", mininterval=0.5), 1):
                if one.outputs is None:
                    errors[one.file] = one.error
                else:
                    floats = one.outputs["row"].tobytes()
                    waiting.append((embeddings_file(one.file), stamps[one.file], zlib.crc32(floats), floats))
                if len(waiting) == CHUNK or k == len(todo):
                    _write(database, cache, waiting)
                    waiting = []
    return Vectors(run, files, errors, len(todo) - len(errors), cache)


def embeddings_file(file: images.ImageFile) -> bytes:
    """Where a picture really lies, behind all links; the same for every way to name it. A path need not be text."""
    path = file.path if "\0" in file.path else os.path.realpath(file.path)  # no such file can be
    return f"{path}/{file.member}".encode("utf-8", "surrogateescape")


def count_errors(errors: Iterable[str]) -> str:
    """Why pictures could not be read, counted: "3 empty, 1 not an image"."""
    counts = Counter(error.split(" (")[0] for error in errors)
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.most_common())


def model_key(run: Run) -> str:
    """What the vectors of a run depend on, as 16 hex digits: the network's file, and how it sees a picture."""
    content = runs.digest_of(run.folder / runs.MODEL)
    sizes = [(task.name, len(task.classes)) for task in run.tasks.values()]
    seen = f"{VERSION}|{content}|{run.image_size}|{run.copy_side}|{run.views}|{sizes}"
    return hashlib.blake2b(seen.encode(), digest_size=8).hexdigest()


def _forward(run: Run) -> Forward:
    """Copies to {"row": a row of the cache for each, float32 (n, classes + 2 + channels)}, in one pass."""

    @functools.cache
    def network() -> Callable[[np.ndarray], np.ndarray]:  # made for the first picture that can be read
        lazy_imports.import_tensorflow()
        import keras

        from painters_mtl.network.forward import forward_function
        from painters_mtl.network.graph import FEATURES, named_tensors

        model = run.model()
        names = [*run.tasks, KNOWN, FEATURES]
        outputs = {**model.output, FEATURES: named_tensors(model)[FEATURES]}
        both = forward_function(keras.Model(model.input, outputs), run.image_size)

        def rows(copies: np.ndarray) -> np.ndarray:
            found = {KNOWN: np.full((len(copies), 2), np.nan), **both(copies)}
            return np.concatenate([np.asarray(found[name], FLOATS) for name in names], axis=1)

        return rows

    return lambda copies: {"row": network()(copies)}


def _missing(cache: Path, stamps: Mapping[images.ImageFile, str]) -> list[images.ImageFile]:
    """The files whose row is not there, is of another state of the file, or is damaged."""
    try:
        with closing(_connect(cache)) as database:
            todo = []
            for chunk in _chunks(list(stamps)):
                names = {file: embeddings_file(file) for file in chunk}
                known = {name: stamp for name, stamp, _ in _rows(database, names.values())}
                todo += [file for file, name in names.items() if known.get(name) != stamps[file]]
            return todo
    except sqlite3.OperationalError as error:  # in use by another process for a whole minute
        raise UserError(f"{cache} cannot be read ({error}): try again, or name another --cache") from error
    except sqlite3.DatabaseError:  # cut, overwritten, or no database at all
        for file in (cache, cache.with_name(cache.name + "-journal")):
            file.unlink(missing_ok=True)
        return list(stamps)


def _connect(cache: Path) -> sqlite3.Connection:
    """The cache, with its table; raises `UserError` where there can be none, `DatabaseError` if it is damaged."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(cache, timeout=60)
        database.execute(
            "CREATE TABLE IF NOT EXISTS vectors (path BLOB PRIMARY KEY, stamp TEXT, crc INTEGER, floats BLOB)"
        )
        return database
    except (OSError, sqlite3.OperationalError) as error:
        raise UserError(f"--cache {cache.parent} cannot be used ({error}): name a folder to write to") from error


def _write(database: sqlite3.Connection, cache: Path, rows: Iterable[tuple[bytes, str, int, bytes]]) -> None:
    """Keep rows, all or none. The database is locked no longer than this takes."""
    try:
        with database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
    except sqlite3.Error as error:  # a full disk, most likely
        raise UserError(f"{cache} cannot be written ({error}): make room, or name another --cache") from error


def _rows(database: sqlite3.Connection, places: Iterable[bytes]) -> Iterator[tuple[bytes, str, np.ndarray]]:
    """What is there of these pictures and sound: place, stamp, floats."""
    asked = list(places)
    question = f"SELECT path, stamp, crc, floats FROM vectors WHERE path IN ({', '.join('?' * len(asked))})"
    for name, stamp, crc, floats in database.execute(question, asked):
        if isinstance(floats, bytes) and zlib.crc32(floats) == crc:
            yield name, stamp, np.frombuffer(floats, FLOATS)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[k : k + CHUNK] for k in range(0, len(items), CHUNK))
