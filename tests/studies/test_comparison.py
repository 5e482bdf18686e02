"""From results of trainings to a comparison: what is put together, by whom the works are, what the table holds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_results import collection, result
from sklearn.metrics import accuracy_score, f1_score

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.intervals import NO_VERDICT
from painters_mtl.studies.comparison import (
    SeedResults,
    compare,
    compare_strategies,
    painter_numbers,
    study_table,
    task_predictions,
)

CLASSES = {"school": ("North", "South", "East"), "century": ("16th", "17th")}


def sides(data: Dataset, seeds: int, skill: float = 0.9) -> tuple[SeedResults, dict[str, SeedResults]]:
    shared = [[result(data, list(CLASSES), skill, seed)] for seed in range(seeds)]
    alone = {name: [[result(data, [name], 0.6, seed + 100)] for seed in range(seeds)] for name in CLASSES}
    return shared, alone


def test_painters_are_numbered_and_unknown_ones_by_their_group() -> None:
    data = collection(CLASSES, n=6)
    data.table["painter"] = ["A", "", "B", "A", "", ""]
    numbers = painter_numbers(replace(data, groups=np.array([0, 1, 2, 0, 1, 3])))
    assert numbers[0] == numbers[3] != numbers[2]
    assert numbers[1] == numbers[4] != numbers[5] and len(set(numbers)) == 4


def test_a_comparison_is_what_scikit_learn_says_of_its_predictions() -> None:
    data = collection(CLASSES, n=1200, painters=60)
    shared, alone = sides(data, 3)
    figures = compare(data, shared, alone, [1.0, 2.0, 3.0])
    for name in CLASSES:
        labels = data.labels[name][data.rows("test")]
        known = labels >= 0
        for side, results in (("shared", shared), ("alone", alone[name])):
            predicted = [folds[0].test_probabilities[name].argmax(axis=1)[known] for folds in results]
            values = figures["tasks"][name][side]
            assert values["accuracy"][0] == pytest.approx(
                np.mean([accuracy_score(labels[known], p) for p in predicted])
            )
            f1 = [f1_score(labels[known], p, average="macro") for p in predicted]
            assert values["macro_f1"][0] == pytest.approx(np.mean(f1), abs=1e-6)
        assert figures["tasks"][name]["verdict"] == "better" and figures["tasks"][name]["n"] == known.sum()
        assert "painters" in figures["tasks"][name]["drawn"]
    assert figures["seeds"] == 3 and figures["cost"]["alone"]["milliseconds"] == 5.0
    assert figures["cost"]["shared"]["training_seconds"] == pytest.approx(11.0)
    assert figures["gain"]["accuracy"][1] > 0


def test_one_training_has_its_difference_and_no_verdict() -> None:
    data = collection(CLASSES, n=1200, painters=60)
    figures = compare(data, *sides(data, 1), [1.0, 2.0, 3.0])
    for values in figures["tasks"].values():
        mean, low, high = values["difference"]["accuracy"]
        assert 0 < low < mean < high and values["verdict"] == NO_VERDICT


def test_the_interval_of_a_share_ends_at_one() -> None:
    """The spread of two seeds, one nearly perfect and one at random, is wider than what is left above their mean."""
    data = collection(CLASSES)
    shared = [[result(data, list(CLASSES), skill, seed)] for seed, skill in enumerate((0.99, 0.3))]
    alone = {name: [[result(data, [name], skill, 9)] for skill in (0.99, 0.3)] for name in CLASSES}
    for values in compare(data, shared, alone, [1.0, 1.0, 1.0])["tasks"].values():
        for side in ("alone", "shared"):
            for mean, low, high in values[side].values():
                assert 0 <= low < mean < high <= 1
            assert values[side]["accuracy"][2] == 1


def test_folds_of_a_seed_are_one_set_of_test_paintings() -> None:
    data = collection(CLASSES)
    rows = np.arange(len(data.table))
    folds = [[result(data, list(CLASSES), 0.9, 10 * s + k, rows[k::3]) for k in range(3)] for s in range(2)]
    side = task_predictions(data, "school", folds)
    assert side.predicted.shape == (2, (data.labels["school"] >= 0).sum())
    assert sorted(side.paintings) == np.flatnonzero(data.labels["school"] >= 0).tolist()
    np.testing.assert_array_equal(side.labels, data.labels["school"][side.paintings])
    assert side.right().mean() > 0.8


def test_the_table_holds_what_the_figures_hold() -> None:
    data = collection(CLASSES)
    shared, alone = sides(data, 2)
    results = {"joint": compare(data, shared, alone, [1.0, 1.0, 1.0])}
    better = [[result(data, list(CLASSES), 1.0, seed)] for seed in range(2)]
    against = compare_strategies(data, better, shared, list(CLASSES))
    results["pcgrad"] = compare(data, better, alone, [1.0, 1.0, 1.0]) | {"against": against}
    table = study_table(results)
    assert len(table) == 2 * (2 * len(CLASSES) + 2)
    row = table[
        (table["strategy"] == "pcgrad") & (table["task"] == "school") & (table["statistic"] == "macro_f1")
    ].iloc[0]
    triple = [row["against_first"], row["against_first_low"], row["against_first_high"]]
    assert triple == against["tasks"]["school"]["macro_f1"] and triple[0] > 0
    assert table[table["strategy"] == "joint"]["against_first"].isna().all()
    assert against["seconds"] == pytest.approx(1.0)


def test_each_statistic_has_the_verdict_of_its_own_interval() -> None:
    def values(accuracy: list[float], macro_f1: list[float]) -> dict[str, Any]:
        shares = {"accuracy": [0.5, 0.4, 0.6], "macro_f1": [0.5, 0.4, 0.6]}
        difference = {"accuracy": accuracy, "macro_f1": macro_f1}
        return {"n": 9, "mcnemar_p": 0.3, "alone": shares, "shared": shares, "difference": difference}

    unsure, better = [0.01, -0.01, 0.03], [0.05, 0.03, 0.07]
    tasks = {"school": values(unsure, better), "century": values(better, unsure)}
    table = study_table({"joint": {"seeds": 5, "tasks": tasks, "gain": {"accuracy": unsure, "macro_f1": unsure}}})
    found = {(row.task, row.statistic): row.verdict for row in table[:4].itertuples()}
    assert found["school", "accuracy"] == found["century", "macro_f1"] == "no difference shown"
    assert found["school", "macro_f1"] == found["century", "accuracy"] == "better"
    assert table[:4]["mcnemar_p"].notna().tolist() == [True, False] * 2  # it is a test of accuracy
