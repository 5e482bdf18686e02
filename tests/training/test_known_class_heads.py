"""The known-class heads: they tell works of the classes from others, and leave all else as it was."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers import PAINTERS, fitted, make_data, painter_probabilities, same_weights, tiny_settings, untrained_network
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from painters_mtl.data import dataset
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.evaluation.open_set import known_score
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.multitask import features_model, heads_model, with_multi_scale_heads
from painters_mtl.runs.run import open_run
from painters_mtl.training import known_class_heads
from painters_mtl.training.known_class_heads import add_known_class_heads


@pytest.fixture(scope="module")
def outer_two(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The painters with the least and the most red; "another" is the one between them."""
    out = tmp_path_factory.mktemp("known")
    paintings = make_data(out / "data", count=300, missing=0.1)
    return dataset.prepare(tiny_settings(paintings, out, painters=(PAINTERS[0], PAINTERS[2])))


def of_styles(like: Dataset, style: np.ndarray, painters: Sequence[str]) -> Dataset:
    """Works of styles 0 to 9, which are the classes, and of others: 600 train, 300 are validation, the rest test."""
    n, task = len(style), Task("style", tuple(f"style {k}" for k in range(10)))
    split = np.where(np.arange(n) < 600, "train", np.where(np.arange(n) < 900, "validation", "test")).astype(object)
    names = [f"style {k}" for k in style]
    table = pd.DataFrame({"id": np.arange(n).astype(str), "style": names, "painter": painters})
    labels, rows = {"style": task.encode(names)}, np.zeros(n, np.int64)
    return dataclasses.replace(like, table=table, tasks={"style": task}, labels=labels, split=split, image_rows=rows)


def told_apart(answers: np.ndarray, data: Dataset) -> float:
    """AUROC of an output (n, 2) for the test paintings whose painter is said."""
    known = data.known_class_task("painter")[1][data.rows("test")]
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert answers.min() >= 0 and answers.shape == (len(known), 2)
    return float(roc_auc_score(known[known >= 0], answers[known >= 0, 1]))


@pytest.mark.slow
def test_the_head_that_knows_the_painters_leaves_all_else_as_it_was(outer_two: Dataset, tmp_path: Path) -> None:
    model = untrained_network(outer_two)
    before, weights = painter_probabilities(model, outer_two, "test"), model.get_weights()
    found = add_known_class_heads(model, outer_two, outer_two.tasks, 0, FeatureExtractor(model, outer_two, 32))
    assert set(found.output) == {*outer_two.tasks, "painter_known"} and set(model.output) == set(outer_two.tasks)
    assert same_weights(weights, model.get_weights())
    rows = outer_two.image_rows[outer_two.rows("test")]
    outputs = predict_in_batches(forward_function(found, 32), outer_two.images.pixels, rows)
    np.testing.assert_array_equal(outputs["painter"], before)
    assert told_apart(outputs["painter_known"], outer_two) > 0.9
    again = add_known_class_heads(model, outer_two, outer_two.tasks, 0, FeatureExtractor(model, outer_two, 32))
    assert same_weights(found.get_weights(), again.get_weights())
    found.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    again = predict_in_batches(forward_function(loaded, 32), outer_two.images.pixels, rows)
    np.testing.assert_array_equal(again["painter_known"], outputs["painter_known"])


def test_it_finds_painters_that_no_plane_parts_from_others(outer_two: Dataset) -> None:
    """Features of which one says it: below and above are the two painters, between them all others."""
    model, known = untrained_network(outer_two), outer_two.known_class_task("painter")[1]
    rng = np.random.default_rng(0)
    channels = features_model(model).output.shape[-1]
    encoded = rng.normal(0, 0.1, (len(known), 2, channels)).astype(np.float32)
    level = np.where(known == 1, np.where(outer_two.labels["painter"] == 0, -1.0, 1.0), 0.0)
    encoded[..., 3] += level[:, None]
    encoded = 5 * encoded + 7  # as they come: neither centred nor scaled
    train, test = outer_two.rows("train"), outer_two.rows("test")
    said = train[known[train] >= 0]
    plane = LogisticRegression(max_iter=1000).fit(encoded[said, 0], known[said]).predict_proba(encoded[test, 0])
    assert told_apart(plane, outer_two) < 0.7
    heads = heads_model(
        add_known_class_heads(model, outer_two, outer_two.tasks, 0, FeatureExtractor(model, outer_two, 32, encoded))
    )
    assert told_apart(np.asarray(heads(encoded[test, 0])["painter_known"]), outer_two) > 0.9


def test_it_is_not_misled_by_what_the_last_map_has_learned_by_heart(outer_two: Dataset) -> None:
    """Of training works the last map says who is known, of others it says anything; the pyramid maps say it of all."""
    model = with_multi_scale_heads(untrained_network(outer_two), outer_two.tasks, tiny_settings(Path(), Path()))
    known, rng = outer_two.known_class_task("painter")[1] == 1, np.random.default_rng(0)
    last, channels = 64, features_model(model).output.shape[-1]
    assert channels > last + 10
    encoded = rng.normal(0, 0.2, (len(known), 1, channels)).astype(np.float32)
    by_heart = np.where(outer_two.split == "train", known, rng.random(len(known)) < 0.5)
    encoded[..., :last] += by_heart[:, None, None]
    encoded[..., last : last + 5] += known[:, None, None]
    extractor = FeatureExtractor(model, outer_two, 32, encoded)
    heads = heads_model(add_known_class_heads(model, outer_two, outer_two.tasks, 0, extractor))
    test = outer_two.rows("test")
    assert told_apart(np.asarray(heads(encoded[test, 0])["painter_known"]), outer_two) > 0.95


def test_it_reads_the_last_map_where_that_knows_more(outer_two: Dataset) -> None:
    """As in a large collection: the last map says of all works who is known, the pyramid maps say nothing."""
    model = with_multi_scale_heads(untrained_network(outer_two), outer_two.tasks, tiny_settings(Path(), Path()))
    known, rng = outer_two.known_class_task("painter")[1] == 1, np.random.default_rng(0)
    encoded = rng.normal(0, 0.2, (len(known), 1, features_model(model).output.shape[-1])).astype(np.float32)
    encoded[..., :5] += known[:, None, None]
    extractor = FeatureExtractor(model, outer_two, 32, encoded)
    heads = heads_model(add_known_class_heads(model, outer_two, outer_two.tasks, 0, extractor))
    test = outer_two.rows("test")
    assert told_apart(np.asarray(heads(encoded[test, 0])["painter_known"]), outer_two) > 0.95


def test_without_works_by_others_nobody_is_unknown(outer_two: Dataset) -> None:
    model = untrained_network(outer_two)
    table = outer_two.table.copy()
    table.loc[outer_two.labels["painter"] < 0, "painter"] = ""
    alone = dataclasses.replace(outer_two, table=table)
    assert add_known_class_heads(model, alone, alone.tasks, 0, FeatureExtractor(model, alone, 32)) is model


def test_where_others_are_of_one_kind_the_logits_say_who_is_known(outer_two: Dataset) -> None:
    """Ten classes, a single other kind: works of kinds that nobody has seen are told, though none was learned from."""
    rng = np.random.default_rng(0)
    classes, kinds, n = 10, 13, 1300
    kind = np.arange(n) % kinds  # 10 is in the data, 11 and 12 turn up later
    data = of_styles(outer_two, kind, [""] * n)
    data.split[(kind > classes) & (data.split != "test")] = ""
    model = untrained_network(data)
    channels = features_model(model).output.shape[-1]
    directions = np.linalg.qr(rng.normal(size=(channels, kinds)))[0].T
    encoded = (4 * directions[kind] + rng.normal(0, 0.5, (n, channels))).astype(np.float32)[:, None]
    model.get_layer("style").set_weights([directions[:classes].T.astype(np.float32), np.zeros(classes, np.float32)])
    with_head = add_known_class_heads(model, data, data.tasks, 0, FeatureExtractor(model, data, 32, encoded))
    assert with_head.get_layer("style_known_0").units == classes
    test = data.rows("test")
    outputs = {name: np.asarray(v) for name, v in heads_model(with_head)(encoded[test, 0]).items()}
    np.testing.assert_allclose(outputs["style_known"].sum(axis=1), 1, atol=1e-5)
    score = known_score(outputs["style"], outputs["style_known"])
    for other in (10, 11, 12):
        chosen = (kind[test] < classes) | (kind[test] == other)
        assert roc_auc_score(kind[test][chosen] < classes, score[chosen]) > 0.95
    # The logits' heights are standardised in validation: half of the known works have odds above 1.
    assert np.mean(outputs["style_known"][kind[test] < classes, 1] > 0.5) == pytest.approx(0.5, abs=0.15)


def test_painters_tell_what_the_classes_do_not(outer_two: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two painters to a style. An unknown work is half of each: as much of that style, but by no painter."""
    monkeypatch.setattr(known_class_heads, "FEWEST_PAINTERS", 20)
    rng = np.random.default_rng(0)
    classes, painters, n = 10, 20, 1200
    painter, other = np.arange(n) % painters, np.arange(n) % 61 == 0  # a few works of a style that is none of the ten
    style = np.where(other, classes, painter // 2)
    data = of_styles(outer_two, style, [f"painter {k}" for k in painter])
    model = untrained_network(data)
    channels = features_model(model).output.shape[-1]
    directions = np.linalg.qr(rng.normal(size=(channels, painters)))[0].T
    encoded = (4 * directions[painter] + rng.normal(0, 0.3, (n, channels))).astype(np.float32)[:, None]
    in_style = directions.reshape(classes, 2, channels).sum(axis=1)
    model.get_layer("style").set_weights([in_style.T.astype(np.float32), np.zeros(classes, np.float32)])

    def with_head(data: Dataset) -> keras.Model:
        return add_known_class_heads(model, data, data.tasks, 0, FeatureExtractor(model, data, 32, encoded))

    def auroc(network: keras.Model) -> float:
        test = data.rows("test")[~other[data.rows("test")]]
        unknown = 2 * in_style[style[test]] + rng.normal(0, 0.3, (len(test), channels))
        head = heads_model(network)(np.concatenate([encoded[test, 0], unknown]).astype(np.float32))
        score = known_score(np.asarray(head["style"]), np.asarray(head["style_known"]))
        return float(roc_auc_score(np.arange(len(score)) < len(test), score))

    assert auroc(with_head(dataclasses.replace(data, table=data.table.assign(painter="")))) < 0.7
    network = with_head(data)
    assert auroc(network) > 0.95
    assert network.get_layer("style_known_painters").units == painters
    chosen = data.rows("validation")[data.labels["style"][data.rows("validation")] >= 0]
    odds = np.asarray(heads_model(network)(encoded[chosen, 0])["style_known"], np.float64)
    log_odds = np.log(odds[:, 1] / odds[:, 0])
    assert log_odds.mean() == pytest.approx(0, abs=0.01)
    assert log_odds.std() == pytest.approx(known_class_heads.STEEPNESS, rel=0.01)


def test_which_painters_are_read(outer_two: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of most works of the classes, from 10 on, at most so many; and only where validation works are theirs."""
    monkeypatch.setattr(known_class_heads, "FEWEST_PAINTERS", 2)
    monkeypatch.setattr(known_class_heads, "MOST_PAINTERS", 3)

    def chosen(works: dict[str, int], validation: Sequence[str], outside: dict[str, int] | None = None) -> list[str]:
        painters = [name for counts in (works, outside or {}) for name, count in counts.items() for _ in range(count)]
        known = [1] * sum(works.values()) + [0] * sum((outside or {}).values()) + [1] * len(validation)
        table = pd.DataFrame({"painter": [*painters, *validation]})
        split = np.array(["train"] * len(painters) + ["validation"] * len(validation), object)
        labels = {"style": np.array(known, np.int32) - 1}
        data = dataclasses.replace(outer_two, table=table, labels=labels, split=split)
        return known_class_heads._painters(data, "style", np.array(known))

    assert chosen({"d": 10, "b": 11, "c": 9, "": 40}, ["b", "d"]) == ["b", "d"]
    assert chosen({"e": 10, "d": 10, "c": 10, "b": 10, "f": 11}, ["b", "f"]) == ["b", "c", "f"]
    assert chosen({"b": 10, "c": 10, "d": 9}, ["b", "c"], outside={"d": 1, "e": 20}) == ["b", "c"]
    assert chosen({"b": 10, "c": 9}, ["b"]) == []
    assert chosen({"b": 10, "c": 10}, ["b", "x"]) == ["b", "c"]
    assert chosen({"b": 10, "c": 10}, ["b", "x", "", "y"]) == []


def test_works_of_many_other_kinds_are_learned_from(outer_two: Dataset) -> None:
    """What no logit shows: a channel that the classes do not differ in says who is known."""
    kinds = np.array([f"other {k % 7}" for k in range(len(outer_two.table))], object)
    table = outer_two.table.copy()
    others = np.flatnonzero((outer_two.labels["painter"] < 0) & (table["painter"] != ""))
    table.loc[others, "painter"] = kinds[others]
    data = dataclasses.replace(outer_two, table=table)
    model, known = untrained_network(data), data.known_class_task("painter")[1]
    rng = np.random.default_rng(0)
    encoded = rng.normal(0, 0.3, (len(known), 1, features_model(model).output.shape[-1])).astype(np.float32)
    encoded[:, 0, 5] += 2.0 * (known == 1)
    found = add_known_class_heads(model, data, data.tasks, 0, FeatureExtractor(model, data, 32, encoded))
    assert set(found.output) == {*data.tasks, "painter_known"}  # nothing is outside the styles and genres
    test = data.rows("test")
    assert told_apart(np.asarray(heads_model(found)(encoded[test, 0])["painter_known"]), data) > 0.9


def test_a_run_that_leaves_it_out_has_three_heads(tmp_path: Path) -> None:
    settings = tiny_settings(
        make_data(tmp_path / "data", count=120), tmp_path, epochs=1, baselines=False, painter_known=True
    )
    _, outcome, folder = fitted(settings)
    assert set(open_run(folder).model().output) == {"painter", "style", "genre", "painter_known"}
    _, without, other = fitted(dataclasses.replace(settings, name="without", painter_known=False))
    assert set(open_run(other).model().output) == {"painter", "style", "genre"}
    for task in ("painter", "style", "genre"):  # it moves nothing else
        np.testing.assert_array_equal(outcome.test_probabilities[task], without.test_probabilities[task])
