"""Labels for pictures: each through a trained network, with calibrated probabilities and "unknown" where it fits none.

    run = open_run(Path("models/full"))
    for prediction in label(run, find_images("paintings/")):
        prediction.probabilities["painter"]      # float32 (classes,)

The verb and the workers of a Ray cluster both stand on `prediction_rows`: the same options give the same rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.data.tasks import UNKNOWN, known_output
from painters_mtl.evaluation.balance import balance
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.images.files import ImageFile
from painters_mtl.images.stream import stream_images
from painters_mtl.inference.runtime_choice import open_runtime
from painters_mtl.runs.training_data import training_counts

if TYPE_CHECKING:
    from painters_mtl.images.decode import Picture
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

CROP = 7 / 8  # side of a crop of tta="crops", as a share of the picture's


@dataclass(frozen=True)
class PredictOptions:
    """How pictures are labelled, and what of it is kept. Ray sends it to its workers, pickled."""

    runtime: str = "keras"  # one of `runtime_choice.RUNTIMES`
    batch_size: int = 32  # pictures that go through the network at once
    threads: int = 0  # pictures that are decoded at once; 0: as many as there are cores
    tta: str = "none"  # test-time augmentation: "none", "flip" or "crops", see `with_augmentations`
    compiled: bool = True  # False: Keras does not compile the network; sooner done with a few pictures
    top_k: int = 1  # classes in a row for each task, the likeliest first
    unknown_tasks: tuple[str, ...] = ("painter",)  # tasks that may be answered "unknown"
    balanced: float = 0.0  # strength of `evaluation.balance`: above 0 rare classes are named more often
    thumbnails: bool = False  # rows hold a thumbnail of the picture too


@dataclass(frozen=True)
class Prediction:
    """What the network makes of one picture, or why the picture could not be read."""

    file: ImageFile
    probabilities: dict[str, np.ndarray] | None  # {task: float32 (classes,)}, calibrated
    error: str = ""
    known_scores: dict[str, float] = field(default_factory=dict)  # {task: score, 0 to 1, that it is any of the classes}
    picture: "Picture | None" = None  # the cached image that the network saw

    def unknown(self, run: "Run", task: str) -> bool:
        """Whether its score for a task is below the run's threshold."""
        return run.unknown(task, self.known_scores[task])


def label(run: "Run", files: Iterable[ImageFile], options: PredictOptions = PredictOptions()) -> Iterator[Prediction]:
    """The prediction of each picture, in order, in constant memory: decoding overlaps with the network.

    A runtime other than Keras that is used for the first time is compared with it on some of `files`, which must then
    be a list.
    """
    sample = files if isinstance(files, Sequence) else ()
    yield from predict_with(run, open_forward(run, options, sample), files, options)


def open_forward(run: "Run", options: PredictOptions, sample: Sequence[ImageFile] = ()) -> "Forward":
    """The run's network as a function from cached images to outputs, in the runtime and with the augmentations asked.

    Args:
        sample: pictures to compare a runtime with Keras on, if that is still to be done.
    """
    forward = open_runtime(run, options.runtime, options.batch_size, sample, options.compiled)
    return with_augmentations(forward, options.tta)


def predict_with(
    run: "Run", forward: "Forward", files: Iterable[ImageFile], options: PredictOptions = PredictOptions()
) -> Iterator[Prediction]:
    """As `label`, with a network that is opened already: see `open_forward`."""
    counts = training_counts(run) if options.balanced else {}
    stream = stream_images(files, forward, run.cache_side, run.views, options.batch_size, options.threads)
    for seen in stream:
        if seen.outputs is None:
            yield Prediction(seen.file, None, seen.error)
        else:
            prediction = prediction_of(run, seen.file, seen.outputs, seen.picture)
            yield balanced(prediction, counts, options.balanced) if counts else prediction


def prediction_of(
    run: "Run", file: ImageFile, outputs: Mapping[str, np.ndarray], picture: "Picture | None" = None
) -> Prediction:
    """The prediction that the network's outputs for one picture, {name: (classes,)}, stand for: calibrated, scored."""
    probabilities, scores = calibrated(run, {name: values[None] for name, values in outputs.items()})
    one = {name: values[0] for name, values in probabilities.items()}
    return Prediction(file, one, "", {name: float(values[0]) for name, values in scores.items()}, picture)


def calibrated(run: "Run", outputs: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Calibrated probabilities, (n, classes), and scores of known classes, (n,), of each task.

    Args:
        outputs: of the network, {name: (n, classes)}.
    """
    probabilities = {name: apply_temperature(outputs[name], run.temperatures[name]) for name in run.tasks}
    scores = {name: known_score(probabilities[name], outputs.get(known_output(name))) for name in run.tasks}
    return probabilities, scores


def balanced(prediction: Prediction, counts: Mapping[str, Sequence[int]], strength: float) -> Prediction:
    """The prediction with balanced probabilities, see `evaluation.balance`; its known scores stay as they are.

    A rare class does not make a painting more unknown.

    Args:
        prediction: of a picture that could be read.
        counts: as of `training_counts`.
    """
    assert prediction.probabilities is not None
    even = {name: balance(values, counts[name], strength) for name, values in prediction.probabilities.items()}
    return replace(prediction, probabilities=even)


# ------------------------------------------------------------------------------------------------- rows of a table


def prediction_rows(
    run: "Run", forward: "Forward", files: Iterable[ImageFile], options: PredictOptions
) -> Iterator[dict[str, Any]]:
    """The row of each picture, in order: what `prediction_row` gives, and with `options.thumbnails` a "thumbnail"."""
    for prediction in predict_with(run, forward, files, options):
        cells = prediction_row(run, prediction, options.top_k, options.unknown_tasks)
        if options.thumbnails and prediction.picture:
            from painters_mtl.inference.result_files import thumbnail

            cells["thumbnail"] = thumbnail(prediction.picture)
        yield cells


def prediction_columns(run: "Run", top_k: int) -> list[str]:
    """The columns of the table: path, for each task its class and confidence, doubtful, read_in_part and error."""
    names = ["path"]
    for k in range(1, top_k + 1):
        for task in run.tasks.values():
            if k <= len(task.classes):
                name = task.name if k == 1 else f"{task.name}_{k}"
                names += [name, f"{name}_confidence"]
                names += ["painter_known"] if name == "painter" else []
    return [*names, "doubtful", "read_in_part", "error"]


def prediction_row(
    run: "Run", prediction: Prediction, top_k: int = 1, unknown_tasks: Iterable[str] = ("painter",)
) -> dict[str, Any]:
    """The cells of one picture by column; of a picture that could not be read only path and error.

    "doubtful" is a list: the tasks whose score is below the threshold. One cell is no column of a table, but the
    gallery shows it: "likeliest", the class that stood where the answer is "unknown".

    Args:
        unknown_tasks: tasks whose answer is "unknown" below the run's threshold.
    """
    cells: dict[str, Any] = {"path": str(prediction.file), "error": prediction.error}
    if prediction.probabilities is None:
        return cells
    for task in run.tasks.values():
        probabilities = prediction.probabilities[task.name]
        for k, number in enumerate(np.argsort(-probabilities, kind="stable")[:top_k], start=1):
            name = task.name if k == 1 else f"{task.name}_{k}"
            cells[name], cells[f"{name}_confidence"] = task.classes[number], round(float(probabilities[number]), 4)
        if task.name == "painter":
            cells["painter_known"] = round(prediction.known_scores["painter"], 4)
        if task.name in unknown_tasks and prediction.unknown(run, task.name):
            cells.setdefault("likeliest", {})[task.name] = cells[task.name]
            cells[task.name] = UNKNOWN
    if prediction.picture is not None and prediction.picture.repaired:
        cells["read_in_part"] = prediction.picture.repaired
    cells["doubtful"] = [name for name in run.tasks if prediction.unknown(run, name)]
    return cells


# ------------------------------------------------------------------------------------------------- augmentations


def with_augmentations(forward: "Forward", tta: str) -> "Forward":
    """The mean of a network's outputs over several versions of each picture (test-time augmentation).

    Args:
        tta: "none": `forward` itself; "flip": the picture and its mirror image; "crops": also four corners and the
            middle, each mirrored too (12 versions).
    """
    if tta == "none":
        return forward
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)] if tta == "crops" else []

    def mean(images: np.ndarray) -> dict[str, np.ndarray]:
        crops = [images, *(_crops(images, *corner) for corner in corners)]
        outputs = [forward(np.ascontiguousarray(v)) for crop in crops for v in (crop, crop[..., ::-1, :])]
        return {name: np.mean([np.asarray(each[name]) for each in outputs], axis=0) for name in outputs[0]}

    return mean


def _crops(images: np.ndarray, down: float, right: float) -> np.ndarray:
    """A crop of each image, resized to the image's own side.

    Args:
        images: uint8 (..., side, side, 3).
        down, right: where it lies, from 0 (at the top, at the left) to 1.
    """
    from PIL import Image

    height, width = images.shape[-3:-1]
    left, top = right * (1 - CROP) * width, down * (1 - CROP) * height
    box = (left, top, left + CROP * width, top + CROP * height)
    flat = images.reshape(-1, height, width, 3)
    resized = [Image.fromarray(each).resize((width, height), Image.Resampling.BILINEAR, box) for each in flat]
    return np.stack([np.asarray(each) for each in resized]).reshape(images.shape)
