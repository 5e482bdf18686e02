"""One network against three: from the outcomes of trainings to differences, intervals, costs and words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.intervals import (
    Answers,
    Interval,
    agreement,
    compare_answers,
    f1_by_class,
    mcnemar_of_seeds,
)

if TYPE_CHECKING:
    from painters_mtl.training.run_result import RunResult

Seeds = Sequence[Sequence["RunResult"]]  # for each seed, the outcome of each fold (one, where there are no folds)


def answers(data: Dataset, name: str, seeds: Seeds) -> Answers:
    """What the networks of a side said of one task: the folds of a seed are put together to one set of paintings."""
    rows = np.concatenate([outcome.test_rows for outcome in seeds[0]])
    truth = data.labels[name][rows]
    predicted = [np.concatenate([o.test_probabilities[name].argmax(axis=1) for o in folds]) for folds in seeds]
    known = truth >= 0
    return Answers(truth[known], np.stack(predicted)[:, known], rows[known], len(data.tasks[name].classes))


def compare(data: Dataset, shared: Seeds, alone: Mapping[str, Seeds], milliseconds: Sequence[float]) -> dict[str, Any]:
    """All figures of a comparison, ready for JSON.

    Args:
        shared: the network with all heads.
        alone: for each task, the network with that head alone, on the same seeds and folds.
        milliseconds: a painting, for the shared network and then for each of `alone`.

    Returns {"tasks": {task: {"n", "alone", "shared", "difference": {statistic: [mean, low, high]}, "verdict",
    "mcnemar_p", "agreement", "f1": {"alone", "shared"}}}, "gain": {statistic: [mean, low, high]}, "cost": ...}; shares
    are from 0 to 1, the gain is in percent, costs are per seed.
    """
    one = {name: answers(data, name, shared) for name in alone}
    other = {name: answers(data, name, seeds) for name, seeds in alone.items()}
    found = compare_answers(one, other)
    tasks: dict[str, Any] = {}
    for name in alone:
        intervals = found[name]
        sides = {"alone": "other_", "shared": "one_", "difference": ""}
        tasks[name] = {
            "n": len(one[name].truth),
            **{side: {k: _triple(intervals[start + k]) for k in found[""]} for side, start in sides.items()},
            "verdict": intervals["accuracy"].verdict(),
            "mcnemar_p": mcnemar_of_seeds(one[name].right(), other[name].right()),
            "agreement": agreement(one[name].right(), other[name].right()),
            "f1": {side: _rounded(f1_by_class(of[name])) for side, of in (("alone", other), ("shared", one))},
        }
    cost = {"shared": _cost(shared, milliseconds[0])}
    for (name, seeds), speed in zip(alone.items(), milliseconds[1:], strict=True):
        cost[name] = _cost(seeds, speed)
    each = [cost[name] for name in alone]
    cost["alone"] = {key: float(np.sum([c[key] for c in each])) for key in each[0]}
    return {"tasks": tasks, "gain": {k: _triple(v) for k, v in found[""].items()}, "cost": cost}


def compare_strategies(data: Dataset, one: Seeds, other: Seeds, names: Sequence[str]) -> dict[str, Any]:
    """One way of training the tasks together against another, on the same seeds and folds.

    Returns {"tasks": {task: {statistic: [mean, low, high]}}, "gain": {statistic: [mean, low, high]}, "seconds": the
    share of the other's training time}; shares are from 0 to 1, the gain is in percent.
    """
    found = compare_answers({n: answers(data, n, one) for n in names}, {n: answers(data, n, other) for n in names})
    tasks = {name: {k: _triple(found[name][k]) for k in found[""]} for name in names}
    seconds = [sum(o.metrics["training_seconds"] for folds in side for o in folds) for side in (one, other)]
    gain = {k: _triple(v) for k, v in found[""].items()}
    return {"tasks": tasks, "gain": gain, "seconds": seconds[0] / max(seconds[1], 1e-9)}


def _triple(found: Interval) -> list[float]:
    return [found.mean, found.low, found.high]


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else round(float(v), 4) for v in values]


def _cost(seeds: Seeds, speed: float) -> dict[str, float]:
    """Means over the seeds; the folds of a seed are added up, for they are all needed."""
    measured = [[outcome.metrics for outcome in folds] for folds in seeds]
    return {
        "parameters": float(measured[0][0]["parameters"]),
        "training_seconds": float(np.mean([sum(m["training_seconds"] for m in folds) for folds in measured])),
        "updates": float(np.mean([sum(m["updates"] for m in folds) for folds in measured])),
        "milliseconds": speed,
    }


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """One sentence a task, and one for all: never more than the intervals say."""
    words = {
        "better": "one network for all is better",
        "worse": "one network for all is worse",
        "no difference shown": "no difference shown",
    }
    lines = []
    for name, task in result["tasks"].items():
        _, low, high = (100 * v for v in task["difference"]["accuracy"])
        line = (
            f"{name}: {words[task['verdict']]} ({low:+.1f} to {high:+.1f} points of accuracy on {task['n']:,} paintings"
        )
        line += f"; McNemar's p {p_value(task['mcnemar_p'])})"
        if task["verdict"] != "no difference shown" and task["mcnemar_p"] > 0.05:
            line += ", which McNemar's test alone does not confirm"
        lines.append(line)
    mean, low, high = result["gain"]["accuracy"]
    kind = Interval(mean, low, high).verdict().replace("better", "a gain").replace("worse", "a loss")
    lines.append(f"over all tasks: {kind}, mean relative gain {mean:+.1f} % ({low:+.1f} to {high:+.1f} %)")
    return lines


def p_value(value: float) -> str:
    """A p for a table."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def text(result: Mapping[str, Any]) -> str:
    """The figures as a table for the terminal."""
    lines = [f"{'accuracy on test':<20}{'alone':>10}{'shared':>10}{'difference (95 % interval)':>32}"]
    for name, task in result["tasks"].items():
        alone, shared = 100 * task["alone"]["accuracy"][0], 100 * task["shared"]["accuracy"][0]
        mean, low, high = (100 * v for v in task["difference"]["accuracy"])
        lines.append(f"{name:<20}{alone:>8.1f} %{shared:>8.1f} %{f'{mean:+.1f} ({low:+.1f} to {high:+.1f})':>32}")
    for label, key, form in COSTS:
        alone, shared = result["cost"]["alone"][key], result["cost"]["shared"][key]
        lines.append(f"{label:<20}{alone:>10{form}}{shared:>10{form}}{f'{shared / max(alone, 1e-9):.2f} of it':>32}")
    return "\n".join([*lines, *verdicts(result)])


COSTS = (
    ("parameters", "parameters", ",.0f"),
    ("training seconds", "training_seconds", ",.0f"),
    ("updates", "updates", ",.0f"),
    ("ms a painting", "milliseconds", ".2f"),
)


def ways_text(results: Mapping[str, Mapping[str, Any]], baseline: str) -> str:
    """A line for each way of training together: accuracies, gain over the networks for one task and over `baseline`."""
    names = list(results[baseline]["tasks"])
    lines = [f"{'accuracy on test':<16}" + "".join(f"{n:>10}" for n in names) + f"{'gain over alone':>26}"]
    lines[0] += f"{f'gain over {baseline}':>26}{'time':>7}"
    for way, result in results.items():
        accuracies = "".join(f"{100 * result['tasks'][n]['shared']['accuracy'][0]:>8.1f} %" for n in names)
        gains = [result["gain"]["accuracy"]]
        if "against" in result:
            gains.append(result["against"]["gain"]["accuracy"])
        texts = "".join(f"{f'{m:+.1f} % ({a:+.1f} to {b:+.1f})':>26}" for m, a, b in gains)
        share = f"{'':>26}{1:>7.2f}" if way == baseline else f"{result['against']['seconds']:>7.2f}"
        lines.append(f"{way:<16}{accuracies}{texts}{share}")
    alone = "".join(f"{100 * results[baseline]['tasks'][n]['alone']['accuracy'][0]:>8.1f} %" for n in names)
    return "\n".join([*lines, f"{'each alone':<16}{alone}"])


def study_table(results: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """All intervals of a study, a row for each strategy, task and statistic; shares from 0 to 1, gains in percent."""
    rows = []
    for strategy, result in results.items():
        for task, found in result["tasks"].items():
            for statistic in ("accuracy", "macro_f1"):
                row = {"strategy": strategy, "task": task, "statistic": statistic}
                triples = {side: found[side][statistic] for side in ("alone", "shared", "difference")}
                if "against" in result:
                    triples["against_first"] = result["against"]["tasks"][task][statistic]
                for side, triple in triples.items():
                    row |= {f"{side}{key}": value for key, value in zip(("", "_low", "_high"), triple, strict=True)}
                row |= {"mcnemar_p": found["mcnemar_p"], "verdict": found["verdict"], "paintings": found["n"]}
                rows.append(row)
        for statistic, (mean, low, high) in result["gain"].items():
            row = {"strategy": strategy, "task": "mean relative gain (%)", "statistic": statistic}
            row |= {"difference": mean, "difference_low": low, "difference_high": high}
            if "against" in result:
                mean, low, high = result["against"]["gain"][statistic]
                row |= {"against_first": mean, "against_first_low": low, "against_first_high": high}
            rows.append(row)
    return pd.DataFrame(rows)
