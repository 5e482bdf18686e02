"""Figures of a comparison: numbers of `studies.comparison` in, matplotlib figures out; see `figures`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.figure_style import figure_style, shortened
from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.intervals import Interval, verdict
from painters_mtl.reports.figures import BLUE, GREY, INK, PANEL, RIGHT, WRONG, confusion_figure
from painters_mtl.studies.comparison import SeedResults, task_predictions
from painters_mtl.studies.summary import STATISTIC_LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORANGE, PALE = "#d98032", "#e4e4e4"
COLOURS = {"better": RIGHT, "worse": WRONG}  # of a difference with another verdict: UNDECIDED
UNDECIDED = "#666666"
MOST_F1 = 20  # classes that gain, and that lose, in a figure of F1 by class


def differences_figure(results: Mapping[str, Mapping[str, Any]]) -> "Figure":
    """Differences of accuracy and macro-F1, shared less alone, with their 95 % intervals.

    Args:
        results: of `comparison.compare`, {strategy: result}: a group of lines for each; the name of a single one may be
            empty.
    """
    lines = [
        (f"{task}, {strategy}" if strategy else task, values["difference"], result["seeds"])
        for strategy, result in results.items()
        for task, values in result["tasks"].items()
    ]
    lines += [
        (f"mean relative gain, {strategy}" if strategy else "mean relative gain", result["gain"], None)
        for strategy, result in results.items()
    ]
    with figure_style() as Figure:
        figure = Figure(figsize=(PANEL, 0.7 * len(lines) + 1.2), layout="constrained")
        axis = figure.subplots()
        for y, (name, triples, seeds) in enumerate(lines):
            axis.text(0, y - 0.4, name, transform=axis.get_yaxis_transform(), fontsize=9, va="center")
            for statistic, place, marker, strength in (("accuracy", y, "o", 1.0), ("macro_f1", y + 0.26, "s", 0.55)):
                mean, low, high = (value if seeds is None else 100 * value for value in triples[statistic])
                colour = BLUE  # of a gain, in percent
                if seeds is not None:
                    colour = COLOURS.get(verdict(Interval(mean, low, high), seeds), UNDECIDED)
                axis.plot([low, high], [place, place], color=colour, alpha=strength, linewidth=2)
                axis.plot(mean, place, marker, color=colour, alpha=strength, markersize=5)
                axis.annotate(
                    f"{mean:+.1f}", (mean, place), (0, 3), textcoords="offset points", ha="center", fontsize=8
                )
        for marker, (statistic, label) in zip("os", STATISTIC_LABELS.items(), strict=True):
            strength = 1.0 if statistic == "accuracy" else 0.55
            axis.plot([], [], marker, color=INK, alpha=strength, markersize=5, label=label)
        figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper right")
        axis.axvline(0, color=INK, linewidth=0.8, zorder=0)
        axis.set_yticks([])
        axis.set_ylim(len(lines) - 0.4, -0.65)
        axis.set_xlabel("lower  ←  one network for all, in points (gain: in %)  →  higher", fontsize=8)
        axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def validation_figure(name: str, shared: SeedResults, alone: SeedResults) -> "Figure":
    """Validation accuracy of one task by epoch, a line for each training."""
    with figure_style() as Figure:
        figure = Figure(figsize=(PANEL, 3.2), layout="constrained")
        axis = figure.subplots()
        for side, colour, label in ((alone, GREY, "alone"), (shared, BLUE, "shared")):
            for k, result in enumerate(result for folds in side for result in folds):
                values = 100 * result.history[f"val_{name}_accuracy"]
                axis.plot(result.history["epoch"], values, color=colour, alpha=0.7, label=label if k == 0 else None)
        axis.set(title=f"{name}: validation accuracy (%)", xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    return figure


def agreement_figure(agreements: Mapping[str, Mapping[str, float]]) -> "Figure":
    """Which side is right on the test paintings, a bar for each task: both, one of them, or neither."""
    colours = {"both": GREY, "only_one": BLUE, "only_other": ORANGE, "neither": PALE}
    labels = ("both right", "only the shared network", "only the one alone", "neither")
    with figure_style() as Figure:
        figure = Figure(figsize=(PANEL, 0.5 * len(agreements) + 1.1))
        axis = figure.subplots()
        for y, shares in enumerate(agreements.values()):
            left = 0.0
            for (kind, colour), label in zip(colours.items(), labels, strict=True):
                width = 100 * shares[kind]
                axis.barh(y, width, left=left, color=colour, label=label if y == 0 else None)
                if width >= 2:  # else there is no room for the number
                    axis.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=8)
                left += width
        axis.set_yticks(range(len(agreements)), list(agreements))
        axis.set(xlim=(0, 100), xlabel="test paintings with a label (%)")
        axis.invert_yaxis()
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def f1_figure(f1: Mapping[str, Sequence[float | None]], classes: Sequence[str]) -> "Figure":
    """F1 of each class, alone and shared, joined by a line; the classes in the order of their gain.

    Of more than 40 classes it shows the 20 that lose most and the 20 that gain most.

    Args:
        f1: {"alone", "shared"}: of each class, None where it has none.
    """
    alone, shared = (np.array([np.nan if v is None else v for v in f1[side]]) for side in ("alone", "shared"))
    order = np.argsort(np.nan_to_num(shared - alone), kind="stable")
    if len(order) > 2 * MOST_F1:
        order = np.concatenate([order[:MOST_F1], order[-MOST_F1:]])
    with figure_style() as Figure:
        figure = Figure(figsize=(PANEL, 0.26 * len(order) + 1.2), layout="constrained")
        axis = figure.subplots()
        for y, k in enumerate(order):
            axis.plot([100 * alone[k], 100 * shared[k]], [y, y], color="#cccccc", zorder=1)
        axis.scatter(100 * alone[order], range(len(order)), color=GREY, label="alone", s=22)
        axis.scatter(100 * shared[order], range(len(order)), color=BLUE, label="shared", s=22)
        axis.set_yticks(range(len(order)), [shortened(classes[k]) for k in order], fontsize=8)
        axis.set_xlabel("F1 (%), mean over the seeds")
        if len(order) < len(classes):
            axis.set_title(f"the {MOST_F1} that gain and the {MOST_F1} that lose most, of {len(classes):,}", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper right")
    return figure


def side_confusion_figure(data: Dataset, name: str, seeds: SeedResults) -> "Figure":
    """The confusion matrix of one side in one task, the predictions of all seeds together."""
    side = task_predictions(data, name, seeds)
    return confusion_figure(np.tile(side.labels, len(side.predicted)), side.predicted.ravel(), data.tasks[name].classes)
