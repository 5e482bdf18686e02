"""Pictures to vectors: the features that the heads share, each picture's computed once and kept.

    run = open_run(Path("models/full"))
    vectors = compute(run, find_images("paintings/"))
    vectors.computed                     # how many went through the network; the others were in the cache
    for one in vectors:                  # in order, in constant memory, also those that cannot be read
        one.features, one.labels         # float32 (channels,), {"painter": ("Claude Monet", 0.71), ...}

The cache is a `common.row_cache` for each network, whichever folders were asked for: a row for each picture, known by a
checksum of its content. Only what is new or has changed is computed, also where files were moved or renamed, and a run
that was cut off goes on where it stood. Several processes may use it at once; a damaged one is made again.
"""

import functools
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import Unreadable
from painters_mtl.common.iteration import in_batches
from painters_mtl.common.messages import ProgressBar
from painters_mtl.common.row_cache import RowCache, cache_key, content_checksum
from painters_mtl.data.tasks import UNKNOWN, known_output
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.images import cache as image_cache
from painters_mtl.images import files as images
from painters_mtl.images.stream import Forward, stream_images
from painters_mtl.runs.run import Run

if TYPE_CHECKING:
    import keras

VERSION = 3  # of the rows; another one is another file
CACHE = Path("data/cache")
CHUNK = 128  # pictures between two writes, and in each look into the cache
BLOCK = 1024  # pictures whose features are read at once where their labels are not asked for
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
    computed: int  # how many went through the network, since they were not in the cache
    contents: Mapping[images.ImageFile, str]  # checksums of those that could be read
    cache: RowCache

    @property
    def network(self) -> str:
        """The network's `model_key`: vectors of two networks cannot be compared."""
        return self.cache.key

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Vector]:
        return self.at(range(len(self.files)))

    def at(self, positions: Sequence[int]) -> Iterator[Vector]:
        """The vectors at these positions, in the order asked for."""
        for chunk in in_batches(len(positions), CHUNK):
            files = [self.files[k] for k in positions[chunk]]
            readable = [file for file in files if file not in self.errors]
            rows = self.cache.read([self.contents[file] for file in readable]) if readable else np.zeros((0, 0))
            vectors = dict(zip(readable, self._vectors(readable, rows), strict=True))
            for file in files:
                yield vectors[file] if file in vectors else Vector(file, None, {}, self.errors[file])

    def feature_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The features alone of the pictures that could be read, in blocks: (positions, float32 (k, channels))."""
        readable = np.array([k for k, file in enumerate(self.files) if file not in self.errors], np.int64)
        labels = sum(len(task.classes) for task in self.run.tasks.values()) + 2
        for block in in_batches(len(readable), BLOCK):
            positions = readable[block]
            rows = self.cache.read([self.contents[self.files[k]] for k in positions])
            yield positions, rows[:, labels:]

    def _vectors(self, files: Sequence[images.ImageFile], rows: np.ndarray) -> Iterator[Vector]:
        if not files:
            return
        tasks = self.run.tasks
        sizes = [len(task.classes) for task in tasks.values()]
        *heads, known_outputs, features = np.split(rows, np.cumsum([*sizes, 2]), axis=1)
        soft = {name: apply_temperature(p, self.run.temperatures[name]) for name, p in zip(tasks, heads, strict=True)}
        unknown = np.zeros(len(rows), bool)
        if "painter" in tasks:
            known_head = None if np.isnan(known_outputs).all() else known_outputs
            unknown = self.run.unknown("painter", known_score(soft["painter"], known_head))
        for k, file in enumerate(files):
            labels = {}
            for name, task in tasks.items():
                label = UNKNOWN if name == "painter" and unknown[k] else task.classes[int(soft[name][k].argmax())]
                labels[name] = label, float(soft[name][k].max())
            yield Vector(file, features[k], labels)


def compute(
    run: Run,
    files: Sequence[images.ImageFile],
    cache: Path = CACHE,
    batch_size: int = 32,
    threads: int = 0,
    forward: Forward | None = None,
) -> Vectors:
    """The vectors of `files`; those that the cache lacks are computed now, in constant memory, with a progress bar.

    The features are those of `multitask.features_model` on the cached image; the labels come from the same pass through
    the network. TensorFlow is imported only if there is something to compute.

    Args:
        forward: of `row_forward(run)`, for who calls this again and again and would load the network each time.

    Raises `UserError` when the cache cannot be written or the network cannot be loaded.
    """
    rows = RowCache(cache, model_key(run))
    # Stamps before reading: what changes meanwhile is computed again the next time.
    stamps = dict(zip(files, image_cache.file_stamps(files), strict=True))
    contents = _known_contents(rows, stamps, threads)
    absent = set(rows.missing(contents.values()))
    todo = [file for file in stamps if file not in contents or contents[file] in absent]
    errors: dict[images.ImageFile, str] = {}
    if todo:
        waiting: dict[images.ImageFile, np.ndarray] = {}
        outputs = stream_images(todo, forward or row_forward(run), run.cache_side, run.views, batch_size, threads)
        for k, one in enumerate(ProgressBar(outputs, "computing vectors", len(todo), unit=" pictures"), 1):
            if one.outputs is None:
                errors[one.file] = one.error
            else:
                contents[one.file], waiting[one.file] = one.content, one.outputs["row"]
            if len(waiting) == CHUNK or (k == len(todo) and waiting):
                places = [(place, stamps[file], contents[file]) for file, place in _places(waiting).items()]
                rows.write({contents[file]: row for file, row in waiting.items()}, places)
                waiting = {}
        rows.trim()
    return Vectors(run, files, errors, len(todo) - len(errors), contents, rows)


def _known_contents(
    rows: RowCache, stamps: Mapping[images.ImageFile, str], threads: int
) -> dict[images.ImageFile, str]:
    """Checksums of the contents of the files that may be in the cache: by their stamps, else by reading them.

    Files are not read where the cache is still empty: nothing can be known of them.
    """
    if not rows.file.exists():
        return {}
    places = _places(stamps)
    of_places = rows.contents_of({place: stamps[file] for file, place in places.items()})
    contents = {file: of_places[place] for file, place in places.items() if place in of_places}
    new = [file for file in stamps if file not in contents]
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as readers:
        for chunk in in_batches(len(new), CHUNK):
            read = dict(zip(new[chunk], readers.map(_content, new[chunk]), strict=True))
            read = {file: content for file, content in read.items() if content}
            absent = set(rows.missing(read.values()))
            there = {file: content for file, content in read.items() if content not in absent}
            rows.write({}, [(places[file], stamps[file], content) for file, content in there.items()])
            contents |= there
    return contents


def _content(file: images.ImageFile) -> str:
    """The checksum of a picture's bytes; "" where it cannot be read."""
    try:
        return content_checksum(file.read())
    except Unreadable:
        return ""


def real_location(file: images.ImageFile) -> bytes:
    """Where a picture really lies, behind all links; the same for every way to name it. A path need not be text."""
    return _places([file])[file]


def _places(files: Collection[images.ImageFile]) -> dict[images.ImageFile, bytes]:
    """`real_location` of each picture."""
    real = images.real_paths(file.path for file in files)
    return {file: f"{real[file.path]}/{file.member}".encode("utf-8", "surrogateescape") for file in files}


def model_key(run: Run) -> str:
    """What the vectors of a run depend on, as 16 hex digits: the network's file, and how it sees a picture."""
    sizes = [VERSION, image_cache.VERSION, run.image_size, run.cache_side, run.views]
    classes = [(task.name, len(task.classes)) for task in run.tasks.values()]
    return cache_key(run.network_checksum(), json.dumps([sizes, classes]))


def named_forward(run: Run, network: "keras.Model | None" = None) -> Forward:
    """The run's network as a function from cached images to all its outputs and its features, in one pass.

    {"painter": float32 (n, classes), ..., "features": float32 (n, channels)}; not calibrated.

    Args:
        network: that of the run, where it is open already.
    """
    lazy_imports.import_tensorflow()
    import keras

    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.forward import forward_function
    from painters_mtl.network.graph import FEATURES, named_tensors

    network = network or open_network(run)
    outputs = {**network.output, FEATURES: named_tensors(network)[FEATURES]}
    function = forward_function(keras.Model(network.input, outputs), run.image_size)
    return lambda images: {name: np.asarray(values) for name, values in function(images).items()}


def row_forward(run: Run, named: Forward | None = None) -> Forward:
    """Cached images to {"row": a row of the cache for each, float32 (n, classes + 2 + channels)}, in one pass.

    Args:
        named: as of `named_forward`; without, the network is opened for the first picture that can be read.
    """

    @functools.cache
    def outputs_of() -> Forward:
        return named or named_forward(run)

    def rows(images: np.ndarray) -> dict[str, np.ndarray]:
        values = {KNOWN: np.full((len(images), 2), np.nan), **outputs_of()(images)}
        parts = [np.asarray(values[name], FLOATS) for name in (*run.tasks, KNOWN, "features")]
        return {"row": np.concatenate(parts, axis=1)}

    return rows
