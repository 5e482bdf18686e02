"""Figures of one run: arrays in, matplotlib figures out, of a bounded size however many classes there are.

Names are drawn as they stand, never as formulas (`figure_style`), and shortened where they are long. The figures are
made without pyplot: nothing is kept of them when the last name for one goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from painters_mtl.common.errors import Unreadable
from painters_mtl.common.figure_style import figure_style, shortened
from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation import metrics
from painters_mtl.evaluation.calibration import apply_temperature, reliability
from painters_mtl.images import files as images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from painters_mtl.training.run_result import RunResult

BLUE, GREY, LIGHT, INK = "#1f5fa8", "#9a9a9a", "#bbbbbb", "#222222"
RIGHT, WRONG = "#1a7f37", "#c0262d"
COLOURS = {"right": RIGHT, "wrong": WRONG, "no-label": "#767676"}  # of a label below a painting
MOST_CLASSES = 30  # on the axes of a confusion matrix
SHOWN = 24  # test paintings on the contact sheet
COLUMNS = 6
PANEL = 4.8  # inches: a figure that is read on a telephone too is no wider


def training_figures(history: pd.DataFrame) -> dict[str, "Figure"]:
    """{"loss": training losses, "accuracy": validation accuracy of each task}, by epoch.

    Args:
        history: as in history.csv.
    """
    with figure_style() as Figure:
        figures = {name: Figure(figsize=(PANEL, 3.4), layout="constrained") for name in ("loss", "accuracy")}
        loss, accuracy = (figure.subplots() for figure in figures.values())
        for column in [str(name) for name in history if str(name).endswith("loss")]:
            label = "all weighted" if column == "loss" else column.removesuffix("_loss").replace("_", " ")
            loss.plot(history["epoch"], history[column], label=label, marker="o", markersize=3)
        for column in [str(name) for name in history if str(name).startswith("val_")]:
            label = "mean" if column == "val_score" else column.removeprefix("val_").removesuffix("_accuracy")
            style = "--" if column == "val_score" else "-"
            accuracy.plot(history["epoch"], 100 * history[column], style, label=label, marker="o", markersize=3)
        loss.set(title="Training loss")
        accuracy.set(title="Validation accuracy (%)")
        for axis in (loss, accuracy):
            _by_epoch(axis)
    return figures


def conflict_figure(history: pd.DataFrame, tasks: Sequence[str]) -> "Figure":
    """Cosines between the tasks' gradients on the shared weights, by epoch; below 0 the tasks pull apart.

    Args:
        history: as in history.csv, with columns "cosine_TASK_OTHER".
    """
    with figure_style() as Figure:
        figure = Figure(figsize=(PANEL, 3.2), layout="constrained")
        axis = figure.subplots()
        for one in tasks:
            for other in tasks:
                if (column := f"cosine_{one}_{other}") in history:
                    axis.plot(history["epoch"], history[column], marker="o", markersize=3, label=f"{one} and {other}")
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.set(title="Cosine of the tasks' gradients")
        _by_epoch(axis)
    return figure


def has_conflicts(history: pd.DataFrame) -> bool:
    """Whether a history holds the cosines of `conflict_figure` (--monitor-conflict)."""
    return any(str(column).startswith("cosine_") for column in history)


def _by_epoch(axis: "Axes") -> None:
    axis.set_xlabel("epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axis.spines[["top", "right"]].set_visible(False)
    if axis.lines:
        axis.legend(frameon=False, fontsize=8)


def reliability_figures(data: Dataset, result: "RunResult") -> dict[str, "Figure"]:
    """{"reliability_TASK": accuracy by confidence on the test paintings, before and after temperature scaling}."""
    figures = {}
    for name, after in result.test_probabilities.items():
        labels = data.labels[name][result.test_rows]
        before = apply_temperature(after, 1 / result.metrics["calibration"][name]["temperature"])
        with figure_style() as Figure:
            figure = figures[f"reliability_{name}"] = Figure(figsize=(3.4, 3.3), layout="constrained")
            axis = figure.subplots()
            axis.plot([0, 100], [0, 100], color=LIGHT, linewidth=0.8)
            for probabilities, label, colour in ((before, "before", GREY), (after, "after", BLUE)):
                confidence, accuracy, counts = reliability(labels, probabilities)
                axis.plot(100 * confidence, 100 * accuracy, color=colour, linewidth=1)
                axis.scatter(100 * confidence, 100 * accuracy, np.sqrt(counts) * 4, color=colour, label=label)
            axis.set(title=name, xlabel="confidence (%)", ylabel="right (%)", xlim=(0, 102), ylim=(0, 102))
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8, loc="upper left")
    return figures


def confusion_figure(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], title: str = "") -> "Figure":
    """A confusion matrix: shares of each true class in colour, numbers of paintings as text.

    Of more than 30 classes it shows the 30 that are confused most often, and all others as one: the figure does not
    grow with the classes, and neither does the memory that it takes.

    Args:
        labels: int (n,), -1 for "no label": such a painting is left out.
        predicted: int (n,), the predicted classes.
        classes: their names.
    """
    shown = _most_confused(labels, predicted, len(classes))
    names = [shortened(classes[k]) for k in shown]
    if rest := len(classes) - len(shown):
        names.append(f"the other {rest:,} classes")
    place = np.full(len(classes), len(shown))
    place[shown] = np.arange(len(shown))
    counts = metrics.confusion(np.where(labels >= 0, place[labels], -1), place[predicted], len(names))
    side = max(3.5, 0.3 * len(names) + 1.7)
    with figure_style() as Figure:
        figure = Figure(figsize=(side, side))
        axis = figure.subplots()
        axis.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel="predicted", ylabel="true", title=title)
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if counts[i, j] > counts[i].sum() / 2 else "#333333"
            axis.text(j, i, f"{counts[i, j]:,}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def _most_confused(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The classes on the axes of a confusion matrix, ascending: all, or those in most of the wrong predictions."""
    if classes <= MOST_CLASSES:
        return np.arange(classes)
    wrong = (labels >= 0) & (labels != predicted)
    mistakes = np.bincount(labels[wrong], minlength=classes) + np.bincount(predicted[wrong], minlength=classes)
    return np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])


@dataclass(frozen=True)
class Example:
    """A test painting, and what the network says of it."""

    pixels: np.ndarray
    """uint8 (h, w, 3), at most 220 pixels on its longer side."""
    lines: list[tuple[str, str]]
    """For each task the predicted label in words, and its kind: "right", "wrong", or "no-label" to compare with."""


def examples(data: Dataset, result: "RunResult") -> list[Example]:
    """Some test paintings, drawn at random, with their predicted labels."""
    n = min(SHOWN, len(result.test_rows))
    chosen = np.sort(np.random.default_rng(0).choice(len(result.test_rows), n, replace=False))
    return [Example(thumbnail(data, result.test_rows[k]), _predicted_labels(data, result, k)) for k in chosen]


def contact_sheet(shown: Sequence[Example]) -> "Figure":
    """Test paintings, each with its predicted labels below."""
    lines, tasks = -(-len(shown) // COLUMNS), max((len(one.lines) for one in shown), default=0)
    with figure_style() as Figure:
        figure = Figure(figsize=(COLUMNS * 2.1, lines * (2.3 + 0.15 * tasks)))
        axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, one in zip(axes, shown, strict=False):
            axis.imshow(one.pixels)
            axis.set_anchor("S")
            for k, (text, kind) in enumerate(one.lines):
                below = (0, -3 - 7.5 * k)
                axis.annotate(
                    shortened(text, 36), (0, 0), below, "axes fraction", "offset points",
                    fontsize=6, color=COLOURS[kind], va="top",
                )  # fmt: skip
        figure.subplots_adjust(wspace=0.15, hspace=0.05 + 0.1 * tasks)
    return figure


def _predicted_labels(data: Dataset, result: "RunResult", position: int) -> list[tuple[str, str]]:
    """The line of each task below a test painting, and its kind, as in `Example`."""
    lines = []
    for name, probabilities in result.test_probabilities.items():
        classes, label = data.tasks[name].classes, data.labels[name][result.test_rows[position]]
        predicted = int(probabilities[position].argmax())
        text, kind = f"{classes[predicted]} {100 * probabilities[position][predicted]:.0f} %", "right"
        if label < 0:
            kind = "no-label"
        elif label != predicted:
            text, kind = f"{text} ({classes[label]})", "wrong"
        lines.append((text, kind))
    return lines


def thumbnail(data: Dataset, row: int) -> np.ndarray:
    """The painting, uint8 (h, w, 3), at most 220 pixels on its longer side."""
    file = images.ImageFile(data.table["file"][row], data.table["member"][row])
    try:
        return images.load_image(file, longest=220).pixels
    except Unreadable:  # it could be read when the cached image was made
        cached = data.images.pixels[data.image_rows[row]]
        return cached if cached.ndim == 3 else cached[0]


def figures_of_run(data: Dataset, result: "RunResult") -> dict[str, Any]:
    """The figures of numbers of a run but that of its comparison, {name: figure}; the names are those of the files."""
    figures = training_figures(result.history)
    for name, probabilities in result.test_probabilities.items():
        labels, predicted = data.labels[name][result.test_rows], probabilities.argmax(axis=1)
        figures[f"confusion_{name}"] = confusion_figure(labels, predicted, data.tasks[name].classes)
    figures |= reliability_figures(data, result)
    if has_conflicts(result.history):
        figures["conflict"] = conflict_figure(result.history, list(result.test_probabilities))
    return figures
