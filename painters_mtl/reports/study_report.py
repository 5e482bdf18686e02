"""The report of a study: what one network for all tasks gains and saves, in one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from painters_mtl.data.dataset import Dataset
from painters_mtl.reports.comparison_figures import (
    agreement_figure,
    differences_figure,
    f1_figure,
    side_confusion_figure,
    validation_figure,
)
from painters_mtl.reports.conditions import conditions, validation_note
from painters_mtl.reports.figures import conflict_figure
from painters_mtl.reports.html import duration, save_figures, write_page
from painters_mtl.reports.repeat import repeat_command
from painters_mtl.runs import run
from painters_mtl.studies.comparison import SeedResults
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.studies.summary import COSTS, STATISTIC_LABELS, ends_text, gain_text, p_value, verdicts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_study_report(
    folder: Path,
    data: Dataset,
    settings: CompareSettings,
    sides: Mapping[str, SeedResults],
    seeds: Sequence[int],
    results: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write `figures/*.png` and `report.html` of a study.

    Args:
        sides: the trainings of each strategy and of each task alone, {name: [seed][fold]}.
        seeds: those of the trainings.
        results: of each strategy, as of `comparison.study_table`; the figures of single tasks are of the first.
    """
    first = next(iter(results))
    tasks = list(results[first]["tasks"])
    schedules = [result.metrics["turns"] for folds in sides.get("alternate", []) for result in folds]
    write_page(
        folder / run.REPORT,
        "study.html.jinja",
        name=folder.name,
        demo=data.demo,
        seeds=len(seeds),
        folds=settings.folds,
        tasks=tasks,
        classes={name: len(data.tasks[name].classes) for name in tasks},
        first=first,
        results=results,
        verdicts={name: verdicts(result) for name, result in results.items()},
        conditions=conditions(settings, sides[first][0][0].history, list(data.tasks), data.demo),
        validation_note=validation_note(replace(settings, painter_known=False)),  # a study's networks have none
        schedule=mean_schedule(schedules),
        costs=COSTS,
        statistics=STATISTIC_LABELS,
        p_value=p_value,
        ends=ends_text,
        gain=gain_text,
        trainings=trainings(sides, seeds, settings, tasks),
        figures=save_figures(folder, _figures(data, settings, sides, results, tasks)),
        paintings=len(data.table),
        notes=data.notes,
        command=repeat_command("compare", settings),
        files=[name for name in (run.COMPARISON, "comparison.csv") if (folder / name).exists()],
        settings=(folder / run.CONFIG).read_text(encoding="utf-8"),
    )


def _figures(
    data: Dataset,
    settings: CompareSettings,
    sides: Mapping[str, SeedResults],
    results: Mapping[str, Mapping[str, Any]],
    tasks: Sequence[str],
) -> "dict[str, Figure]":
    """All figures of a study, {name: figure}; arguments as of `write_study_report`."""
    first = next(iter(results))
    figures = {
        "differences": differences_figure(results if len(results) > 1 else {"": results[first]}),
        "agreement": agreement_figure({name: results[first]["tasks"][name]["agreement"] for name in tasks}),
    }
    if settings.monitor_conflict:
        histories = pd.concat([result.history for folds in sides[first] for result in folds])
        figures["conflict"] = conflict_figure(histories.groupby("epoch", as_index=False).mean(), list(data.tasks))
    for name in tasks:
        figures[f"curves_{name}"] = validation_figure(name, sides[first], sides[name])
        figures[f"f1_{name}"] = f1_figure(results[first]["tasks"][name]["f1"], data.tasks[name].classes)
        figures[f"confusion_shared_{name}"] = side_confusion_figure(data, name, sides[first])
        figures[f"confusion_alone_{name}"] = side_confusion_figure(data, name, sides[name])
    return figures


def trainings(
    sides: Mapping[str, SeedResults], seeds: Sequence[int], settings: CompareSettings, tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """A line for each training of a study: its network, seed and fold, accuracies on test, epochs, time and folder."""
    lines = []
    for name, of_seeds in sides.items():
        for seed, of_seed in zip(seeds, of_seeds, strict=True):
            for fold, result in enumerate(of_seed):
                test, measured = result.metrics["test"], result.metrics
                lines.append(
                    {
                        "network": f"{name} alone" if name in tasks else name,
                        "seed": f"{seed}, fold {fold}" if settings.folds else str(seed),
                        "accuracies": [test[task]["accuracy"] if task in test else None for task in tasks],
                        "epochs": measured["epochs"],
                        "time": duration(measured["training_seconds"]),
                        "folder": f"runs/seed{seed}{f'-fold{fold}' if settings.folds else ''}/{name}",
                    }
                )
    return lines


def mean_schedule(summaries: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The mean over trainings of what each says of its task schedule, metrics.json's "turns"; {} without any."""
    means = {}
    for task in dict.fromkeys(task for summary in summaries for task in summary):  # a training may give one no turn
        losses: dict[str, list[float]] = {}
        of_task = [summary.get(task, {"share": 0.0, "loss_after": {}}) for summary in summaries]
        for steps, loss in (item for each in of_task for item in each["loss_after"].items()):
            losses.setdefault(steps, []).append(loss)
        share = float(np.mean([each["share"] for each in of_task]))
        means[task] = {"share": share, "loss_after": {steps: float(np.mean(v)) for steps, v in losses.items()}}
    return means
