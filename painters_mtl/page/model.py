"""A trained network as the page asks it: one painting at a time; its labels, what speaks for them, its features.

    model = PageModel(open_run(Path("models/full")))
    look = model.look(ImageFile("monet.jpg"))       # raises `Unreadable`
    look.prediction.probabilities["painter"]        # float32 (classes,), calibrated
    model.heats(look, {"painter": 3})["painter"]    # float32 (h, w) in 0 to 1, or None

It may be asked from any thread. One pass through the network goes at a time, and a few pictures are decoded at once, so
that memory does not grow with the number of questions.
"""

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from painters_mtl.common import messages
from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.images.decode import cached_image, decode
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.predictor import Prediction, prediction_of
from painters_mtl.page.limits import SHOWN_SIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from painters_mtl.runs.run import Run

FEATURES = "features"  # `network.graph.FEATURES`, which cannot be imported before TensorFlow may be
_decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))


@dataclass(frozen=True)
class Look:
    """What the page keeps of a painting that it was given. It is small: the upload itself need not stay."""

    name: str
    width: int  # of the original, in pixels
    height: int
    repaired: str  # "", or what is wrong with a file that could be read in part
    prediction: Prediction
    cached: np.ndarray  # what the network saw, uint8 (side, side, 3), or of two views (2, side, side, 3)
    shown: bytes  # a JPEG, at most SHOWN_SIDE pixels long
    features: np.ndarray  # float32 (channels,)

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


class PageModel:
    """The network of a run, loaded by the first question or by `load`, and kept."""

    def __init__(self, run: "Run") -> None:
        self.run = run
        self._loading, self._computing = threading.Lock(), threading.Lock()
        self._network: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
        self._explain: Callable[..., Any] | None = None
        self._ask: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """The name of the run's folder, "paintings" of the model that comes along; the page shows no path."""
        return self.run.folder.resolve().name.lstrip("_")

    @property
    def ready(self) -> bool:
        """Whether a question is answered at once."""
        return self._network is not None and self._explain is not None and self._ask is not None

    def load(self) -> None:
        """Import TensorFlow, build the network and ask it once for everything, so that nobody waits for that later."""
        black = np.zeros((self.run.cache_side, self.run.cache_side, 3), np.uint8)
        cached = black if len(self.run.views) == 1 else np.stack([black] * len(self.run.views))
        self.forward(cached[None])
        self._covered(cached, {task: 0 for task in self.run.tasks}, self._heats(cached, {}))

    def look(self, file: ImageFile) -> Look:
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
        size = picture.width, picture.height
        return Look(file.name, *size, picture.repaired, prediction, cached, shown, outputs[FEATURES])

    def forward(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Cached images through the network, one batch at a time: its outputs, and "features" (n, channels)."""
        network = self._loaded_network()
        with self._computing:
            return network(images)

    def heats(self, look: Look, classes: Mapping[str, int]) -> dict[str, np.ndarray | None]:
        """What speaks for one class of each task: {task: float32 (h, w) in 0 to 1}; None where the head sees no part.

        Args:
            classes: {task: number of the class}; of other tasks it is the likeliest one.
        """
        from painters_mtl.network.gradcam import scaled

        explained = self._heats(look.cached, classes)
        heats: dict[str, np.ndarray | None] = {}
        for task, of_task in explained.items():
            sees = bool(of_task["sees"][0, 0]) or not of_task["sees"][0].any()
            heats[task] = scaled(of_task["map"])[0, 0] if sees else None
        return heats

    def stands_out(self, look: Look, task: str, number: int) -> bool:
        """Whether covering the bright cells of a map changes the answer more than covering others would."""
        classes = {task: number}
        return self._covered(look.cached, classes, self._heats(look.cached, classes))[task]

    def _covered(
        self, cached: np.ndarray, classes: Mapping[str, int], explained: Mapping[str, dict[str, np.ndarray]]
    ) -> dict[str, bool]:
        from painters_mtl.network.covering import stand_out

        ask = self._loaded_covering()
        with self._computing:
            return stand_out(ask, cached, classes, {task: explained[task]["map"][0] for task in classes})

    def _heats(self, cached: np.ndarray, classes: Mapping[str, int]) -> dict[str, dict[str, np.ndarray]]:
        explain = self._loaded_explainer()
        numbers = {task: np.full(1, classes.get(task, -1), np.int32) for task in self.run.tasks}  # -1: the likeliest
        with self._computing:
            outputs = explain(cached[None], numbers)
        return {task: {key: value.numpy() for key, value in outputs[task].items()} for task in self.run.tasks}

    def _loaded_network(self) -> "Callable[[np.ndarray], dict[str, np.ndarray]]":
        with self._loading, opening(f"the model {self.name}"):
            if self._network is None:
                self._network = _named_network(self.run)
            return self._network

    def _loaded_explainer(self) -> "Callable[..., Any]":
        with self._loading, opening(f"the model {self.name}"):
            if self._explain is None:
                from painters_mtl.common.lazy_imports import import_tensorflow

                import_tensorflow()
                from painters_mtl.inference.open_network import open_network
                from painters_mtl.network.gradcam import explainer

                self._explain = explainer(open_network(self.run), self.run.image_size, list(self.run.tasks))
            return self._explain

    def _loaded_covering(self) -> "Callable[..., Any]":
        with self._loading:
            if self._ask is None:
                from painters_mtl.inference.open_network import open_network
                from painters_mtl.network.covering import covering

                self._ask = covering(open_network(self.run), self.run.image_size, list(self.run.tasks))
            return self._ask


def _named_network(run: "Run") -> "Callable[[np.ndarray], dict[str, np.ndarray]]":
    """The network as a compiled function from cached images to all its outputs and its features."""
    from painters_mtl.common.lazy_imports import import_tensorflow

    import_tensorflow()
    import keras

    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.forward import forward_function
    from painters_mtl.network.graph import FEATURES as tensor_name
    from painters_mtl.network.graph import named_tensors

    model = open_network(run)
    outputs = {**model.output, FEATURES: named_tensors(model)[tensor_name]}
    function = forward_function(keras.Model(model.input, outputs), run.image_size)
    return lambda images: {name: values.numpy() for name, values in function(images).items()}


def _jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=88)
    return stream.getvalue()
