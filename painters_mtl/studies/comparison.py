"""One network against a network for each task: from the results of trainings to differences, intervals and costs.

All figures are plain numbers in dicts, ready for JSON; `summary` puts them into words.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.intervals import (
    STATISTICS,
    Interval,
    TaskPredictions,
    agreement,
    compare_predictions,
    effective_number,
    f1_by_class,
    mcnemar_of_seeds,
    verdict,
)

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult

SeedResults = Sequence[Sequence["RunResult"]]  # for each seed, the result of each fold (one, where there are no folds)


def task_predictions(data: Dataset, name: str, seeds: SeedResults) -> TaskPredictions:
    """The predicted classes of one task on the labelled test paintings; the folds of a seed are put together."""
    rows = np.concatenate([result.test_rows for result in seeds[0]])
    labels = data.labels[name][rows]
    predicted = np.stack(
        [np.concatenate([r.test_probabilities[name].argmax(axis=1) for r in folds]) for folds in seeds]
    )
    chosen = labels >= 0
    rows = rows[chosen]
    return TaskPredictions(
        labels[chosen], predicted[:, chosen], rows, painter_numbers(data)[rows], data.groups[rows],
        len(data.tasks[name].classes),
    )  # fmt: skip


def painter_numbers(data: Dataset) -> np.ndarray:
    """A number for the painter of each painting, int (paintings,); of an unknown one, for its group of near-copies."""
    painters = data.table["painter"].to_numpy()
    numbers = pd.factorize(painters)[0]
    return np.where(painters != "", numbers, numbers.max(initial=0) + 1 + data.groups)


def compare(
    data: Dataset, shared: SeedResults, alone: Mapping[str, SeedResults], milliseconds: Sequence[float]
) -> dict[str, Any]:
    """All figures of a comparison, ready for JSON.

    Args:
        shared: the network with all heads.
        alone: for each task, the network with that head alone, on the same seeds and folds.
        milliseconds: for one painting, of the shared network and then of each of `alone`.

    Returns {"seeds", "folds", "tasks": {task: {"n", "drawn", "alone", "shared", "difference": {statistic: [mean, low,
    high]}, "verdict", "mcnemar_p", "agreement", "f1": {"alone", "shared"}}}, "gain": {statistic: [mean, low, high]},
    "cost": ...}. Shares are from 0 to 1, the gain is in percent, costs are per seed; "drawn" is what the bootstrap
    draws, and their effective number; statistics are accuracy and macro_f1.
    """
    one = {name: task_predictions(data, name, shared) for name in alone}
    other = {name: task_predictions(data, name, seeds) for name, seeds in alone.items()}
    intervals = compare_predictions(one, other)
    tasks: dict[str, Any] = {}
    for name in alone:
        sides = {"alone": "other_", "shared": "one_"}
        tasks[name] = {
            "n": len(one[name].labels),
            "drawn": {one[name].drawn_by(): round(effective_number(one[name].clusters()), 1)},
            "difference": _within(-1, _triples(intervals[name])),
            **{side: _within(0, _triples(intervals[name], start)) for side, start in sides.items()},
            "verdict": verdict(intervals[name]["accuracy"], len(shared)),
            "mcnemar_p": mcnemar_of_seeds(one[name].right(), other[name].right()),
            "agreement": agreement(one[name].right(), other[name].right()),
            "f1": {side: _rounded(f1_by_class(of[name])) for side, of in (("alone", other), ("shared", one))},
        }
    cost = {"shared": _cost(shared, milliseconds[0])}
    for (name, seeds), speed in zip(alone.items(), milliseconds[1:], strict=True):
        cost[name] = _cost(seeds, speed)
    cost["alone"] = {key: float(np.sum([cost[name][key] for name in alone])) for key in cost["shared"]}
    folds = len(shared[0])
    return {"seeds": len(shared), "folds": folds, "tasks": tasks, "gain": _triples(intervals[""]), "cost": cost}


def compare_strategies(data: Dataset, one: SeedResults, other: SeedResults, names: Sequence[str]) -> dict[str, Any]:
    """One strategy of training the tasks together against another, on the same seeds and folds.

    Returns {"tasks": {task: {statistic: [mean, low, high]}}, "gain": {statistic: [mean, low, high]}, "seconds": the
    share of the other's training time}; shares are from 0 to 1, the gain is in percent.
    """
    first, second = ({name: task_predictions(data, name, side) for name in names} for side in (one, other))
    intervals = compare_predictions(first, second)
    seconds = [sum(r.metrics["training_seconds"] for folds in side for r in folds) for side in (one, other)]
    return {
        "tasks": {name: _triples(intervals[name]) for name in names},
        "gain": _triples(intervals[""]),
        "seconds": seconds[0] / max(seconds[1], 1e-9),
    }


def study_table(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """All intervals of a study, a row for each strategy, task and statistic; shares from 0 to 1, gains in percent.

    Args:
        results: of each strategy, as from `compare`; but for the first with "against", as from `compare_strategies`.
    """
    rows = []
    for strategy, result in results.items():
        against = result.get("against")
        for task, values in result["tasks"].items():
            for statistic in STATISTICS:
                row = {"strategy": strategy, "task": task, "statistic": statistic}
                for side in ("alone", "shared", "difference"):
                    row |= _columns(side, values[side][statistic])
                if against is not None:
                    row |= _columns("against_first", against["tasks"][task][statistic])
                kind = verdict(Interval(*values["difference"][statistic]), result["seeds"])
                p = values["mcnemar_p"] if statistic == "accuracy" else np.nan  # McNemar's test is about accuracy
                row |= {"mcnemar_p": p, "verdict": kind, "paintings": values["n"]}
                rows.append(row)
        for statistic, triple in result["gain"].items():
            row = {"strategy": strategy, "task": "mean relative gain (%)", "statistic": statistic}
            row |= _columns("difference", triple)
            if against is not None:
                row |= _columns("against_first", against["gain"][statistic])
            rows.append(row)
    return pd.DataFrame(rows)


def _columns(side: str, triple: Sequence[float]) -> dict[str, float]:
    return {f"{side}{end}": value for end, value in zip(("", "_low", "_high"), triple, strict=True)}


def _triples(intervals: Mapping[str, Interval], start: str = "") -> dict[str, list[float]]:
    """{statistic: [mean, low, high]} of the intervals whose names begin with `start`."""
    return {k: [(i := intervals[f"{start}{k}"]).mean, i.low, i.high] for k in STATISTICS}


def _within(least: int, triples: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """The same with the ends of each interval from `least` to 1: the spread of the seeds may widen it beyond them."""
    return {k: [mean, *(float(np.clip(end, least, 1)) for end in ends)] for k, (mean, *ends) in triples.items()}


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def _cost(seeds: SeedResults, milliseconds: float) -> dict[str, float]:
    """Means over the seeds; the folds of a seed are added up, for they are all needed."""
    measured = [[result.metrics for result in folds] for folds in seeds]
    return {
        "parameters": float(measured[0][0]["parameters"]),
        "training_seconds": float(np.mean([sum(m["training_seconds"] for m in folds) for folds in measured])),
        "updates": float(np.mean([sum(m["updates"] for m in folds) for folds in measured])),
        "milliseconds": milliseconds,
    }
