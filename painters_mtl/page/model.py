"""A trained network as the page asks it: one painting at a time; its labels, what speaks for them, its features.

    model = PageModel(open_run(Path("models/full")))
    painting = model.look(ImageFile("monet.jpg"))       # raises `Unreadable`
    painting.prediction.probabilities["painter"]        # float32 (classes,), calibrated
    model.heats(painting, {"painter": 3})["painter"]    # float32 (h, w) in 0 to 1, or None

Labels come from a runtime that opens the run without TensorFlow, where there is one: a package brings LiteRT's, an
earlier `predict` made others. Maps and features need TensorFlow, which takes seconds to load; labels do not wait.

It may be asked from any thread. One pass through a network goes at a time, and a few pictures are decoded at once, so
that memory does not grow with the number of questions.
"""

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from PIL import Image

from painters_mtl.common import messages
from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.images.decode import cached_image, decode
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.embeddings import named_forward
from painters_mtl.inference.predictor import Prediction, prediction_of
from painters_mtl.inference.runtime_choice import open_runtime, ready_without_tensorflow
from painters_mtl.page.limits import SHOWN_SIDE
from painters_mtl.runs.model_choice import PAINTINGS, bundled_model

if TYPE_CHECKING:
    import keras

    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

FEATURES = "features"  # `network.graph.FEATURES`, which cannot be imported before TensorFlow may be
_decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))
T = TypeVar("T")


@dataclass(frozen=True)
class LabelledPainting:
    """What the page keeps of a painting that it was given. It is small: the upload itself need not stay."""

    name: str
    width: int  # of the original, in pixels
    height: int
    repaired: str  # "", or what is wrong with a file that could be read in part
    prediction: Prediction
    cached: np.ndarray  # what the network saw, uint8 (side, side, 3), or of two views (2, side, side, 3)
    shown: bytes  # a JPEG, at most SHOWN_SIDE pixels long

    def pixels(self) -> np.ndarray:
        """The painting as the page shows it: uint8 (h, w, 3)."""
        return np.asarray(Image.open(io.BytesIO(self.shown)).convert("RGB"))


@contextlib.contextmanager
def opening(what: str) -> Iterator[None]:
    """Say on the page only that something cannot be opened, for why it cannot names paths: that is said where it runs.

    Raises `UserError`.
    """
    try:
        yield
    except (UserError, OSError) as error:
        messages.warn(f"error: {error}")
        raise UserError(f"{what} cannot be opened: the terminal in which the page runs says why") from error


class _Once(Generic[T]):
    """What is made by the first who asks for it, and kept; others wait meanwhile. A failure is tried again."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: list[T] = []

    @property
    def made(self) -> bool:
        return bool(self._made)

    def __call__(self) -> T:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


def shown_name(folder: Path) -> str:
    """The name of a run's folder, "paintings" of the bundled model; the page shows no path."""
    folder, bundled = folder.resolve(), bundled_model()
    return PAINTINGS.name if bundled is not None and folder == bundled.resolve() else folder.name


class PageModel:
    """The network of a run, opened by the first question or by `load`, and kept: what several functions need, once."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self._labelling, self._computing = threading.Lock(), threading.Lock()
        self._network = _Once(self._open_network)
        self._named: _Once[Forward] = _Once(lambda: named_forward(run, self._network()))
        self._labels = _Once(self._open_labels)
        self._explain = _Once(self._open_explainer)
        self._ask = _Once(self._open_covering)
        self._loaded = threading.Event()

    @property
    def name(self) -> str:
        """How the page calls the model."""
        return shown_name(self.run.folder)

    @property
    def explains_at_once(self) -> bool:
        """Whether maps are there without waiting for TensorFlow to be loaded."""
        return self._loaded.is_set()

    def load(self) -> None:
        """Open the network for labels, then import TensorFlow and ask once for everything else.

        So nobody waits for that later. Raises `UserError` where the network cannot be opened.
        """
        black = np.zeros((self.run.cache_side, self.run.cache_side, 3), np.uint8)
        cached = black if len(self.run.views) == 1 else np.stack([black] * len(self.run.views))
        self.forward(cached[None])
        self._covered(cached, {task: 0 for task in self.run.tasks}, self._heats(cached, {}))
        self._loaded.set()

    def look(self, file: ImageFile) -> LabelledPainting:
        """Read a painting and label it. Raises `Unreadable`, whose path is the file's name."""
        with _decoding:
            try:
                data = file.read()
                picture, cached = cached_image(data, self.run.cache_side, self.run.views)
                shown = _jpeg(decode(data, longest=SHOWN_SIDE).pixels)
            except Unreadable as error:
                raise Unreadable(error.reason, error.detail, file.name) from error
        outputs = {name: values[0] for name, values in self.forward(cached[None]).items()}
        prediction = prediction_of(self.run, ImageFile(file.name), outputs)
        return LabelledPainting(file.name, picture.width, picture.height, picture.repaired, prediction, cached, shown)

    def forward(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """Cached images to the network's probabilities, one batch at a time."""
        labels = self._labels()
        with self._labelling:
            return labels(images)

    def named(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        """Cached images to all outputs and "features" (n, channels), one batch at a time; waits for TensorFlow."""
        with opening(f"the model {self.name}"):
            named = self._named()
        with self._computing:
            return named(images)

    def features(self, painting: LabelledPainting) -> np.ndarray:
        """What works of a collection are compared by: float32 (channels,)."""
        return self.named(painting.cached[None])[FEATURES][0]

    def heats(self, painting: LabelledPainting, classes: Mapping[str, int]) -> dict[str, np.ndarray | None]:
        """What speaks for one class of each task: {task: float32 (h, w) in 0 to 1}; None where the head sees no part.

        Args:
            classes: {task: number of the class}; of other tasks it is the likeliest one.
        """
        explained = self._heats(painting.cached, classes)
        from painters_mtl.evaluation.heatmaps import normalized

        heats: dict[str, np.ndarray | None] = {}
        for task, of_task in explained.items():
            sees = bool(of_task["sees"][0, 0]) or not of_task["sees"][0].any()
            heats[task] = normalized(of_task["map"])[0, 0] if sees else None
        return heats

    def stands_out(self, painting: LabelledPainting, task: str, number: int) -> bool:
        """Whether covering the bright cells of a map changes the answer more than covering others would."""
        classes = {task: number}
        return self._covered(painting.cached, classes, self._heats(painting.cached, classes))[task]

    def _covered(
        self, cached: np.ndarray, classes: Mapping[str, int], explained: Mapping[str, dict[str, np.ndarray]]
    ) -> dict[str, bool]:
        ask = self._ask()
        from painters_mtl.network.covering import maps_exceed_controls

        with self._computing:
            return maps_exceed_controls(ask, cached, classes, {task: explained[task]["map"][0] for task in classes})

    def _heats(self, cached: np.ndarray, classes: Mapping[str, int]) -> dict[str, dict[str, np.ndarray]]:
        with opening(f"the model {self.name}"):
            explain = self._explain()
        numbers = {task: np.full(1, classes.get(task, -1), np.int32) for task in self.run.tasks}  # -1: the likeliest
        with self._computing:
            outputs = explain(cached[None], numbers)
        return {task: {key: value.numpy() for key, value in outputs[task].items()} for task in self.run.tasks}

    # -------------------------------------------------------------------------------------------- opened once

    def _open_labels(self) -> "Forward":
        if runtime := ready_without_tensorflow(self.run):
            try:
                return open_runtime(self.run, runtime, batch_size=1)
            except UserError as error:  # damaged, or not what Keras says: then Keras itself
                messages.warn(f"note: {error}")
        return self.named

    def _open_network(self) -> "keras.Model":
        from painters_mtl.common.lazy_imports import import_tensorflow

        import_tensorflow()
        from painters_mtl.inference.open_network import open_network

        return open_network(self.run)

    def _open_explainer(self) -> Callable[..., Any]:
        network = self._network()
        from painters_mtl.network.gradcam import explainer

        return explainer(network, self.run.image_size, list(self.run.tasks))

    def _open_covering(self) -> Callable[..., Any]:
        network = self._network()
        from painters_mtl.network.covering import masked_predictor

        return masked_predictor(network, self.run.image_size, list(self.run.tasks))


def _jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88)
    return stream.getvalue()
