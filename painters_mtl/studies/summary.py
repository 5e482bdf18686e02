"""A comparison in words and as tables for the terminal: never more than its intervals say."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from painters_mtl.evaluation.intervals import NO_INTERVAL, NO_VERDICT, Interval, verdict

COSTS = (  # label, key and format of what a network costs
    ("parameters", "parameters", ",.0f"),
    ("training seconds", "training_seconds", ",.0f"),
    ("updates", "updates", ",.0f"),
    ("ms a painting", "milliseconds", ".2f"),
)
STATISTIC_LABELS = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
ONE_TRAINING = (
    "One training of each network is no evidence about the recipe: the next one may differ by more than its interval. "
    "For evidence, train several of each: painters-mtl compare --seeds 5"
)
EACH_FOLD_ONCE = (
    "Each fold was trained once: the intervals are about paintings, and do not know how far another training of a fold "
    "would differ. See whether the folds agree (metrics.json in each folder of runs/), or train several of each: "
    "--seeds 3"
)


def ends_text(low: float, high: float, unit: str = "") -> str:
    """The ends of an interval for people: "-0.4 to +3.0"; "no interval" where it has none."""
    return "no interval" if math.isnan(low) else f"{low:+.1f} to {high:+.1f}{unit}"


def gain_text(gain: Sequence[float]) -> str:
    """A mean relative gain with its interval: "+1.8 % (+0.8 to +2.9 %)"; why there is none where it is NaN."""
    mean, low, high = gain
    if math.isnan(mean):  # it is relative to 0
        return "no gain: what it is compared with has none right"
    return f"{mean:+.1f} % ({ends_text(low, high, ' %')})"


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """One sentence a task and one for all tasks; with one training of each network, a last one that says what it lacks.

    Args:
        result: of `comparison.compare`.
    """
    lines = [_task_sentence(name, values) for name, values in result["tasks"].items()]
    gain = Interval(*result["gain"]["accuracy"])
    text = f"mean relative gain {gain_text(result['gain']['accuracy'])}"
    words = {"better": "a gain, ", "worse": "a loss, ", NO_VERDICT: ""}
    kind = verdict(gain, result["seeds"])
    lines.append(f"over all tasks: {kind if kind == NO_INTERVAL else words.get(kind, f'{kind}, ') + text}")
    if teachers := result.get("cost", {}).get("teachers"):
        seconds, own = teachers["training_seconds"], result["cost"]["shared"]["training_seconds"]
        lines.append(
            f"the networks for one task each taught it: their {seconds:,.0f} s come on top of its own {own:,.0f} s of "
            f"training, {(seconds + own) / max(seconds, 1e-9):.2f} times theirs in all"
        )
    if result["seeds"] > 1:
        return lines
    return [*lines, EACH_FOLD_ONCE if result.get("folds", 1) > 1 else ONE_TRAINING]


def _task_sentence(name: str, values: Mapping[str, Any]) -> str:
    mean, low, high = (100 * value for value in values["difference"]["accuracy"])
    evidence = f"on {values['n']:,} paintings; McNemar's p {p_value(values['mcnemar_p'])}"
    if values["verdict"] == NO_INTERVAL:
        return f"{name}: {mean:+.1f} points of accuracy for one network for all {evidence}; {NO_INTERVAL}"
    if values["verdict"] == NO_VERDICT:
        interval = ends_text(low, high)
        return f"{name}: {mean:+.1f} points of accuracy for one network for all ({interval}) {evidence}"
    words = {"better": "one network for all is better", "worse": "one network for all is worse"}
    line = f"{name}: {words.get(values['verdict'], values['verdict'])} "
    line += f"({ends_text(low, high)} points of accuracy {evidence})"
    if values["verdict"] in words and values["mcnemar_p"] > 0.05:
        line += ", which McNemar's test alone does not confirm"
    return line


def p_value(value: float) -> str:
    """A p for a table."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def text(result: Mapping[str, Any]) -> str:
    """The figures of `comparison.compare` as a table for the terminal, with the sentences of `verdicts` below."""
    width = max(20, *(len(name) + 2 for name in result["tasks"]))
    lines = []
    for statistic, label in STATISTIC_LABELS.items():
        lines.append(f"{f'{label} on test':<{width}}{'alone':>10}{'shared':>10}{'difference (95 % interval)':>32}")
        for name, values in result["tasks"].items():
            alone, shared = (100 * values[side][statistic][0] for side in ("alone", "shared"))
            mean, low, high = (100 * value for value in values["difference"][statistic])
            lines.append(f"{name:<{width}}{alone:>8.1f} %{shared:>8.1f} %{f'{mean:+.1f} ({ends_text(low, high)})':>32}")
    for label, key, form in COSTS:
        alone, shared = result["cost"]["alone"][key], result["cost"]["shared"][key]
        lines.append(
            f"{label:<{width}}{alone:>10{form}}{shared:>10{form}}{f'{shared / max(alone, 1e-9):.2f} of it':>32}"
        )
    return "\n".join([*lines, *verdicts(result)])


def strategies_text(results: Mapping[str, Mapping[str, Any]], first: str) -> str:
    """A line for each strategy: accuracies and macro-F1, gain over networks for one task and over the first strategy.

    Args:
        results: as of `comparison.study_table`.
        first: the strategy that the others were compared with.
    """
    return "\n\n".join(_strategies_table(results, first, statistic) for statistic in STATISTIC_LABELS)


def _strategies_table(results: Mapping[str, Mapping[str, Any]], first: str, statistic: str) -> str:
    names: Sequence[str] = list(results[first]["tasks"])
    widths = [max(10, len(name) + 2) for name in names]

    def cells(result: Mapping[str, Any], side: str) -> str:
        values = [100 * result["tasks"][name][side][statistic][0] for name in names]
        return "".join(f"{value:>{width - 2}.1f} %" for value, width in zip(values, widths, strict=True))

    heads = "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    lines = [f"{f'{STATISTIC_LABELS[statistic]} on test':<18}{heads}{'gain over alone':>28}{f'gain over {first}':>28}"]
    lines[0] += f"{'time':>7}"
    for strategy, result in results.items():
        line = f"{strategy:<18}{cells(result, 'shared')}{gain_text(result['gain'][statistic]):>28}"
        if "against" in result:
            gain = gain_text(result["against"]["gain"][statistic])
            lines.append(f"{line}{gain:>28}{result['against']['seconds']:>7.2f}")
        else:
            lines.append(f"{line}{'':>28}{1:>7.2f}")
    return "\n".join([*lines, f"{'each alone':<18}{cells(results[first], 'alone')}"])
