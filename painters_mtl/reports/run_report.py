"""The report of a run: figures, and one HTML file that holds everything and can be sent around."""

import base64
import datetime
import io
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib

if "matplotlib.pyplot" not in sys.modules:  # else a notebook has chosen where its figures go
    matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from painters_mtl.common.errors import Unreadable
from painters_mtl.common.files import atomic_write, write_text
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split import PARTS
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.evaluation import metrics
from painters_mtl.evaluation.calibration import apply_temperature, reliability
from painters_mtl.images import files as images
from painters_mtl.runs import run
from painters_mtl.studies.comparison import COSTS, p_value, verdicts
from painters_mtl.training.defaults import EPOCHS_OF_HEADS, SAMPLES, default_epochs
from painters_mtl.training.settings import TrainSettings

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult

SHOWN = 24  # test paintings on the contact sheet


def write_report(
    folder: Path,
    data: Dataset,
    settings: TrainSettings,
    outcome: "RunResult",
    result: Mapping[str, Any] | None = None,
) -> None:
    """Write `figures/*.png` and `report.html` of a run; `result` is from `comparison.compare`."""
    figures = {"paintings": contact_sheet(data, outcome), "curves": curves(outcome.history)}
    tasks = {name: data.tasks[name] for name in outcome.test_probabilities}
    for name, task in tasks.items():
        predicted = outcome.test_probabilities[name].argmax(axis=1)
        counts = metrics.confusion(data.labels[name][outcome.test_rows], predicted, len(task.classes))
        figures[f"confusion_{name}"] = confusion_figure(counts, task)
    figures["reliability"] = reliability_figure(data, outcome)
    if any(str(c).startswith("cosine_") for c in outcome.history):
        figures["conflict"] = conflict(outcome.history)
    if result is not None:
        figures["differences"] = forest({"": result})
    html = page("report.html.jinja").render(
        pct=percent,
        p_value=p_value,
        result=result,
        costs=COSTS,
        verdicts=verdicts(result) if result is not None else [],
        conditions=conditions(settings, outcome.history, data.demo),
        name=folder.name,
        demo=data.demo,
        interrupted=outcome.interrupted,
        summary=_summary(settings, outcome),
        calibration=outcome.metrics["calibration"],
        unknown=outcome.metrics.get("unknown"),
        turns=outcome.metrics.get("turns", {}),
        test=outcome.metrics["test"],
        test_count=len(outcome.test_rows),
        shown=min(SHOWN, len(outcome.test_rows)),
        figures=save_figures(folder, figures),
        parts=_parts(data, tasks),
        notes=data.notes,
        classes={name: _class_counts(data, task) for name, task in tasks.items()},
        settings=(folder / run.CONFIG).read_text(encoding="utf-8"),
        date=now(),
    )
    write_text(folder / run.REPORT, html)


def conditions(settings: TrainSettings, history: pd.DataFrame, demo: bool) -> list[str]:
    """What was the same for the shared network and for those of one task, and what was not, in sentences.

    Args:
        history: of the shared network; it tells which heads there were.
    """
    length = f"some {SAMPLES:,} samples, in 5 to 20 epochs"
    if settings.epochs or settings.fine_tune == "heads":
        length = f"{settings.epochs or EPOCHS_OF_HEADS} epochs"
    elif demo:
        length = f"{default_epochs(1, demo)} epochs"
    budgets = {
        "early-stop": "Every network trains by the same rules on every painting that has a label of its own: "
        f"{length}, or until the validation accuracy has not risen for {settings.patience} epochs, and the epoch that "
        "is best on the validation paintings is kept. A network for one task so takes fewer updates where its labels "
        "are scarce.",
        "equal-updates": "Every network takes as many updates as the shared one, but for a part of an epoch, so a "
        "network for one task sees its labelled works more often; the epoch that is best on the validation paintings "
        "is kept.",
    }
    said = [budgets[settings.budget]]
    seen = "every work is shown once an epoch"
    if settings.label_share:
        seen = (
            "it is shown works with a scarce label up to three times an epoch, until "
            f"{settings.label_share:.0%} of what it sees has that label"
        )
    weights = ", ".join(f"{name} {settings.loss_weights().get(name, 1.0):g}" for name in settings.task_names())
    said.append(f"The shared network's losses are weighted ({weights}), and {seen}.")
    if settings.start_from:
        said.append("It alone starts from networks that were trained before; their training is not in its costs.")
    if settings.teachers:
        said.append(
            "It alone learns from the answers of networks that were trained before, the same ones for every seed: what "
            "it gains is theirs too, and their training is not in its costs."
        )
    if settings.freeze != "none":
        span = f"for {settings.freeze_epochs} epochs" if settings.freeze_epochs else "throughout"
        said.append(f"Of it alone, the {settings.freeze} stands still {span}.")
    if settings.refits_heads():
        features = (
            "the features of the backbone's finer levels" if settings.ends_multi_scale() else "the finished features"
        )
        said.append(
            f"At the end, each head is fitted once more, to {features}, as far as that is better in validation."
        )
    if f"{ALL_PAINTERS}_loss" in history:
        said.append(
            "The shared network alone trains with a head over all painters with ten works or more: labels that a "
            "network for one task does not use. What it gains is the gain of both, not of sharing alone; "
            "--other-painters 0 leaves that head out."
        )
    return said


def page(template: str) -> jinja2.Template:
    """A template of this package."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(template)


def now() -> str:
    """Date and time, for the foot of a page."""
    return datetime.datetime.now().strftime("%Y-%m-%d %H:%M")


def percent(share: float) -> str:
    """A share for a page."""
    return "-" if share != share else f"{100 * share:.1f} %"


def save_figures(folder: Path, figures: Mapping[str, Any]) -> dict[str, str]:
    """Write each matplotlib figure as `figures/NAME.png` and return them as data URLs, to stand in a page."""
    (folder / run.FIGURES).mkdir(exist_ok=True)
    embedded = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        with atomic_write(folder / run.FIGURES / f"{name}.png") as temporary:
            temporary.write_bytes(buffer.getvalue())
        embedded[name] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    return embedded


def forest(results: Mapping[str, Mapping[str, Any]]) -> Any:
    """Differences of accuracy, shared less alone, with their 95 % intervals: a group of lines for each result."""
    lines = [
        (f"{task}, {name}" if name else task, [100 * v for v in found["difference"]["accuracy"]], found["verdict"])
        for name, result in results.items()
        for task, found in result["tasks"].items()
    ]
    lines += [
        (f"mean relative gain, {name}" if name else "mean relative gain", result["gain"]["accuracy"], "gain")
        for name, result in results.items()
    ]
    colours = {"better": "#1a7f37", "worse": "#c0262d", "no difference shown": "#666666", "gain": "#1f5fa8"}
    figure, axis = plt.subplots(figsize=(7, 0.42 * len(lines) + 1.1))
    for y, (_, (mean, low, high), kind) in enumerate(lines):
        axis.plot([low, high], [y, y], color=colours[kind], linewidth=2)
        axis.plot(mean, y, "o", color=colours[kind])
        axis.annotate(f"{mean:+.1f}", (mean, y), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axis.axvline(0, color="#222", linewidth=0.8)
    axis.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    axis.set_ylim(len(lines) - 0.5, -0.7)
    axis.set_xlabel("worse  ←  one network for all, in points of accuracy (gain: in percent)  →  better", fontsize=9)
    axis.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _summary(settings: TrainSettings, outcome: "RunResult") -> str:
    m = outcome.metrics
    return (
        f"Backbone {settings.backbone} ({_start(settings)}), trains: {settings.fine_tune}, "
        f"strategy {settings.strategy}, images of {settings.image_size} x {settings.image_size} pixels, "
        f"{m['parameters']:,} parameters. {m['epochs']} epochs in {m['training_seconds']:.0f} seconds; the network of "
        f"epoch {m['best_epoch']} is kept, the best by mean validation accuracy."
    )


def _start(settings: TrainSettings) -> str:
    """What the backbone's weights were before the training."""
    if settings.start_from and settings.start_shared != "imagenet":
        which = "the mean" if settings.start_shared == "mean" else f"that of {settings.start_shared}"
        return f"{which} of earlier runs"
    if settings.backbone == "small_convnet" or settings.weights == "none":
        return "random weights"
    return "ImageNet weights" if settings.weights == "imagenet" else f"weights: {settings.weights}"


def _parts(data: Dataset, tasks: dict[str, Task]) -> list[list[str]]:
    lines = []
    for part in PARTS:
        rows = data.rows(part)
        lines.append([part, f"{len(rows):,}", *(f"{(data.labels[name][rows] >= 0).sum():,}" for name in tasks)])
    return lines


def _class_counts(data: Dataset, task: Task) -> str:
    train = data.labels[task.name][data.rows("train")]
    counts = np.bincount(train[train >= 0], minlength=len(task.classes))
    return "Training paintings: " + ", ".join(f"{c} {n:,}" for c, n in zip(task.classes, counts, strict=True)) + "."


def curves(history: pd.DataFrame) -> Any:
    """Loss, and validation accuracy of each task, by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5))
    for name in [c for c in history if str(c).endswith("loss")]:
        left.plot(history["epoch"], history[name], label=str(name).replace("_", " "), marker="o", markersize=3)
    left.set(title="Training loss", xlabel="epoch")
    for name in [c for c in history if str(c).startswith("val_")]:
        label = str(name).removeprefix("val_").replace("_accuracy", "").replace("score", "mean")
        style = "--" if name == "val_score" else "-"
        right.plot(history["epoch"], 100 * history[name], style, label=label, marker="o", markersize=3)
    right.set(title="Validation accuracy (%)", xlabel="epoch")
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    return figure


def reliability_figure(data: Dataset, outcome: "RunResult") -> Any:
    """Accuracy by confidence on the test paintings, before and after temperature scaling, a panel for each task."""
    names = list(outcome.test_probabilities)
    figure, axes = plt.subplots(1, len(names), figsize=(3.4 * len(names), 3.3), squeeze=False, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        after, labels = outcome.test_probabilities[name], data.labels[name][outcome.test_rows]
        before = apply_temperature(after, 1 / outcome.metrics["calibration"][name]["temperature"])
        axis.plot([0, 100], [0, 100], color="#bbb", linewidth=0.8)
        for p, label, colour in ((before, "before", "#9a9a9a"), (after, "after", "#1f5fa8")):
            confidence, accuracy, counts = reliability(labels, p)
            axis.plot(100 * confidence, 100 * accuracy, color=colour, linewidth=1)
            axis.scatter(100 * confidence, 100 * accuracy, np.sqrt(counts) * 4, color=colour, label=label)
        axis.set(title=name, xlabel="confidence (%)", xlim=(0, 100), ylim=(0, 100))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("right answers (%)")
    axes[0][0].legend(frameon=False, fontsize=8)
    return figure


def conflict(history: pd.DataFrame) -> Any:
    """Cosines between the tasks' gradients on the shared weights, by epoch; below 0 the tasks pull apart."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    for name in [str(c) for c in history if str(c).startswith("cosine_")]:
        axis.plot(history["epoch"], history[name], marker="o", markersize=3, label=" and ".join(name.split("_")[1:]))
    axis.axhline(0, color="#222", linewidth=0.8)
    axis.set(title="Cosine of the tasks' gradients", xlabel="epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure


def confusion_figure(counts: np.ndarray, task: Task) -> Any:
    """A confusion matrix: shares of each true class in colour, counts in figures."""
    n = len(task.classes)
    side = max(3.5, 0.36 * n + 1.5)
    figure, axis = plt.subplots(figsize=(side, side))
    axis.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(n), task.classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axis.set_yticks(range(n), task.classes, fontsize=8)
    axis.set(xlabel="predicted", ylabel="true")
    for i, j in zip(*np.nonzero(counts), strict=True):
        dark = counts[i, j] > counts[i].sum() / 2
        axis.text(j, i, counts[i, j], ha="center", va="center", fontsize=7, color="white" if dark else "#333")
    return figure


def contact_sheet(data: Dataset, outcome: "RunResult", columns: int = 6) -> Any:
    """Some test paintings with the three predicted labels."""
    n = min(SHOWN, len(outcome.test_rows))
    chosen = np.sort(np.random.default_rng(0).choice(len(outcome.test_rows), n, replace=False))
    lines = -(-n // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(columns * 2.1, lines * 2.75), squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, position in zip(axes.ravel(), chosen, strict=False):
        row = outcome.test_rows[position]
        axis.imshow(_thumbnail(data, row))
        axis.set_anchor("S")
        for k, (name, probabilities) in enumerate(outcome.test_probabilities.items()):
            task, truth, best = data.tasks[name], data.labels[name][row], int(probabilities[position].argmax())
            text, colour = f"{task.classes[best]} {100 * probabilities[position][best]:.0f} %", "#1a7f37"
            if truth < 0:
                colour = "#888888"
            elif truth != best:
                text, colour = f"{text} ({task.classes[truth]})", "#c0262d"
            text = textwrap.shorten(text, 34, placeholder="…")
            below = (0, -3 - 7.5 * k)
            axis.annotate(text, (0, 0), below, "axes fraction", "offset points", fontsize=6, color=colour, va="top")
    figure.subplots_adjust(wspace=0.15, hspace=0.35)
    return figure


def _thumbnail(data: Dataset, row: int) -> np.ndarray:
    file = images.ImageFile(data.table["file"][row], data.table["member"][row])
    try:
        return images.load_image(file, longest=220).pixels
    except Unreadable:  # it could be read when the copies were made
        copy = data.images.pixels[data.image_rows[row]]
        return copy if copy.ndim == 3 else copy[0]
