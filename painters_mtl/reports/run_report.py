"""The report of a run: figures, and one HTML file that holds everything and can be sent around."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.data.dataset import Dataset
from painters_mtl.data.split import PARTS
from painters_mtl.data.tasks import Task
from painters_mtl.evaluation.balance import STRENGTH, class_counts
from painters_mtl.reports.comparison_figures import differences_figure
from painters_mtl.reports.conditions import conditions, validation_note
from painters_mtl.reports.figures import MOST_CLASSES, contact_sheet, examples, figures_of_run
from painters_mtl.reports.html import duration, save_figures, write_page
from painters_mtl.reports.mistakes import confusions_in_words, surest_mistakes
from painters_mtl.reports.repeat import repeat_command
from painters_mtl.runs import run
from painters_mtl.studies.summary import COSTS, STATISTIC_LABELS, ends_text, gain_text, p_value, verdicts
from painters_mtl.training.settings import TrainSettings

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult

FILES = ("test_predictions.csv", "history.csv", "split.csv", "metrics.json", "comparison.json", "refused.csv")


def write_report(
    folder: Path,
    data: Dataset,
    settings: TrainSettings,
    result: "RunResult",
    comparison: Mapping[str, Any] | None = None,
    links: Mapping[str, str] | None = None,
) -> None:
    """Write `figures/*.png` and `report.html` of a run.

    Args:
        comparison: with the networks for one task, of `comparison.compare`; None where there are none.
        links: to reports that belong to this one, {words: address beside the run folder's files}.
    """
    tasks = list(result.test_probabilities)
    figures = figures_of_run(data, result)
    shown = examples(data, result)
    save_figures(folder, {"paintings": contact_sheet(shown)})
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
        examples=shown,
        figures=save_figures(folder, figures),
        comparison=comparison,
        verdicts=[] if comparison is None else verdicts(comparison),
        confusions={name: confusions_in_words(data, result, name) for name in tasks},
        mistakes={name: surest_mistakes(data, result, name) for name in tasks},
        data_classes={name: len(data.tasks[name].classes) for name in tasks},
        most_classes=MOST_CLASSES,
        links=links or {},
        files=[name for name in FILES if (folder / name).exists()],
        command=repeat_command("train", settings) if len(tasks) == len(data.tasks) else "",
        balance_strength=STRENGTH,
        conditions=conditions(settings, result.history, tasks, data.demo),
        validation_note=validation_note(settings),
        costs=COSTS,
        statistics=STATISTIC_LABELS,
        p_value=p_value,
        ends=ends_text,
        gain=gain_text,
        parts=_parts(data, tasks),
        notes=data.notes,
        classes={name: _class_counts(data, data.tasks[name]) for name in tasks},
        settings=(folder / run.CONFIG).read_text(encoding="utf-8"),
    )


def _summary(settings: TrainSettings, result: "RunResult") -> str:
    """How the network was made, in a few sentences."""
    metrics = result.metrics
    trains = {"heads": "not trained", "top": "the upper half trained", "all": "all trained"}
    by_strategy = settings.strategy != "joint"
    several = f" The tasks were trained together by the strategy {settings.strategy}." if by_strategy else ""
    return (
        f"The network looks at {settings.image_size} x {settings.image_size} pixels of a painting. Its backbone is "
        f"{settings.backbone} ({_start(settings)}, {trains[settings.fine_tune]}), and it has "
        f"{metrics['parameters']:,} weights in all. It was trained for {metrics['epochs']} epochs in "
        f"{duration(metrics['training_seconds'])}; the weights of epoch {metrics['best_epoch']} are kept, which had "
        f"the best mean validation accuracy.{several}"
    )


def _start(settings: TrainSettings) -> str:
    """What the backbone's weights were before the training."""
    if settings.starts_from_teachers():
        return "the mean of the networks for one task each"
    if settings.start_from and settings.start_shared != "imagenet":
        source = "the mean" if settings.start_shared == "mean" else f"that of {settings.start_shared}"
        return f"{source} of earlier runs"
    if not settings.starts_pretrained():
        return "random weights"
    by_word = {"imagenet": "ImageNet weights", "paintings": "the backbone of the bundled model (WikiArt)"}
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
    counts = class_counts(labels, len(task.classes))
    return ", ".join(f"{name} {count:,}" for name, count in zip(task.classes, counts, strict=True))
