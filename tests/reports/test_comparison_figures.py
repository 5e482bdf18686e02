"""Figures of a comparison: what they show are its numbers."""

from typing import Any

import numpy as np
import pytest
from made_results import collection, result

from painters_mtl.evaluation.intervals import NO_VERDICT
from painters_mtl.reports import comparison_figures as figures
from painters_mtl.reports.study_report import trainings
from painters_mtl.studies.comparison import compare
from painters_mtl.studies.settings import CompareSettings

CLASSES = {"school": ("North", "South", "East"), "century": ("16th", "17th")}


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    data = collection(CLASSES)
    alone = {name: [[result(data, [name], 0.5, 9)]] for name in CLASSES}
    return compare(data, [[result(data, list(CLASSES), 0.8)]], alone, [1.0, 1.0, 1.0])


def test_differences_show_accuracy_and_macro_f1_with_their_intervals(comparison: dict[str, Any]) -> None:
    axis = figures.differences_figure({"": comparison}).axes[0]
    names = {"school", "century", "mean relative gain"}
    assert names == {text.get_text() for text in axis.texts} & names
    drawn = [list(line.get_xdata()) for line in axis.lines if len(line.get_xdata()) == 2]
    for task in CLASSES:
        for statistic in ("accuracy", "macro_f1"):
            _, low, high = comparison["tasks"][task]["difference"][statistic]
            assert [pytest.approx(100 * low), pytest.approx(100 * high)] in drawn
    assert [pytest.approx(end) for end in comparison["gain"]["macro_f1"][1:]] in drawn
    several = figures.differences_figure({"joint": comparison, "dwa": comparison}).axes[0]
    assert "school, dwa" in [text.get_text() for text in several.texts]


def test_a_difference_without_verdict_is_neither_green_nor_red(comparison: dict[str, Any]) -> None:
    assert comparison["tasks"]["school"]["verdict"] == NO_VERDICT
    colours = {line.get_color() for line in figures.differences_figure({"": comparison}).axes[0].lines}
    assert not colours & set(figures.COLOURS.values())


def test_f1_shows_the_largest_gains_and_losses_of_many_classes() -> None:
    rng = np.random.default_rng(0)
    alone = rng.random(300)
    shared = alone + np.where(np.arange(300) < 10, 0.5, np.where(np.arange(300) < 20, -0.5, rng.normal(0, 0.01, 300)))
    f1 = {"alone": [*alone.tolist(), None], "shared": [*shared.tolist(), None]}
    axis = figures.f1_figure(f1, [f"class {k}" for k in range(301)]).axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert len(names) == 2 * figures.MOST_F1
    assert {f"class {k}" for k in range(10, 20)} == set(names[:10]) and {f"class {k}" for k in range(10)} == set(
        names[-10:]
    )


def test_agreement_adds_up_to_all_paintings(comparison: dict[str, Any]) -> None:
    shares = {name: values["agreement"] for name, values in comparison["tasks"].items()}
    axis = figures.agreement_figure(shares).axes[0]
    assert len(axis.patches) == 4 * len(CLASSES)
    assert sum(bar.get_width() for bar in axis.patches) == pytest.approx(100 * len(CLASSES))


def test_the_confusions_of_a_side_are_those_of_all_seeds() -> None:
    data = collection(CLASSES)
    seeds = [[result(data, ["school"], 0.7, seed)] for seed in range(3)]
    axis = figures.side_confusion_figure(data, "school", seeds).axes[0]
    labelled = (data.labels["school"][data.rows("test")] >= 0).sum()
    assert sum(int(text.get_text()) for text in axis.texts) == 3 * labelled


def test_each_statistic_has_the_colour_of_its_own_interval() -> None:
    unsure, better = [0.01, -0.01, 0.03], [0.05, 0.03, 0.07]
    tasks = {"school": {"difference": {"accuracy": unsure, "macro_f1": better}, "verdict": "no difference shown"}}
    result = {"seeds": 5, "tasks": tasks, "gain": {"accuracy": unsure, "macro_f1": unsure}}
    lines = [line for line in figures.differences_figure({"": result}).axes[0].lines if len(line.get_xdata()) == 2]
    colours = {tuple(np.round(line.get_xdata(), 6)): line.get_color() for line in lines}
    assert colours[-1.0, 3.0] == figures.UNDECIDED and colours[3.0, 7.0] == figures.COLOURS["better"]


def test_trainings_of_a_study_have_the_numbers_of_their_seeds() -> None:
    """On a cluster the trainings of one seed may be left out where it was stopped, and not those of the next."""
    data = collection(CLASSES)
    sides = {name: [[result(data, list(CLASSES), 0.5, seed)] for seed in (4, 6)] for name in ("joint", "school")}
    for of_seed in (*sides["joint"], *sides["school"]):
        of_seed[0].metrics.update(test={}, epochs=2)
    lines = trainings(sides, [4, 6], CompareSettings(seed=4, seeds=3), ["school", "century"])
    assert [line["folder"] for line in lines[:2]] == ["runs/seed4/joint", "runs/seed6/joint"]
    assert [line["seed"] for line in lines] == ["4", "6", "4", "6"]
