"""Same painter or not: AUC and its intervals, exact scores, the learned head, and the tables in and out."""

import csv
import itertools
import json
import math
import os
import shutil
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import picture, python, read_rows, small_network, trained
from PIL import Image
from sklearn.metrics import roc_auc_score

from painters_mtl import pairs
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.images import files as images
from painters_mtl.inference import painter_pairs, pair_tables
from painters_mtl.inference.nearest import unit_vectors
from painters_mtl.inference.painter_pairs import (
    UPDATES,
    PainterHead,
    inner_products,
    round_to_grid,
    score_vectors,
    softmax,
)
from painters_mtl.inference.pair_auc import Pairs, auc, auc_draws, draw_painters, intervals
from painters_mtl.inference.pair_auc import table as pair_table
from painters_mtl.inference.pair_scoring import (
    LabelledPairs,
    PairVectors,
    print_auc,
    trained_painters,
    trained_works,
    write_scores,
)
from painters_mtl.inference.pair_tables import images_by_name, match_names, read_painters, read_pairs, survey_pairs
from painters_mtl.network.linear_head import FitSettings, fit_linear_head
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.run import Run, open_run, save_labels, save_model
from painters_mtl.training.settings import TrainSettings

# ------------------------------------------------------------------------------------------------- AUC


def drawn_pairs(rng: np.random.Generator, n: int = 400, painters: int = 6) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(painters, size=n), rng.integers(painters, size=n)


@pytest.mark.parametrize("levels", [2, 5, 10**9])
def test_auc_is_that_of_scikit_learn(levels: int) -> None:
    """With many ties, with few, and with none."""
    rng = np.random.default_rng(levels)
    for _ in range(20):
        one, other = drawn_pairs(rng)
        scores = (rng.integers(levels, size=400) + levels // 3 * (one == other)) / levels
        assert auc(scores, one, other)[0] == pytest.approx(roc_auc_score(one == other, scores), abs=1e-12)


def test_auc_of_draws_is_that_of_weighted_pairs() -> None:
    """A pair by one painter counts as often as the painter, one by two as often as both: exact, in whole numbers."""
    rng = np.random.default_rng(0)
    one, other = drawn_pairs(rng)
    scores = rng.integers(8, size=400) / 8
    times = draw_painters(6, 10, seed=1)
    assert times.shape == (11, 6) and (times[0] == 1).all() and (times.sum(axis=1) == 6).all()
    found = auc(scores, one, other, times)
    for counts, value in zip(times, found, strict=True):
        weights = np.where(one == other, counts[one], counts[one] * counts[other])
        assert value == pytest.approx(roc_auc_score(one == other, scores, sample_weight=weights), abs=1e-12)


def test_auc_by_counting_every_two_pairs() -> None:
    one, other, scores = np.array([0, 0, 1, 2, 1]), np.array([0, 1, 1, 0, 2]), np.array([0.5, 0.5, 0.9, 0.1, 0.95])
    won = [Fraction(1, 2), 1, 0, 1, 1, 0]  # pairs 0 and 2 are by one painter, pairs 1, 3 and 4 are not
    assert auc(scores, one, other)[0] == pytest.approx(float(sum(won) / Fraction(6)))


def test_without_both_kinds_there_is_no_auc() -> None:
    scores, two = np.array([0.1, 0.2]), np.array([0, 1])
    assert np.isnan(auc(scores, two, two)).all() and np.isnan(auc(scores, two, 1 - two)).all()
    assert np.isnan(auc(scores[:0], two[:0], two[:0])).all()


def test_the_groups_of_the_competition() -> None:
    """Painters 0 and 1 were seen, 2 and 3 were not; a pair of both kinds is in "all" only."""
    one, other = np.triu_indices(4)
    found = Pairs(one, other, np.array([True, True, False, False]))
    said = {
        name: set(zip(one[found.group(name)], other[found.group(name)], strict=True)) for name in ("seen", "unseen")
    }
    assert said == {"seen": {(0, 0), (0, 1), (1, 1)}, "unseen": {(2, 2), (2, 3), (3, 3)}}
    assert found.group("all").all()


def test_a_difference_is_of_the_same_draws() -> None:
    rng = np.random.default_rng(3)
    one, other = drawn_pairs(rng, 2000, 20)
    pairs, scores = Pairs(one, other, np.ones(20, bool)), rng.random(2000) + 0.3 * (one == other)
    first, second = (auc_draws(s, pairs, 50) for s in (scores, np.exp(scores)))  # the order is the same
    assert intervals(first, pairs, second)["all"].mean == intervals(first, pairs, second)["all"].high == 0
    value = intervals(first, pairs)["seen"]
    assert value.low < value.mean < value.high and np.isnan(intervals(first, pairs)["unseen"].mean)


def test_from_two_painters_there_is_no_interval() -> None:
    """Whoever is drawn of two: there is the same pair of painters, or no pair of two painters at all."""
    rng = np.random.default_rng(3)
    for painters in (2, 3):
        pairs = Pairs(*drawn_pairs(rng, 400, painters), np.ones(painters, bool))
        draws = auc_draws(rng.random(400) + 0.3 * (pairs.one == pairs.other), pairs, 50)
        found = intervals(draws, pairs)
        assert np.isfinite(found["all"].mean) and np.isfinite(found["all"].low) == (painters > 2)
        assert ("too few painters" in pair_table(found, pairs)) == (painters == 2)


@pytest.mark.slow
@pytest.mark.parametrize("painters", [5, 40])
def test_the_interval_holds_the_truth_as_often_as_it_says(painters: int) -> None:
    """Painters are points in a plane, works lie around them: 100 collections of painters with 4 works each."""

    def collection(rng: np.random.Generator, painters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        works = np.repeat(rng.normal(size=(painters, 2)), 4, axis=0) + 0.8 * rng.normal(size=(4 * painters, 2))
        first, second = np.triu_indices(len(works), 1)
        return -np.linalg.norm(works[first] - works[second], axis=1), first // 4, second // 4

    rng = np.random.default_rng(0)
    truth = np.mean([auc(*collection(rng, 300))[0] for _ in range(5)])
    held = 0
    for _ in range(100):
        scores, one, other = collection(rng, painters)
        pairs = Pairs(one, other, np.ones(painters, bool))
        value = intervals(auc_draws(scores, pairs, 150), pairs)["all"]
        held += value.low <= truth <= value.high
    assert 0.88 <= held / 100 <= 1


# ------------------------------------------------------------------------------------------------- scores


def test_scores_are_exact() -> None:
    """The inner product in whole numbers, whatever is added first."""
    rng = np.random.default_rng(0)
    for vectors in (softmax(5 * rng.normal(size=(5, 300))), unit_vectors(rng.normal(size=(5, 300)))):
        grid = round_to_grid(vectors)
        assert np.abs(grid - vectors).max() <= 2.0**-27
        first, second = np.triu_indices(5)
        for a, b, score in zip(first, second, inner_products(grid, first, second), strict=True):
            exact = sum(Fraction(x) * Fraction(y) for x, y in zip(grid[a].tolist(), grid[b].tolist(), strict=True))
            assert Fraction(score) == exact and score == math.fsum(grid[a] * grid[b])


def test_blocks_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(1)
    vectors = round_to_grid(softmax(3 * rng.normal(size=(200, 77))))
    first, second = rng.integers(200, size=(2, 9000))
    whole = inner_products(vectors, first, second)
    for size in (1, 7, 1000, 8999):  # few pairs of many pictures go another way than many pairs of few
        parts = [
            inner_products(vectors, first[k : k + size], second[k : k + size])
            for k in range(0, min(9000, 300 * size), size)
        ]
        together = np.concatenate(parts)
        assert (together == whole[: len(together)]).all()
    assert (inner_products(vectors, second, first) == whole).all()
    assert np.abs(whole - np.einsum("nc,nc->n", vectors[first], vectors[second])).max() == 0


def test_the_product_is_the_chance_that_two_draws_agree() -> None:
    probabilities = softmax(np.random.default_rng(2).normal(size=(6, 4)))
    head = PainterHead(np.eye(4, dtype=np.float32), np.zeros(4, np.float32), 1.0, tuple("abcd"), {})
    run = Run(Path(), {"painter": Task("painter", ("x", "y"))}, 32, 40, False, {})
    vectors = score_vectors("learned", np.log(probabilities).astype(np.float32), run, head)
    for a, b in itertools.product(range(6), repeat=2):
        agree = 0.0
        for k in range(4):
            agree += probabilities[a, k] * probabilities[b, k]
        assert inner_products(vectors, np.array([a]), np.array([b]))[0] == pytest.approx(agree, abs=1e-6)
    nothing = [inner_products(vectors, np.array([a]), np.array([6]))[0] for a in range(6)]  # the last: nothing known
    on_average = [np.mean([probabilities[a] @ probabilities[b] for b in range(6)]) for a in range(6)]
    assert nothing == pytest.approx(on_average, abs=1e-6)


def test_the_cosine_is_the_cosine() -> None:
    from scipy.spatial.distance import cosine

    features = np.random.default_rng(3).normal(size=(5, 9)).astype(np.float32)
    features[4] = 0
    vectors = score_vectors("cosine", features, Run(Path(), {}, 32, 40, False, {}), None)
    for a, b in itertools.combinations(range(4), 2):
        found = inner_products(vectors, np.array([a]), np.array([b]))[0]
        assert found == pytest.approx(1 - cosine(features[a], features[b]), abs=1e-6)
    assert inner_products(vectors, np.array([4]), np.array([0]))[0] == 0


# ------------------------------------------------------------------------------------------------- the learned head


def test_the_head_tells_as_much_as_the_posterior_of_gaussians() -> None:
    """Painters that are Gaussian clouds of one shape: the best softmax is linear and known in closed form."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(10, 48)) * 0.6
    labels, unseen = rng.integers(10, size=2000), rng.integers(10, size=300)
    spread = np.linspace(0.5, 1.5, 48)
    works = (means[labels] + spread * rng.normal(size=(2000, 48))).astype(np.float32)
    kernel, bias = fit_linear_head(works[:, None], labels, 10, FitSettings(UPDATES))
    new = means[unseen] + spread * rng.normal(size=(300, 48))
    weights = means / spread**2
    exact = softmax(new @ weights.T - 0.5 * (means * weights).sum(axis=1))
    first, second = np.triu_indices(300, 1)

    def worth(probabilities: np.ndarray) -> float:
        return auc(inner_products(round_to_grid(probabilities), first, second), unseen[first], unseen[second])[0]

    assert worth(softmax(new @ kernel + bias)) > worth(exact) - 0.02 > 0.9
    # It stands behind no preprocessing: what shifts and scales all features changes nothing.
    moved = fit_linear_head(4 * works[:, None] + 16, labels, 10, FitSettings(UPDATES))
    assert softmax((4 * new + 16) @ moved[0] + moved[1]) == pytest.approx(softmax(new @ kernel + bias), abs=2e-3)


def test_few_paintings_are_enough_for_a_head() -> None:
    features = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    kernel, bias = fit_linear_head(
        np.stack([features, features], axis=1), np.repeat([0, 1], 5), 2, FitSettings(UPDATES)
    )
    assert (softmax(features @ kernel + bias).argmax(axis=1) == np.repeat([0, 1], 5)).all()


@pytest.mark.parametrize(("unseen", "best"), [(20, "cosine"), (0, "learned"), (6, "learned")])
def test_the_score_is_chosen_by_painters_in_training_and_by_those_kept_out(unseen: int, best: str) -> None:
    """The head knows five painters by a channel each, and is blind to the two by which it could tell unseen ones."""
    rng = np.random.default_rng(0)
    names = np.array([f"p{k % 5}" for k in range(100)] + [f"unseen {k % 2}" for k in range(unseen)], object)
    features = rng.normal(0, 0.2, (len(names), 7)).astype(np.float32)
    for k, name in enumerate(names):
        features[k, 5 + int(name[-1]) if name.startswith("u") else int(name[-1])] += 2
    features[:100, 5:] += rng.normal(0, 2, (100, 2))  # which only disturbs the cosine of the five
    split = np.array(["train", "validation"], object)[(np.arange(len(names)) >= 50).astype(int)]
    table = pd.DataFrame({"painter": names})
    data = Dataset(table, {}, {}, split, None, np.arange(len(names)))  # type: ignore[arg-type]
    kernel = np.vstack([4 * np.eye(5), np.zeros((2, 5))]).astype(np.float32)
    head = PainterHead(kernel, np.zeros(5, np.float32), 1.0, tuple(f"p{k}" for k in range(5)), {})
    run = Run(Path(), {}, 32, 40, False, {})
    found = painter_pairs.choose(run, head, features, data)
    assert found.best == best and found.temperature in painter_pairs.TEMPERATURES
    auc_of_seen, auc_of_unseen, _ = found.validation["learned"]
    assert auc_of_seen > 0.95 > found.validation["cosine"][0]
    if unseen == 20:  # 2 x 45 pairs by one of them
        first, second = np.triu_indices(20, 1)
        by_hand = roc_auc_score(
            names[100:][first] == names[100:][second],
            (unit_vectors(features[100:]) @ unit_vectors(features[100:]).T)[first, second],
        )
        assert found.validation["cosine"][1] == pytest.approx(by_hand, abs=1e-9) and by_hand > 0.95 > auc_of_unseen
    else:  # six make 6 pairs by one painter: chance
        assert np.isnan(auc_of_unseen)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    return trained(tmp_path_factory)


@pytest.fixture
def run(trained_run: tuple[Path, TrainSettings], tmp_path: Path) -> Run:
    """A copy of the run that other tests use too."""
    return open_run(shutil.copytree(trained_run[0], tmp_path / "run"))


def test_a_head_is_saved_and_loaded(run: Run) -> None:
    rng = np.random.default_rng(0)
    validation = {"learned": (0.8, 0.7, 0.79), "cosine": (0.9, 0.5, 0.85), "product": (0.7, float("nan"), 0.7)}
    head = PainterHead(
        rng.normal(size=(8, 3)).astype(np.float32), np.zeros(3, np.float32), 1.5, ("Ada", 'Bo "B"', "Cy é"), validation
    )
    assert head.best == "learned"  # 0.75 against 0.7 and 0.7
    assert painter_pairs.load_head(run) is None
    painter_pairs.save_head(head, run)
    back = painter_pairs.load_head(run)
    assert back is not None and (back.kernel == head.kernel).all() and back.temperature == 1.5
    assert back.painters == head.painters and str(back.validation) == str(head.validation)
    file = run.folder / painter_pairs.HEAD
    data = file.read_bytes()
    for damaged in (b"", data[: len(data) // 2], b"no head", data[:200] + bytes(200) + data[400:]):
        file.write_bytes(damaged)
        assert painter_pairs.load_head(run) is None
    file.write_bytes(data)
    other = open_run(run.folder)
    shutil.copy(_other_network(run), run.folder / "model.keras")
    assert painter_pairs.load_head(other) is None  # it belongs to another network


def _other_network(run: Run) -> Path:
    model = run.model()
    model.layers[-1].set_weights([w + 1 for w in model.layers[-1].get_weights()])
    model.save(run.folder.parent / "other.keras")
    return run.folder.parent / "other.keras"


# ------------------------------------------------------------------------------------------------- the verb


@pytest.fixture(scope="module")
def paintings_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 pictures, half of them red, half of them not."""
    folder, rng = tmp_path_factory.mktemp("test"), np.random.default_rng(5)
    for k in range(12):
        Image.fromarray(picture((215 if k % 2 else 35, 125, 125), rng)).save(folder / f"{k}.png")
    return folder


def scored(run: Run, images_: Path, output: Path, *more: object, status: int = 0) -> list[dict[str, str]]:
    words = ["--model", run.folder, "--images", images_, "--output", output, "--cache", output.parent / "cache", *more]
    assert pairs.main([str(word) for word in words]) == status
    return read_rows(output)


def table(file: Path, rows: list[tuple[object, ...]], header: str = "index,image1,image2") -> Path:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerows([header.split(","), *rows])
    return file


def test_a_submission_has_a_row_for_each_pair_in_order(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"{7 * k:04d}", f"{a}.png", f"{b}.png") for k, (a, b) in enumerate(rng.integers(12, size=(50, 2)))]
    wanted = table(tmp_path / "pairs.csv", [*rows, ('a "b", c', "0.png", "1.png")])
    found = scored(run, paintings_of_two, tmp_path / "out.csv", "--pairs", wanted, "--score", "cosine")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "index,sameArtist"
    assert [r["index"] for r in found] == [row[0] for row in rows] + ['a "b", c']
    every = scored(run, paintings_of_two, tmp_path / "all.csv", "--score", "cosine")
    assert [(r["image1"], r["image2"]) for r in every] == [
        (f"{a}.png", f"{b}.png") for a, b in itertools.combinations(range(12), 2)
    ]
    said = {frozenset((r["image1"], r["image2"])): r["sameArtist"] for r in every}
    for (_, one, other), row in zip(rows, found, strict=False):
        wanted_score = said.get(frozenset((one, other)), "1")  # the cosine of a picture with itself
        assert float(row["sameArtist"]) == pytest.approx(float(wanted_score), abs=1e-6)
        assert one == other or row["sameArtist"] == wanted_score


def test_the_product_is_that_of_what_predict_says(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    from painters_mtl.inference.predictor import label

    found = scored(run, paintings_of_two, tmp_path / "out.csv", "--score", "product")
    told = {one.file.name: one.probabilities for one in label(run, images.find_images(paintings_of_two))}
    for row in found:
        p, q = (told[row[name]]["painter"].tolist() for name in ("image1", "image2"))  # type: ignore[index]
        agree = 0.0
        for k in range(len(p)):
            agree += p[k] * q[k]
        assert float(row["sameArtist"]) == pytest.approx(agree, abs=2e-5)


def test_the_learned_score_tells_the_colours_apart(
    run: Run,
    trained_run: tuple[Path, TrainSettings],
    paintings_of_two: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Red told the painter. The head is learned once, from the paintings of the training, and then kept."""
    labels = table(tmp_path / "labels.csv", [(f"{k}.png", f"P{k % 2}") for k in range(12)], "filename,painter")
    more = ("--score", "learned", "--labels", labels)
    found = scored(run, paintings_of_two, tmp_path / "out.csv", *more)
    said = capsys.readouterr().out
    assert all(f"score {name}, validation: AUC" in said for name in ("learned", "product", "cosine"))
    same = [(int(r["image1"][:-4]) - int(r["image2"][:-4])) % 2 == 0 for r in found]
    value = roc_auc_score(same, [float(r["sameArtist"]) for r in found])
    assert value > 0.9 and f"unseen{value:>12.3f}" in said
    head = (run.folder / painter_pairs.HEAD).read_bytes()
    before = (tmp_path / "out.csv").read_bytes()
    scored(run, paintings_of_two, tmp_path / "out.csv", *more, "--data", tmp_path / "nowhere")  # it is not asked again
    assert (run.folder / painter_pairs.HEAD).read_bytes() == head and (tmp_path / "out.csv").read_bytes() == before
    capsys.readouterr()
    assert found == scored(run, paintings_of_two, tmp_path / "out.csv", *more, "--against", run.folder)
    split = {row["id"]: row["split"] for row in read_rows(run.folder / "split.csv")}
    data = trained_run[1].data
    assert data is not None
    assert trained_works(run, [images.ImageFile(f"elsewhere/{name}") for name in split]) == 0
    of_run = [images.ImageFile(str(data / name)) for name in split]
    assert trained_works(run, of_run) == list(split.values()).count("train") > 0
    difference = capsys.readouterr().out.split("difference: ")[1].splitlines()
    assert difference[3].split()[:5] == ["unseen", "0.000", "too", "few", "painters"]
    loaded = painter_pairs.load_head(run)
    assert loaded is not None and set(loaded.painters) >= set(run.tasks["painter"].classes)
    best = scored(run, paintings_of_two, tmp_path / "best.csv")
    assert best == scored(run, paintings_of_two, tmp_path / "named.csv", "--score", loaded.best)


def test_a_head_that_cannot_be_kept_is_used_all_the_same(
    run: Run, trained_run: tuple[Path, TrainSettings], paintings_of_two: Path, tmp_path: Path, capsys: Any
) -> None:
    kept = scored(run, paintings_of_two, tmp_path / "kept.csv", "--score", "learned")
    (run.folder / painter_pairs.HEAD).unlink()
    (run.folder / painter_pairs.HEAD).mkdir()  # nobody can write a file there
    capsys.readouterr()
    assert scored(run, paintings_of_two, tmp_path / "out.csv", "--score", "learned") == kept
    assert f"{painter_pairs.HEAD} cannot be written" in capsys.readouterr().out


def test_two_models_are_compared_by_the_same_score(
    run: Run, paintings_of_two: Path, tmp_path: Path, capsys: Any
) -> None:
    """Also where validation would choose another one for the second."""
    other = open_run(shutil.copytree(run.folder, tmp_path / "other"))
    kernel, bias = np.ones((64, 2), np.float32), np.zeros(2, np.float32)
    for one, best in ((run, "cosine"), (other, "product")):
        validation = {name: (float(name == best),) * 3 for name in ("learned", "cosine", "product")}
        painter_pairs.save_head(PainterHead(kernel, bias, 1.0, ("A", "B"), validation), one)
    labels = table(tmp_path / "labels.csv", [(f"{k}.png", f"P{k % 2}") for k in range(12)], "filename,painter")
    scored(run, paintings_of_two, tmp_path / "out.csv", "--labels", labels, "--against", other.folder)
    said = capsys.readouterr().out
    assert "using --score cosine" in said and "using --score product" not in said
    assert said.split("difference: ")[1].splitlines()[3].split()[1:5] == ["0.000", "too", "few", "painters"]


def test_names_of_several_painters_say_nothing(tmp_path: Path, capsys: Any) -> None:
    for name in ("Degas/1.png", "Monet/1.png", "Degas/2.png", "Monet/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert read_painters(tmp_path) == {"2.png": "Degas", "3.png": "Monet"}
    assert "1 names" in capsys.readouterr().out
    rows = table(
        tmp_path / "l.csv", [("a.png", "A"), ("x/a.png", "A"), ("b.png", "A"), ("b.png", "B")], "filename,painter"
    )
    assert read_painters(rows) == {"a.png": "A"}


def test_a_table_of_labels_is_read_as_a_folder_is(tmp_path: Path) -> None:
    """Painters in another case, under another column name, or unknown: the same in a table alone and in its folder."""
    rows = [
        ("1.png", "Claude Monet"),
        ("2.png", "claude monet"),
        ("3.png", "Claude Monet"),
        ("4.png", "Unknown artist"),
    ]
    for name, _ in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    file = table(tmp_path / "labels.csv", rows, "filename,artist")
    painters = read_painters(file)
    assert painters == {f"{k}.png": "Claude Monet" for k in (1, 2, 3)}
    assert painters == read_painters(tmp_path)
    wrong = table(tmp_path / "wrong.csv", [("1.png", "Dots")], "filename,texture")
    with pytest.raises(UserError, match=r"wrong.csv needs the columns filename and painter; it has filename, texture"):
        read_painters(wrong)
    unknown = table(tmp_path / "unknown.csv", [("1.png", "unknown"), ("2.png", "")], "filename,painter")
    with pytest.raises(UserError) as error:
        read_painters(unknown)
    assert "needs the columns filename and painter" not in str(error.value)  # which it has


def test_names_without_endings_mean_the_files(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    """Of a table in which a picture is a number, 007 stays another name than 7."""
    rows = [(0, 1, 2), (1, 2, 3), (2, 3, 1)]
    wanted = [(k, f"{a}.png", f"{b}.png") for k, a, b in rows]
    words = ("--score", "cosine", "--pairs")
    bare = scored(run, paintings_of_two, tmp_path / "a.csv", *words, table(tmp_path / "p.csv", rows))
    assert bare == scored(run, paintings_of_two, tmp_path / "b.csv", *words, table(tmp_path / "q.csv", wanted))
    assert match_names(["7", "007", "8"], ["7.jpg", "007.png", "8.JPG"]) == {
        "7": "7.jpg",
        "007": "007.png",
        "8": "8.JPG",
    }
    assert match_names(["1.png", "1", "2"], ["1.png", "2.jpg", "2.png"]) == {"1.png": "1.png"}
    assert match_names(["a\\b.png", " c.png"], ["a\\b.png", " c.png"]) == {n: n for n in ("a\\b.png", " c.png")}
    nowhere = table(tmp_path / "n.csv", [(0, 100, 200)])
    scored_status(run, paintings_of_two, tmp_path, *words, nowhere)


def test_numeric_names_of_the_cases(run: Run, cases: Path, tmp_path: Path) -> None:
    rows = scored(
        run, cases / "pictures", tmp_path / "o.csv", "--score", "cosine", "--pairs", cases / "pairs" / "numeric_ids.csv"
    )
    every = scored(run, cases / "pictures", tmp_path / "every.csv", "--score", "cosine")
    score = {(row["image1"], row["image2"]): row["sameArtist"] for row in every}
    assert [row["sameArtist"] for row in rows] == [
        score[pair] for pair in (("001.jpg", "002.jpg"), ("002.jpg", "003.jpg"), ("001.jpg", "003.jpg"))
    ]


def test_without_its_paintings_there_is_the_cosine(
    run: Run, paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    found = scored(run, paintings_of_two, tmp_path / "out.csv")
    assert "no score can be learned" in capsys.readouterr().out
    assert found == scored(run, paintings_of_two, tmp_path / "cosine.csv", "--score", "cosine")
    for more in (("--score", "learned"), ("--data", tmp_path / "nowhere")):
        scored_status(run, paintings_of_two, tmp_path, *more)
        assert "--data" in capsys.readouterr().err


def scored_status(run: Run, images_: Path, folder: Path, *more: object, status: int = 2) -> None:
    words = [
        "--model",
        run.folder,
        "--images",
        images_,
        "--output",
        folder / "no.csv",
        "--cache",
        folder / "cache",
        *more,
    ]
    assert pairs.main([str(word) for word in words]) == status
    assert not (folder / "no.csv").exists()


def test_chunks_do_not_change_a_byte(
    run: Run, paintings_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(k, f"{a}.png", f"{b}.png") for k, (a, b) in enumerate(np.random.default_rng(1).integers(12, size=(40, 2)))]
    wanted = table(tmp_path / "pairs.csv", rows)
    whole = scored(run, paintings_of_two, tmp_path / "out.csv", "--pairs", wanted, "--score", "cosine")
    every = scored(run, paintings_of_two, tmp_path / "all.csv", "--score", "cosine")
    for size in (1, 3, 39, 40, 41):
        monkeypatch.setattr(pair_tables, "CHUNK", size)
        again = scored(run, paintings_of_two, tmp_path / "again.csv", "--pairs", wanted, "--score", "cosine")
        assert again == whole
        assert scored(run, paintings_of_two, tmp_path / "again.csv", "--score", "cosine") == every


def test_a_picture_that_is_not_there_gets_the_mean(
    run: Run, paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(paintings_of_two, tmp_path / "pictures")
    (folder / "bad.png").write_bytes(b"<html>404</html>")
    rows = [(k, f"{k}.png", name) for k in range(12) for name in ("bad.png", "gone.png")]
    everyone = [(k, f"{k}.png", f"{b}.png") for k in range(12) for b in range(12)]
    wanted = table(tmp_path / "pairs.csv", [*rows, *everyone, (9, "gone.png", "bad.png")])
    found = scored(run, folder, tmp_path / "out.csv", "--pairs", wanted, "--score", "cosine", status=1)
    said = capsys.readouterr().err
    assert "not in --images: 1 picture (gone.png)" in said and "bad.png: not an image" in said
    scores = np.array([float(r["sameArtist"]) for r in found])
    assert (scores[:24:2] == scores[1:24:2]).all()  # missing or unreadable: it is the same
    # The score is that with the mean of the others, the one for both missing the mean of all.
    assert scores[:24:2] == pytest.approx(scores[24:-1].reshape(12, 12).mean(axis=1), abs=1e-6)
    assert scores[-1] == pytest.approx(scores[24:-1].mean(), abs=1e-6)


def test_zips_and_folders_give_the_same(
    run: Run, paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        for file in paintings_of_two.iterdir():
            archive.write(file, f"test/{file.name}")
    plain = scored(run, paintings_of_two, tmp_path / "plain.csv", "--score", "cosine")
    assert scored(run, tmp_path / "test.zip", tmp_path / "zipped.csv", "--score", "cosine") == plain
    capsys.readouterr()
    both = scored(run, tmp_path / "test.zip", tmp_path / "both.csv", "--score", "cosine", "--images", paintings_of_two,
                  tmp_path / "test.zip")  # fmt: skip
    assert both == plain and "12 pictures have the file name of another" in capsys.readouterr().out


def test_without_a_table_pictures_of_one_name_are_pairs_too(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    pictures = sorted(paintings_of_two.iterdir())[:3]
    for folder, files in (("Degas", pictures[:2]), ("Monet", pictures[2:])):
        (tmp_path / "works" / folder).mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copy(file, tmp_path / "works" / folder / f"{number}{file.suffix}")
    output = tmp_path / "pairs.csv"
    words = ["--model", run.folder, "--images", tmp_path / "works", "--output", output, "--score", "cosine"]
    assert pairs.main([str(word) for word in words]) == 0
    suffix = pictures[0].suffix
    zeros = [str(tmp_path / "works" / folder / f"0{suffix}") for folder in ("Degas", "Monet")]
    named = {frozenset((row["image1"], row["image2"])) for row in read_rows(output)}
    assert named == {frozenset(two) for two in itertools.combinations([*zeros, f"1{suffix}"], 2)}


def test_a_table_may_name_pictures_by_their_folders(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    for folder, numbers in (("Monet", (0, 2)), ("Degas", (1, 3))):
        (tmp_path / "works" / folder).mkdir(parents=True)
        for name, number in enumerate(numbers):
            shutil.copy(paintings_of_two / f"{number}.png", tmp_path / "works" / folder / f"{name}.png")
    by_folder = [("Monet/0", "Degas/0"), ("Monet/0", "Monet/1"), ("Degas/0", "Degas/1"), ("Degas/1", "Degas/1")]
    by_number = [(0, 1), (0, 2), (1, 3), (3, 3)]
    scores = [
        [row["sameArtist"] for row in scored(run, where, tmp_path / "out.csv", "--score", "cosine", "--pairs", pairs_)]
        for where, pairs_ in (
            (tmp_path / "works", table(tmp_path / "f.csv", [(0, f"{a}.png", f"{b}.png") for a, b in by_folder])),
            (paintings_of_two, table(tmp_path / "n.csv", [(0, f"{a}.png", f"{b}.png") for a, b in by_number])),
        )
    ]
    assert scores[0] == scores[1] and len(set(scores[0])) == 4
    # A name that only the table has folders for is found by its end.
    assert list(pair_tables.images_of_names([images.ImageFile("d/2.jpg")], ["a/1.jpg", "b/1.jpg", "2.jpg"])) == [
        "2.jpg"
    ]
    copies = [
        images.ImageFile("t.zip", "a/1.jpg"),
        images.ImageFile("replacements/a/1.jpg"),
        images.ImageFile("b/1.jpg"),
    ]
    found = pair_tables.images_of_names(copies, ["a/1.jpg", "b/1.jpg"])
    assert list(found.values()) == copies[1:]


def test_a_painter_who_is_spelt_otherwise_is_no_other(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = np.array([0, 0, 1, 0], np.int32), np.array([0, 1, 1, 1], np.int32)
    labelled = LabelledPairs([np.array([0.9, 0.1, 0.8, 0.2])], one, other, ["Paul Cézanne", "paul-gauguin"])
    print_auc(labelled, {"Paul Cezanne", "Paul Gauguin"}, run)
    counts = {line.split()[0]: line.split()[-2:] for line in capsys.readouterr().out.splitlines()[2:]}
    assert counts["seen"] == counts["all"] == ["4", "2"] and counts["unseen"] == ["0", "0"]


def test_of_two_of_one_name_the_replacement_is_used() -> None:
    files = [images.ImageFile(*f) for f in (("a.zip", "test/1.jpg"), ("test/1.jpg",), ("test/2.jpg",))]
    replaced = images.ImageFile("replacements_for_corrupted_files.zip", "test/2.jpg")
    assert images_by_name([*files, replaced]) == {"1.jpg": files[1], "2.jpg": replaced}


def test_each_picture_goes_through_the_network_once(
    run: Run, paintings_of_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept is the same, and the network is not even loaded for it."""
    first = scored(run, paintings_of_two, tmp_path / "out.csv", "--score", "cosine")
    monkeypatch.setattr(Run, "model", lambda self: pytest.fail("the network was loaded again"))
    assert scored(run, paintings_of_two, tmp_path / "again.csv", "--score", "cosine") == first


@pytest.mark.parametrize(
    "text, told",
    [
        ("index,image1,image2\n0,0.png,1.png\n1,0.png\n", "row 3 has no image2"),
        ("index,image1,image2\n0,0.png,1.png\n1,,2.png\n", "row 3 has no image1"),
        ("index,image1,image2\n0,0.png,1.png,2.png\n", "cannot be read"),
        ("index,image1,image2\n0,0.png,1.png\n1,0.png,1.png,2.png\n", "cannot be read"),
        ('index,image1,image2\n0,0.png,1.png\n1,"0.png,1.p', "cannot be read"),
        ("index,image1,image2\n", "no pairs"),
        ("", "cannot be read"),
        ("id,a,b\n0,0.png,1.png\n", "no column index"),
        ("index,image1,image2\n0,x.png,y.png\n", "none of the pictures"),
    ],
)
def test_a_torn_table_is_refused_before_anything_is_computed(
    text: str, told: str, run: Run, paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    scored_status(run, paintings_of_two, tmp_path, "--pairs", tmp_path / "pairs.csv", "--score", "cosine")
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and told in errors[0] and "pairs.csv" in errors[0]
    assert not (tmp_path / "cache").exists()


def test_a_score_that_cannot_be_made_is_refused_before_anything_is_computed(
    paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = {"style": Task("style", ("a", "b"))}
    (tmp_path / "run").mkdir()
    save_labels(tmp_path / "run", tasks, 32, 40, False)
    save_model(small_network(tasks), tmp_path / "run")
    scored_status(open_run(tmp_path / "run"), paintings_of_two, tmp_path, "--score", "product")
    assert "has no painter task" in capsys.readouterr().err and not (tmp_path / "cache").exists()


def test_a_damaged_package_is_refused_although_all_vectors_are_there(
    paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundled = bundled_model()
    assert bundled is not None
    package = tmp_path / "package"
    shutil.copytree(bundled, package)
    words = ["--model", package, "--images", paintings_of_two, "--cache", tmp_path / "cache"]
    assert pairs.main([*map(str, words), "--output", str(tmp_path / "scores.csv")]) == 0
    damaged = bytearray((package / "same_painter.npz").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (package / "same_painter.npz").write_bytes(damaged)
    capsys.readouterr()
    scored_status(open_run(package), paintings_of_two, tmp_path)
    assert "same_painter.npz" in capsys.readouterr().err


def test_misuse_is_one_sentence(
    run: Run, paintings_of_two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.csv").write_text("filename,painter\n0.png,Monet\n")
    for words, told in (
        (("--labels", tmp_path / "labels.csv", "--output", tmp_path / "labels.csv"), "the --labels itself"),
        (("--pairs", tmp_path / "nowhere.csv"), "--pairs"),
        (("--labels", tmp_path / "nowhere"), "--labels"),
        (("--images", tmp_path / "empty"), "no two pictures"),
        (("--images", tmp_path / "nowhere"), "nowhere"),
        (("--model", tmp_path / "empty"), "lacks model.keras"),
        (("--output", tmp_path / "out.txt"), "--output"),
        (("--batch-size", 0), "--batch-size 0"),
        (("--threads", -1), "--threads -1"),
        (("--against", run.folder), "--against needs --labels"),
    ):
        scored_status(run, paintings_of_two, tmp_path, "--score", "cosine", *words)
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and told in errors[0]


def test_the_table_may_lie_there_zipped(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    """As the competition gives it: submission_info.csv.zip."""
    plain = "index,image1,image2\n0,0.png,1.png\n1,0.png,2.png\n"
    with zipfile.ZipFile(tmp_path / "p.csv.zip", "w") as archive:
        archive.writestr("p.csv", plain)
    words = ("--score", "cosine", "--pairs", tmp_path / "p.csv")
    zipped = scored(run, paintings_of_two, tmp_path / "a.csv", *words)
    (tmp_path / "p.csv").write_text(plain)
    assert len(zipped) == 2 and zipped == scored(run, paintings_of_two, tmp_path / "b.csv", *words)


def test_all_pairs_do_not_take_the_place_of_a_submission(tmp_path: Path) -> None:
    assert pairs.Settings((tmp_path,), pairs=tmp_path / "p.csv").output == Path("submission.csv")
    assert pairs.Settings((tmp_path,)).output == Path("pairs.csv")
    assert pairs.Settings((tmp_path,), output=tmp_path / "o.csv").output == tmp_path / "o.csv"


def test_memory_does_not_grow_with_the_pairs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pair_tables, "CHUNK", 5_000)
    names = [f"{k}.jpg" for k in range(300)]
    vectors = round_to_grid(unit_vectors(np.random.default_rng(0).normal(size=(301, 32))))
    peaks = []
    for n in (30_000, 240_000):  # both larger than what pandas reads of a file at once, 256 KB
        rng = np.random.default_rng(n)
        lines = [f"{k},{a}.jpg,{b}.jpg\n" for k, (a, b) in enumerate(rng.integers(300, size=(n, 2)))]
        file = tmp_path / f"{n}.csv"
        file.write_text("".join(["index,image1,image2\n", *lines]))
        del lines
        chunks = read_pairs(file, {name: k for k, name in enumerate(names)})
        tracemalloc.start()
        count, found = survey_pairs(file)
        with (tmp_path / "out.csv").open("w") as out:
            write_scores(out, chunks, count, [PairVectors(vectors, {}, "cosine")], [""] * len(names))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == n and len(found) == 300
    assert peaks[1] < 1.1 * peaks[0] + 1e5, peaks


@pytest.mark.slow
def test_a_process_of_its_own_writes_the_same_bytes_again(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    words = ("-m", "painters_mtl.pairs", "--model", run.folder, "--images", paintings_of_two, "--score", "cosine")
    done = python(*words, "--output", "one.csv", cwd=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    again = python(*words, "--output", "two.csv", cwd=tmp_path)
    assert again.returncode == 0 and (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_a_name_that_is_not_utf8(run: Run, paintings_of_two: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "images", tmp_path / "pairs.csv"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"b.png"):
        shutil.copy(paintings_of_two / "0.png", os.fsencode(folder) + b"/" + name)
    words = ["--model", run.folder, "--images", folder, "--output", output, "--score", "cosine", "--cache", tmp_path]
    assert pairs.main([str(word) for word in words]) == 0
    *names, score = output.read_bytes().splitlines()[1].split(b",")
    assert names == [b"b.png", b"caf\xe9.png"] and float(score) == pytest.approx(1, abs=1e-5)


@pytest.mark.real
def test_real_labels_say_who_is_who(paintings: Path) -> None:
    """The table as it came has titles in its column artist; a data folder is read with these put right."""
    raw = read_painters(paintings / "pbn64" / "all_data_info.csv")
    read = read_painters(paintings / "pbn64")
    test = {file.name for file in images.find_images(paintings / "pbn64" / "test")}
    known = [name for name in test if name in read]
    assert len(test) == 1614 and len(known) == 1612
    assert np.mean([raw[name] == read[name] for name in known]) > 0.98


def test_the_painters_of_the_bundled_model_are_known_without_its_split() -> None:
    bundled = bundled_model()
    assert bundled is not None and not (bundled / "split.csv").exists()
    painters = trained_painters(open_run(bundled))
    assert {"Claude Monet", "Rembrandt", "Fernand Leger"} <= painters and len(painters) > 100
