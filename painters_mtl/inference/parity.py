"""Does a network in another runtime give what it gives in Keras? Compared on real pictures before it is trusted."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.common.iteration import in_batches
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.inference.runtimes import Outputs, keras_forward, open_exported

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

TOLERANCE = 1e-3  # of a probability, in 32 bits
AGREEMENT = 0.99  # share of pictures whose likeliest class stays, in fewer bits
MIN_PICTURES = 20  # pictures without which a share of 99 % means nothing
COMPARED = 64  # pictures, at most


def compare_outputs(outputs: Mapping[str, np.ndarray], keras_outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far a runtime's outputs are from Keras's, for each output by name.

    Args:
        outputs, keras_outputs: float (n, classes) of the same pictures, by name.

    Returns {"paintings", "largest_difference": {output: float}, "agreement": {output: share of the pictures whose
    likeliest class is the same}}. Raises `UserError` if the outputs have other names or shapes.
    """
    shapes = {name: np.shape(values) for name, values in outputs.items()}
    keras_shapes = {name: np.shape(values) for name, values in keras_outputs.items()}
    if shapes != keras_shapes:
        raise UserError(
            f"the exported network has the outputs {shapes}, the one in Keras {keras_shapes}: export it again"
        )
    differences, agreement = {}, {}
    for name, in_keras in keras_outputs.items():
        largest = float(np.abs(outputs[name] - in_keras).max())
        # A value that is not a number must not pass as no difference.
        differences[name] = largest if np.isfinite(largest) else float("inf")
        agreement[name] = float(np.mean(outputs[name].argmax(1) == in_keras.argmax(1)))
    count = len(next(iter(keras_outputs.values())))
    return {"paintings": count, "largest_difference": differences, "agreement": agreement}


def parity_faults(comparison: Mapping[str, Any], exact: bool) -> str:
    """What speaks against trusting a network with this comparison (`compare_outputs`); "" if nothing does.

    Args:
        exact: it computes in 32 bits: no probability may differ by more than 1e-3. Else 99 % of the pictures must
            keep their likeliest class.
    """
    if exact:
        differences = comparison["largest_difference"]
        faults = [f"{name} differs by {value:.2g}" for name, value in differences.items() if value > TOLERANCE]
        return f"{', '.join(faults)} (at most {TOLERANCE:g} is allowed)" if faults else ""
    agreement = comparison["agreement"]
    faults = [f"{name} agrees on {value:.1%}" for name, value in agreement.items() if value < AGREEMENT]
    return f"{', '.join(faults)} of the paintings (at least {AGREEMENT:.0%} is asked)" if faults else ""


def outputs_in_batches(forward: "Forward", images: np.ndarray, size: int = 32) -> Outputs:
    """The outputs of `forward` for any number of cached images, `size` at once."""
    batches = [forward(images[batch]) for batch in in_batches(len(images), size)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def sample_images(run: "Run", files: "Sequence[ImageFile]", count: int = COMPARED) -> np.ndarray:
    """Cached images of `count` readable pictures spread evenly over the files: uint8, as the run's network takes them.

    Raises `UserError` if none can be read.
    """
    from painters_mtl.images.decode import cached_image

    first = evenly_spaced(np.arange(len(files)), count)
    others = np.setdiff1d(np.arange(len(files)), first)  # in the place of those that cannot be read
    images: list[np.ndarray] = []
    for file in (files[i] for i in (*first, *others)):
        if len(images) == count:
            break
        try:
            images.append(cached_image(file.read(), run.cache_side, run.views, str(file))[1])
        except Unreadable:
            continue
    if not images:
        raise UserError(f"none of the {len(files)} pictures to compare the runtimes on can be read")
    return np.stack(images)


def evenly_spaced(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of the rows, from the first to the last: a folder may be sorted by painter. All where there are fewer."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


# --------------------------------------------------------------------------------------------- an export


def compare_export(
    run: "Run", file_format: str, file: Path, images: np.ndarray, labels: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """What `comparison.json` of an export holds: its outputs against Keras's, calibrated by the run's temperatures.

    Args:
        file_format, file: as for `runtimes.open_exported`.
        images: cached images, uint8 (n, ...), to compare on.
        labels: int (n,) for each task, -1 for "no label": then the accuracy is compared too.
    """
    keras_outputs = outputs_in_batches(keras_forward(run), images)
    calibrated = {
        name: apply_temperature(values, run.temperatures[name]) if name in run.tasks else values
        for name, values in keras_outputs.items()
    }
    exported = outputs_in_batches(open_exported(file_format, file), images)
    one_by_one = outputs_in_batches(open_exported(file_format, file, batch_size=1), images[:8], 1)
    apart = max(float(np.abs(values - exported[name][: len(values)]).max()) for name, values in one_by_one.items())
    comparison = {"format": file_format, **compare_outputs(exported, calibrated), "one_at_a_time_differs_by": apart}
    if labels is not None:
        comparison["accuracy"] = accuracy_losses(run.tasks, labels, calibrated, exported)
    return comparison


def accuracy_losses(
    tasks: Iterable[str],
    labels: Mapping[str, np.ndarray],
    in_keras: Mapping[str, np.ndarray],
    exported: Mapping[str, np.ndarray],
) -> dict[str, dict[str, float]]:
    """`accuracy_loss` of each task that has a label, {task: ...}."""
    return {
        name: accuracy_loss(labels[name], in_keras[name], exported[name]) for name in tasks if (labels[name] >= 0).any()
    }


def accuracy_loss(labels: np.ndarray, in_keras: np.ndarray, exported: np.ndarray) -> dict[str, float]:
    """Share of right answers of Keras and of an exported network, and what is lost.

    Args:
        labels: int (n,), -1 for "no label".
        in_keras, exported: probabilities, float (n, classes).
    """
    labelled = labels >= 0
    before, after = (float((p[labelled].argmax(1) == labels[labelled]).mean()) for p in (in_keras, exported))
    return {"paintings": int(labelled.sum()), "keras": before, "exported": after, "loss": before - after}


def export_faults(comparison: Mapping[str, Any], max_loss: float) -> str:
    """Why an export with this comparison (`compare_export`) must not be used; "" if it may.

    Args:
        max_loss: the share of right answers that a task may lose, where the accuracy was compared.
    """
    if "accuracy" not in comparison:
        if comparison["one_at_a_time_differs_by"] > TOLERANCE:
            return f"one picture alone gives probabilities {comparison['one_at_a_time_differs_by']:.2g} apart"
        return parity_faults(comparison, exact=True)
    accuracy = comparison["accuracy"]
    lost = [f"{name} {value['loss']:.1%}" for name, value in accuracy.items() if not value["loss"] <= max_loss]
    return f"8 bits cost too much accuracy: {', '.join(lost)} (--max-loss {max_loss:g} is allowed)" if lost else ""
