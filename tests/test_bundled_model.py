"""The bundled model, as it is in the repository: whole, small, and right about real paintings."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import read_rows
from pictures import scene

from painters_mtl import embed, explain, pairs, similar
from painters_mtl.images.files import ImageFile
from painters_mtl.inference.litert_template import has_template, keras_on_drawn_pictures
from painters_mtl.inference.painter_pairs import load_head
from painters_mtl.inference.parity import outputs_in_batches
from painters_mtl.inference.predictor import PredictOptions, label
from painters_mtl.inference.runtime_choice import open_runtime
from painters_mtl.runs.model_choice import bundled_model, open_named_run
from painters_mtl.runs.run import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    if bundled_model() is None:
        pytest.skip("no model is bundled with this copy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_named_run(Path("paintings"))


def test_it_is_whole_small_and_knows_what_it_says(run: Run) -> None:
    run.check()
    assert sum(file.stat().st_size for file in run.folder.iterdir() if file.is_file()) <= 8_000_000
    assert {name: len(task.classes) for name, task in run.tasks.items()} == {"painter": 8, "style": 10, "genre": 23}
    assert "Claude Monet" in run.tasks["painter"].classes and not run.demo
    assert set(run.thresholds) == set(run.temperatures) == set(run.tasks)
    head = load_head(run)
    assert head is not None and len(head.painters) > 100  # pairs --score learned


def test_litert_says_what_keras_said(run: Run) -> None:
    pytest.importorskip("ai_edge_litert")
    assert has_template(run)
    images, in_keras = keras_on_drawn_pictures(run)
    for name, values in outputs_in_batches(open_runtime(run, "auto"), images).items():
        np.testing.assert_allclose(values, in_keras[name], atol=1e-4)


@pytest.mark.real
def test_it_is_right_about_most_of_a_few_paintings(run: Run, paintings: Path) -> None:
    """Most of them trained it: this finds a picture that is shown turned, or in other colours, not a worse model."""
    with (paintings / "wikiart" / "labels.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["style"] in run.tasks["style"].classes][::300]
    files = [ImageFile(str(paintings / "wikiart" / row["filename"])) for row in rows]
    classes = run.tasks["style"].classes
    found = [one.probabilities for one in label(run, files, PredictOptions(runtime="auto"))]
    right = [
        classes[int(p["style"].argmax())] == row["style"] for p, row in zip(found, rows, strict=True) if p is not None
    ]
    assert len(right) == len(rows) > 50 and np.mean(right) > 0.8


@pytest.mark.slow
def test_every_verb_takes_it_where_none_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an empty folder, as after the installation: five drawn pictures, two of which are alike."""
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for k in range(4):
        scene(seed=k).rotate(90 * k, expand=True).save(f"pictures/{k}.png")
    scene(seed=0).save("pictures/again.png")
    calls: list[tuple[Callable[[list[str]], int], list[str], str]] = [
        (embed.main, ["pictures"], "vectors.npz"),
        (similar.main, ["pictures/0.png", "--in", "pictures"], "similar.png"),
        (explain.main, ["pictures/0.png", "--method", "levels"], "explanations/0-explained.png"),
        (pairs.main, ["--images", "pictures", "--score", "cosine"], "pairs.csv"),
    ]
    for verb, words, written in calls:
        assert verb(words) == 0 and Path(written).is_file()
        assert "the bundled model" in capsys.readouterr().out
    with np.load("vectors.npz") as vectors:
        assert vectors["vector"].shape[0] == 5 and np.isfinite(vectors["vector"]).all()
    scores = {
        frozenset((row["image1"], row["image2"])): float(row["sameArtist"]) for row in read_rows(Path("pairs.csv"))
    }
    assert max(scores, key=lambda two: scores[two]) == {"0.png", "again.png"}
