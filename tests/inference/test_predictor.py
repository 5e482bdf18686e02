"""Predictions: rows by hand, unknown below the threshold, augmentations, memory."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import make_data, read_rows, trained

from painters_mtl import predict
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.images import files as images
from painters_mtl.inference.predictor import (
    Prediction,
    PredictOptions,
    label,
    prediction_columns,
    prediction_row,
    with_augmentations,
)
from painters_mtl.runs import run as runs
from painters_mtl.runs.run import Run
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainSettings]:
    return trained(tmp_path_factory)


@pytest.fixture
def folder(trained_run: tuple[Path, TrainSettings]) -> Path:
    return trained_run[0]


@pytest.fixture
def pictures(trained_run: tuple[Path, TrainSettings]) -> Path:
    data = trained_run[1].data
    assert data is not None
    return data / "images"


def run(folder: Path, *words: object, status: int = 0) -> None:
    assert predict.main([*map(str, words), "--model", str(folder)]) == status


def test_unknown_is_what_lies_below_the_threshold(folder: Path, pictures: Path, tmp_path: Path) -> None:
    run(folder, pictures, "--output", tmp_path / "doubt.csv")
    run(folder, pictures, "--output", tmp_path / "bare.csv", "--no-unknown")
    run(folder, pictures, "--output", tmp_path / "all.csv", "--unknown-tasks", "painter,style,genre")
    limits = runs.open_run(folder).thresholds
    assert set(limits) == set(TASK_NAMES)
    tables = [read_rows(tmp_path / f"{name}.csv") for name in ("doubt", "bare", "all")]
    unknown = 0
    for doubt, bare, every in zip(*tables, strict=True):
        score = float(bare["painter_known"])
        if abs(score - limits["painter"]) > 1e-4:
            assert doubt["painter"] == ("unknown" if score < limits["painter"] else bare["painter"])
        unknown += doubt["painter"] == "unknown"
        assert {k: v for k, v in doubt.items() if k != "painter"} == {k: v for k, v in bare.items() if k != "painter"}
        for task in ("style", "genre"):  # no head of their own for it: the confidence is the score
            if abs(float(bare[f"{task}_confidence"]) - limits[task]) > 1e-4:
                low = float(bare[f"{task}_confidence"]) < limits[task]
                assert every[task] == ("unknown" if low else bare[task])
                assert (task in bare["doubtful"].split(", ")) == low
        assert ("painter" in doubt["doubtful"].split(", ")) == (doubt["painter"] == "unknown")
    assert 0 < unknown < len(tables[0])


def test_balanced_probabilities_are_those_of_the_training_counts(folder: Path, pictures: Path, tmp_path: Path) -> None:
    opened, files = runs.open_run(folder), images.find_images(pictures)[:12]
    split = [row for row in read_rows(folder / "split.csv") if row["split"] == "train"]
    for name, task in opened.tasks.items():
        assert opened.training_counts[name] == tuple(sum(r[name] == c for r in split) for c in task.classes)
    plain, even = (list(label(opened, files, PredictOptions(balanced=s))) for s in (0.0, 0.5))
    for before, after in zip(plain, even, strict=True):
        assert before.known_scores == after.known_scores  # a rare class makes nobody a stranger
        assert before.probabilities is not None and after.probabilities is not None
        for name, counts in opened.training_counts.items():
            expected = before.probabilities[name] / np.sqrt(counts)
            np.testing.assert_allclose(after.probabilities[name], expected / expected.sum(), atol=1e-6)
    shutil.copytree(folder, tmp_path / "old")  # as a run of an earlier version
    labels = json.loads((tmp_path / "old" / "labels.json").read_text())
    old = {key: value for key, value in labels.items() if key not in ("training_counts", "checksum")}
    (tmp_path / "old" / "labels.json").write_text(json.dumps(old))
    for name, run_folder in (("new", folder), ("old", tmp_path / "old")):
        run(run_folder, pictures, "--output", tmp_path / f"{name}.csv", "--balanced", "--balance-strength", "1")
    assert read_rows(tmp_path / "new.csv") == read_rows(tmp_path / "old.csv")
    (tmp_path / "old" / "split.csv").unlink()
    run(tmp_path / "old", pictures, "--output", tmp_path / "no.csv", "--balanced", status=2)
    run(folder, pictures, "--output", tmp_path / "no.csv", "--balanced", "--balance-strength", "2", status=2)


def test_the_third_painter_is_told_apart(trained_run: tuple[Path, TrainSettings], tmp_path: Path) -> None:
    """Red told the painter, and one of three is none of the two: a network that was shown its works knows it."""
    folder, _ = trained_run
    measured = json.loads((folder / runs.METRICS).read_text())["unknown"]["painter"]
    assert measured["groups"]["in training"]["auroc"] > 0.95 and measured["kept"] > 0.8
    make_data(tmp_path / "new", count=60, seed=7, missing=0)
    run(folder, tmp_path / "new" / "images", "--output", tmp_path / "out.csv")
    known = runs.open_run(folder).tasks["painter"].classes
    truth = [r["painter"] in known for r in read_rows(tmp_path / "new" / "labels.csv")]
    said = [r["painter"] != "unknown" for r in read_rows(tmp_path / "out.csv")]
    assert np.mean(np.array(truth) == np.array(said)) > 0.85


def test_several_looks_are_their_mean(folder: Path, pictures: Path) -> None:
    """Of a network that averages its input, the mean over the looks is known."""

    def forward(copies: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": copies[:, :, :3].mean(axis=(1, 2, 3))[:, None]}  # the three columns on the left

    rng = np.random.default_rng(3)
    copies = rng.integers(0, 256, (4, 40, 40, 3), np.uint8)
    flipped = with_augmentations(forward, "flip")(copies)["x"][:, 0]
    both = np.concatenate([copies[:, :, :3], copies[:, :, -3:]], axis=2)
    np.testing.assert_allclose(flipped, both.mean(axis=(1, 2, 3)))
    assert with_augmentations(forward, "none") is forward
    flat = np.full((2, 2, 16, 16, 3), 77, np.uint8)  # two views; of one colour every look is the same
    np.testing.assert_allclose(
        with_augmentations(lambda c: {"x": c.mean(axis=(1, 2, 3, 4))[:, None]}, "crops")(flat)["x"], 77
    )
    corner = np.zeros((1, 40, 40, 3), np.uint8)
    corner[:, :5, :5] = 255  # only one of the crops has all of it, and none but those at that corner any
    seen: list[float] = []

    def note(copies: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(float(copies.mean()))
        return {"x": np.zeros((1, 1))}

    with_augmentations(note, "crops")(corner)
    assert len(seen) == 12 and np.count_nonzero(np.array(seen) > 3) == 4 and np.ptp(seen[2:4]) == 0


def test_files_that_vanish_while_they_are_read_are_rows(folder: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "in")
    files = images.find_images(tmp_path / "in")
    found = []
    for k, one in enumerate(label(runs.open_run(folder), files, PredictOptions(batch_size=4))):
        found.append(one.error.split(" (")[0])
        if k == 3:
            shutil.rmtree(tmp_path / "in")
    assert len(found) == len(files) and set(found[:4]) == {""} and set(found[-50:]) == {"missing"}


def test_row_and_columns_agree_by_hand() -> None:

    run = Run(
        Path(), {"style": Task("style", ("a", "b, c", "d")), "genre": Task("genre", ("x", "y"))}, 32, 40, False, {}
    )
    one = Prediction(
        images.ImageFile("p.jpg"),
        {"style": np.array([0.2, 0.7, 0.1]), "genre": np.array([0.5, 0.5])},
        "",
        {"style": 0.7, "genre": 0.5},
    )
    cells = prediction_row(run, one, 3)
    assert {name: cells.get(name) for name in prediction_columns(run, 3)} == {
        "path": "p.jpg", "style": "b, c", "style_confidence": 0.7, "genre": "x", "genre_confidence": 0.5,
        "style_2": "a", "style_2_confidence": 0.2, "genre_2": "y", "genre_2_confidence": 0.5,
        "style_3": "d", "style_3_confidence": 0.1, "doubtful": [], "read_in_part": None, "error": "",
    }  # fmt: skip
    bad = prediction_row(run, Prediction(images.ImageFile("z.zip", "q.jpg"), None, "empty"), 3)
    assert bad == {"path": "z.zip/q.jpg", "error": "empty"}
