"""The words of a comparison: never more than its intervals say, for tasks of any name."""

from typing import Any

from painters_mtl.evaluation.intervals import NO_INTERVAL, NO_VERDICT
from painters_mtl.studies.summary import (
    ONE_TRAINING,
    STATISTIC_LABELS,
    ends_text,
    p_value,
    strategies_text,
    text,
    verdicts,
)

COST = {"parameters": 10.0, "training_seconds": 5.0, "updates": 4.0, "milliseconds": 0.5}


def comparison(seeds: int, verdict: str, low: float, p: float = 0.5) -> dict[str, Any]:
    """Of two tasks; the difference is 0.02, its interval begins at `low`."""
    difference = [0.02, low, 0.05]
    task = {
        "n": 1234, "verdict": verdict, "mcnemar_p": p, "difference": {"accuracy": difference, "macro_f1": difference},
        "alone": {"accuracy": [0.5, 0.4, 0.6], "macro_f1": [0.31, 0.2, 0.4]},
        "shared": {"accuracy": [0.52, 0.4, 0.6], "macro_f1": [0.33, 0.2, 0.4]},
    }  # fmt: skip
    gain = {"accuracy": [4.0, 100 * low, 10.0], "macro_f1": [6.0, 1.0, 11.0]}
    tasks = {"school": task, "century_of_the_frame": task}
    return {"seeds": seeds, "tasks": tasks, "gain": gain, "cost": {"alone": COST, "shared": COST}}


def test_several_trainings_get_their_verdict() -> None:
    lines = verdicts(comparison(3, "better", 0.01, p=0.01))
    assert lines[0] == (
        "school: one network for all is better (+1.0 to +5.0 points of accuracy on 1,234 paintings; McNemar's p 0.010)"
    )
    assert lines[-1] == "over all tasks: a gain, mean relative gain +4.0 % (+1.0 to +10.0 %)"
    assert verdicts(comparison(3, "better", 0.01, p=0.2))[0].endswith("which McNemar's test alone does not confirm")
    undecided = verdicts(comparison(3, "no difference shown", -0.01))
    assert undecided[0].startswith("school: no difference shown (-1.0 to +5.0 points")
    assert undecided[-1].startswith("over all tasks: no difference shown, mean relative gain")


def test_one_training_is_no_evidence_and_says_so() -> None:
    lines = verdicts(comparison(1, NO_VERDICT, 0.01, p=0.01))
    assert lines[0] == (
        "school: +2.0 points of accuracy for one network for all (+1.0 to +5.0) on 1,234 paintings; McNemar's p 0.010"
    )
    assert lines[-1] == ONE_TRAINING and "no evidence about the recipe" in ONE_TRAINING
    words = " ".join(lines)
    assert not any(word in words for word in ("better", "worse", "a gain", "a loss", "no difference shown"))


def test_without_an_interval_nothing_is_said_of_a_difference() -> None:
    lines = verdicts(comparison(3, NO_INTERVAL, float("nan"), p=0.01))
    assert lines[0] == (
        "school: +2.0 points of accuracy for one network for all on 1,234 paintings; McNemar's p 0.010; " + NO_INTERVAL
    )
    assert lines[-1] == f"over all tasks: {NO_INTERVAL}" and "nan" not in " ".join(lines)


def test_macro_f1_stands_beside_accuracy() -> None:
    table = text(comparison(2, "better", 0.01))
    assert "50.0 %    52.0 %" in table and "31.0 %    33.0 %" in table
    assert table.index("accuracy on test") < table.index("macro-F1 on test")
    first = comparison(2, "better", 0.01)
    both = strategies_text(
        {"joint": first, "dwa": first | {"against": {"gain": first["gain"], "seconds": 2.0}}}, "joint"
    )
    assert (
        both.count("each alone") == 2 and "52.0 %" in both and "33.0 %" in both and "+6.0 % (+1.0 to +11.0 %)" in both
    )
    assert all(len(line) < 160 for line in both.splitlines())


def test_a_gain_over_nothing_is_none() -> None:
    """Of few works a network for one task may have none right: a gain relative to 0 is no number."""
    nothing = comparison(2, NO_INTERVAL, float("nan")) | {"gain": dict.fromkeys(STATISTIC_LABELS, [float("nan")] * 3)}
    for seeds in (1, 2):
        told = text(nothing | {"seeds": seeds}) + strategies_text({"joint": nothing}, "joint")
        assert "nan" not in told and "no gain: what it is compared with has none right" in told


def test_numbers_of_people() -> None:
    assert ends_text(-0.44, 3.0) == "-0.4 to +3.0" and ends_text(1, 2, " %") == "+1.0 to +2.0 %"
    assert ends_text(float("nan"), float("nan")) == "no interval"
    assert p_value(0.0123) == "0.012" and p_value(1e-9) == "< 0.001"
