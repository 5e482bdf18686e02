"""The report of a run: figures, and one HTML file that holds everything and can be sent around."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split import PARTS
from painters_mtl.data.tasks import Task
from painters_mtl.reports.comparison_figures import differences_figure
from painters_mtl.reports.conditions import conditions, validation_note
from painters_mtl.reports.figures import SHOWN, figures_of_run
from painters_mtl.reports.html import save_figures, write_page
from painters_mtl.runs import run
from painters_mtl.studies.summary import COSTS, STATISTIC_LABELS, ends_text, p_value, verdicts
from painters_mtl.training.settings import TrainSettings

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult


def write_report(
    folder: Path,
    data: Dataset,
    settings: TrainSettings,
    result: "RunResult",
    comparison: Mapping[str, Any] | None = None,
) -> None:
    """Write `figures/*.png` and `report.html` of a run.

    Args:
        comparison: with the networks for one task, of `comparison.compare`; None where there are none.
    """
    tasks = list(result.test_probabilities)
    figures = figures_of_run(data, result)
    if comparison is not None:
        figures["differences"] = differences_figure({"": comparison})
    write_page(
        folder / run.REPORT,
        "report.html.jinja",
        name=folder.name,
        demo=data.demo,
        interrupted=result.interrupted,
        summary=_summary(settings, result),
        metrics=result.metrics,
        test_count=len(result.test_rows),
        shown=min(SHOWN, len(result.test_rows)),
        figures=save_figures(folder, figures),
        comparison=comparison,
        verdicts=[] if comparison is None else verdicts(comparison),
        conditions=conditions(settings, result.history, tasks, data.demo),
        validation_note=validation_note(settings),
        costs=COSTS,
        statistics=STATISTIC_LABELS,
        p_value=p_value,
        ends=ends_text,
        parts=_parts(data, tasks),
        notes=data.notes,
        classes={name: _class_counts(data, data.tasks[name]) for name in tasks},
        settings=(folder / run.CONFIG).read_text(encoding="utf-8"),
    )


def _summary(settings: TrainSettings, result: "RunResult") -> str:
    """How the network was made, in two sentences."""
    metrics = result.metrics
    return (
        f"Backbone {settings.backbone} ({_start(settings)}), trains: {settings.fine_tune}, "
        f"strategy {settings.strategy}, images of {settings.image_size} x {settings.image_size} pixels, "
        f"{metrics['parameters']:,} parameters. {metrics['epochs']} epochs in {metrics['training_seconds']:.0f} "
        f"seconds; the network of epoch {metrics['best_epoch']} is kept, the best by mean validation accuracy."
    )


def _start(settings: TrainSettings) -> str:
    """What the backbone's weights were before the training."""
    if settings.start_from and settings.start_shared != "imagenet":
        source = "the mean" if settings.start_shared == "mean" else f"that of {settings.start_shared}"
        return f"{source} of earlier runs"
    if not settings.starts_pretrained():
        return "random weights"
    by_word = {"imagenet": "ImageNet weights", "paintings": "the backbone of the model that comes along (WikiArt)"}
    return by_word.get(settings.weights, f"weights: {settings.weights}")


def _parts(data: Dataset, tasks: Sequence[str]) -> list[list[str]]:
    """A line of the table of the split for each part: its name, its paintings, those with a label of each task."""
    lines = []
    for part in PARTS:
        rows = data.rows(part)
        lines.append([part, f"{len(rows):,}", *(f"{(data.labels[name][rows] >= 0).sum():,}" for name in tasks)])
    return lines


def _class_counts(data: Dataset, task: Task) -> str:
    """The classes of a task with their training paintings, as text."""
    labels = data.labels[task.name][data.rows("train")]
    counts = np.bincount(labels[labels >= 0], minlength=len(task.classes))
    return ", ".join(f"{name} {count:,}" for name, count in zip(task.classes, counts, strict=True))
