"""The report of a run: figures, and one HTML file that holds everything and can be sent around."""

import base64
import datetime
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from painters_mtl import images, metrics, runs
from painters_mtl.dataset import Dataset
from painters_mtl.files import whole, write_text
from painters_mtl.settings import TrainSettings
from painters_mtl.split import PARTS
from painters_mtl.tasks import Task

if TYPE_CHECKING:
    from painters_mtl.training import Outcome

SHOWN = 24  # test paintings on the contact sheet
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: painter, style and genre</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } img { max-width: 100% } .demo { background: #fff3cd; padding: .6rem 1rem }
pre { overflow-x: auto; background: #f6f6f6; padding: .8rem } li { margin: .2rem 0 }
</style></head><body>
<h1>{{ name }}: painter, style and genre from one network</h1>
{% if demo %}<p class="demo"><b>Demo data.</b> These paintings were drawn by code; the figures say nothing about real paintings.</p>{% endif %}
{% if interrupted %}<p class="demo"><b>Interrupted.</b> The training was ended early; this is the best network until then.</p>{% endif %}
<p>{{ summary }}</p>
<h2>On {{ test_count }} test paintings</h2>
<table><tr><th>task</th><th>accuracy</th><th>top 3</th><th>macro-F1</th><th>always the most frequent class</th><th>labelled paintings</th></tr>
{% for task, m in test.items() %}<tr><td>{{ task }}</td><td>{{ pct(m.accuracy) }}</td><td>{{ pct(m.top3) }}</td><td>{{ pct(m.macro_f1) }}</td><td>{{ pct(m.majority) }}</td><td>{{ m.n }}</td></tr>
{% endfor %}</table>
<p>A painting without a label in a task counts neither in the training of that head nor in its figures. On n paintings, an accuracy p has a 95 % interval of about &plusmn; 1.96 &radic;(p (1 - p) / n).</p>
<h2>What it says of {{ shown }} of them</h2>
<p>Drawn at random. Below each: painter, style, genre, with the confidence; a wrong answer is red and the truth stands behind it; grey means that the painting has no label in that task.</p>
<img alt="test paintings with predicted labels" src="{{ figures['paintings'] }}">
<h2>Training</h2><img alt="loss and validation accuracy by epoch" src="{{ figures['curves'] }}">
{% for task in test %}<h2>Confusions: {{ task }}</h2><img alt="confusion matrix of {{ task }}" src="{{ figures['confusion_' + task] }}">
{% endfor %}
<h2>Data</h2><table><tr><th>part</th><th>paintings</th>{% for task in test %}<th>with {{ task }}</th>{% endfor %}</tr>
{% for row in parts %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% for task, counts in classes.items() %}<h3>{{ task }}</h3><p>{{ counts }}</p>{% endfor %}
<h2>Settings</h2><pre>{{ settings }}</pre><p>Made {{ date }} by painters_mtl.</p></body></html>
"""


def write_report(folder: Path, data: Dataset, settings: TrainSettings, outcome: "Outcome") -> None:
    """Write `figures/*.png` and `report.html` of a run."""
    figures = {"paintings": contact_sheet(data, outcome), "curves": curves(outcome.history)}
    tasks = {name: data.tasks[name] for name in outcome.test_probabilities}
    for name, task in tasks.items():
        predicted = outcome.test_probabilities[name].argmax(axis=1)
        counts = metrics.confusion(data.labels[name][outcome.test_rows], predicted, len(task.classes))
        figures[f"confusion_{name}"] = confusion_figure(counts, task)
    (folder / runs.FIGURES).mkdir(exist_ok=True)
    embedded = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        plt.close(figure)
        with whole(folder / runs.FIGURES / f"{name}.png") as temporary:
            temporary.write_bytes(buffer.getvalue())
        embedded[name] = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE)
    html = page.render(
        name=folder.name,
        demo=data.demo,
        interrupted=outcome.interrupted,
        summary=_summary(settings, outcome),
        test=outcome.metrics["test"],
        test_count=len(outcome.test_rows),
        shown=min(SHOWN, len(outcome.test_rows)),
        figures=embedded,
        parts=_parts(data, tasks),
        notes=data.notes,
        classes={name: _class_counts(data, task) for name, task in tasks.items()},
        settings=(folder / runs.CONFIG).read_text(encoding="utf-8"),
        date=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        pct=lambda share: "-" if share != share else f"{100 * share:.1f} %",
    )
    write_text(folder / runs.REPORT, html)


def _summary(settings: TrainSettings, outcome: "Outcome") -> str:
    m = outcome.metrics
    start = "ImageNet weights" if settings.weights == "imagenet" else f"weights: {settings.weights}"
    return (
        f"Backbone {settings.backbone} ({start}), trained part: {settings.fine_tune}, images of {settings.image_size} x "
        f"{settings.image_size} pixels, {m['parameters']:,} parameters. {m['epochs']} epochs in {m['training_seconds']:.0f} "
        f"seconds; the network of epoch {m['best_epoch']} is kept, the best by mean validation accuracy."
    )


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


def contact_sheet(data: Dataset, outcome: "Outcome", columns: int = 6) -> Any:
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
            text = textwrap.shorten(text, 40, placeholder="…")
            axis.text(0, -0.04 - 0.085 * k, text, transform=axis.transAxes, fontsize=6, color=colour, va="top")
    figure.subplots_adjust(wspace=0.15, hspace=0.35)
    return figure


def _thumbnail(data: Dataset, row: int) -> np.ndarray:
    file = images.ImageFile(data.table["file"][row], data.table["member"][row])
    try:
        return images.load(file, longest=220).pixels
    except images.Unreadable:  # it could be read when the copies were made
        return data.store.pixels[data.pixel_rows[row]]
