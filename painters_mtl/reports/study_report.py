"""The report of a study: what one network for all tasks gains and saves, in one HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from painters_mtl.common.files import write_text
from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation import metrics
from painters_mtl.reports.run_report import (
    conditions,
    conflict,
    confusion_figure,
    forest,
    now,
    page,
    percent,
    save_figures,
)
from painters_mtl.runs import run
from painters_mtl.studies.comparison import COSTS, answers, p_value, verdicts

if TYPE_CHECKING:
    from painters_mtl.compare import CompareSettings, SeedResults

BLUE, GREY = "#1f5fa8", "#9a9a9a"


def write_study_report(
    folder: Path,
    data: Dataset,
    settings: "CompareSettings",
    sides: "Mapping[str, SeedResults]",
    results: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write `figures/*.png` and `report.html` of a study; `results` has `comparison.compare` of each strategy."""
    figures = {"differences": forest(results if len(results) > 1 else {"": next(iter(results.values()))})}
    first = next(iter(results))
    names = list(results[first]["tasks"])
    figures["agreement"] = agreement_figure({name: results[first]["tasks"][name]["agreement"] for name in names})
    if settings.monitor_conflict:
        histories = pd.concat([outcome.history for folds in sides[first] for outcome in folds])
        figures["conflict"] = conflict(histories.groupby("epoch", as_index=False).mean())
    for name in names:
        figures[f"curves_{name}"] = curves(name, sides[first], sides[name])
        figures[f"f1_{name}"] = f1_figure(results[first]["tasks"][name]["f1"], data.tasks[name].classes)
        for label, kind in (("shared", first), ("alone", name)):
            given = answers(data, name, sides[kind])
            counts = sum(metrics.confusion(given.truth, p, given.classes) for p in given.predicted)
            figures[f"confusion_{label}_{name}"] = confusion_figure(np.asarray(counts), data.tasks[name])
    seeds = len(sides[first])
    html = page("study.html.jinja").render(
        name=folder.name,
        demo=data.demo,
        seeds=seeds,
        folds=settings.folds,
        conditions=conditions(settings, sides[first][0][0].history, data.demo),
        results=results,
        verdicts={name: verdicts(result) for name, result in results.items()},
        tasks=names,
        first=first,
        turns=turns_of([outcome.metrics["turns"] for folds in sides.get("alternate", []) for outcome in folds]),
        costs=COSTS,
        figures=save_figures(folder, figures),
        paintings=len(data.table),
        notes=data.notes,
        settings=(folder / run.CONFIG).read_text(encoding="utf-8"),
        date=now(),
        pct=percent,
        p_value=p_value,
    )
    write_text(folder / run.REPORT, html)


def turns_of(found: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The mean over trainings of what `trainer.turn_summary` says of each."""
    means = {}
    for task in found[0] if found else ():
        after: dict[str, list[float]] = {}
        for one in found:
            for wait, loss in one[task]["loss_after"].items():
                after.setdefault(wait, []).append(loss)
        share = float(np.mean([one[task]["share"] for one in found]))
        means[task] = {"share": share, "loss_after": {wait: float(np.mean(v)) for wait, v in after.items()}}
    return means


def curves(name: str, shared: "SeedResults", alone: "SeedResults") -> Any:
    """Validation accuracy of one task by epoch, a line for each training."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    for side, colour, label in ((alone, GREY, "alone"), (shared, BLUE, "shared")):
        for i, outcome in enumerate(o for folds in side for o in folds):
            values = 100 * outcome.history[f"val_{name}_accuracy"]
            axis.plot(outcome.history["epoch"], values, color=colour, alpha=0.7, label=label if i == 0 else None)
    axis.set(title=f"{name}: validation accuracy (%)", xlabel="epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure


def agreement_figure(shares: Mapping[str, Mapping[str, float]]) -> Any:
    """Who was right on the test paintings, a bar for each task: both sides, one of them, or neither."""
    parts = {"both": GREY, "only_one": BLUE, "only_other": "#d98032", "neither": "#e4e4e4"}
    labels = ("both right", "only the shared network", "only the one alone", "neither")
    figure, axis = plt.subplots(figsize=(6, 0.5 * len(shares) + 1.1))
    for y, found in enumerate(shares.values()):
        left = 0.0
        for (part, colour), label in zip(parts.items(), labels, strict=True):
            width = 100 * found[part]
            axis.barh(y, width, left=left, color=colour, label=label if y == 0 else None)
            axis.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=8)
            left += width
    axis.set_yticks(range(len(shares)), list(shares))
    axis.set(xlim=(0, 100), xlabel="test paintings with a label (%)")
    axis.invert_yaxis()
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def f1_figure(f1: Mapping[str, list[float | None]], classes: tuple[str, ...]) -> Any:
    """F1 of each class, alone and shared, joined by a line; the classes in the order of their gain."""
    alone, shared = (np.array([np.nan if v is None else v for v in f1[side]]) for side in ("alone", "shared"))
    order = np.argsort(np.nan_to_num(shared - alone))
    figure, axis = plt.subplots(figsize=(6, 0.3 * len(classes) + 1.2))
    for y, k in enumerate(order):
        axis.plot([100 * alone[k], 100 * shared[k]], [y, y], color="#ccc", zorder=1)
    axis.scatter(100 * alone[order], range(len(order)), color=GREY, label="alone", s=22)
    axis.scatter(100 * shared[order], range(len(order)), color=BLUE, label="shared", s=22)
    axis.set_yticks(range(len(order)), [classes[k] for k in order], fontsize=8)
    axis.set_xlabel("F1 (%), mean over the seeds")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    return figure
