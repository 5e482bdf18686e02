"""Trainings on two inputs of a painting, and on data of a task's own."""

import dataclasses
from pathlib import Path

import pytest
from helpers import fitted, make_data, read_rows, tiny_settings

from painters_mtl import predict
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.network.features import cached_features
from painters_mtl.runs import run
from painters_mtl.training.settings import TrainSettings

VIEWS = ("whole", "detail")
ROUNDING = 1.01e-4  # of a confidence with four decimals


@pytest.mark.slow
@pytest.mark.parametrize("merge", ["concatenate", "none"])
def test_a_training_on_two_inputs_learns_and_predicts(merge: str, tmp_path: Path) -> None:
    view_of = {"painter": "detail"} if merge == "none" else {}
    changes = {"views": VIEWS, "merge": merge, "view_of": view_of, "painter_known": True}
    settings = tiny_settings(make_data(tmp_path / "data"), tmp_path, **changes)
    data, outcome, folder = fitted(settings)
    assert data.images.pixels.shape[1:] == (2, 40, 40, 3)
    for name, m in outcome.metrics["test"].items():
        assert m["accuracy"] > 0.75, name
    assert TrainSettings.load(folder / "config.json") == settings
    assert run.open_run(folder).views == VIEWS
    out = tmp_path / "p.csv"
    words = ["--model", str(folder), "--output", str(out), "--no-unknown"]
    assert predict.main([str(tmp_path / "data" / "images"), *words]) == 0
    predictions = {Path(r["path"]).name: r for r in read_rows(out)}
    for row in read_rows(folder / "test_predictions.csv"):
        prediction = predictions[Path(row["id"]).name]
        for name in TASK_NAMES:
            assert prediction[name] == row[name]
            confidence = float(row[f"{name}_confidence"])
            assert float(prediction[f"{name}_confidence"]) == pytest.approx(confidence, abs=ROUNDING)


@pytest.mark.slow
def test_heads_on_cached_features_of_two_inputs(tmp_path: Path) -> None:
    changes = {"views": VIEWS, "fine_tune": "heads", "epochs": 1, "painter_known": True}
    settings = tiny_settings(make_data(tmp_path / "data", 80), tmp_path, **changes)
    data, _, folder = fitted(settings)
    features = cached_features(run.open_run(folder).model(), data, 32)
    assert features.shape == (len(data.table), 2, 128)
    assert len(list(settings.cache.glob("features-*.sqlite"))) == 1  # the training's


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": ("detail",)}, "--views detail cannot be"),
        ({"views": ("detail", "whole")}, "--views detail,whole cannot be"),
        ({"views": VIEWS, "view_of": {"painter": "detail"}}, "--view-of needs --merge none"),
        ({"merge": "none", "view_of": {"painter": "detail"}}, "--view-of painter detail"),
        ({"task_data": {"painters": Path("x")}}, "--task-data painters is unknown"),
    ],
)
def test_views_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainSettings(**changes)  # type: ignore[arg-type]


def test_a_task_learns_from_its_own_folder(tmp_path: Path) -> None:
    main, other = make_data(tmp_path / "main", 120), make_data(tmp_path / "other", 90, seed=5)
    settings = tiny_settings(main, tmp_path, task_data={"painter": other})
    data = prepare(settings)
    mine = data.table["id"].str.startswith("painter:").to_numpy()
    assert mine.sum() == sum(r["painter"] != "" for r in read_rows(other / "labels.csv"))
    assert (data.labels["painter"][~mine] == -1).all() and (data.labels["painter"][mine] >= 0).sum() > 40
    for name in ("style", "genre"):
        assert (data.labels[name][mine] == -1).all() and (data.labels[name][~mine] >= 0).sum() > 80
    rows = {f"painter:{r['filename']}": r["painter"] for r in read_rows(other / "labels.csv")}
    for name, painter in zip(data.table["id"][mine], data.table["painter"][mine], strict=True):
        assert rows[name] == painter
    all_own = dataclasses.replace(settings, data=None, task_data={"painter": other, "style": main, "genre": main})
    assert not prepare(all_own).demo


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["joint", "alternate"])
def test_tasks_with_data_of_their_own_learn_together(strategy: str, tmp_path: Path) -> None:
    main, other = make_data(tmp_path / "main", 120), make_data(tmp_path / "other", 90, seed=5)
    settings = tiny_settings(main, tmp_path, task_data={"painter": other}, strategy=strategy)
    _, outcome, _ = fitted(dataclasses.replace(settings, epochs=2 * settings.epochs))
    shares = outcome.metrics.get("turns", {})
    assert strategy == "joint" or (set(shares) == set(TASK_NAMES) and all(t["share"] > 0.1 for t in shares.values()))
    for name, least in (("painter", 0.6), ("style", 0.6), ("genre", 0.7)):  # by chance: 1 / 3, 1 / 3, 1 / 2
        assert outcome.metrics["test"][name]["accuracy"] > least, name


def test_a_task_s_folder_without_its_label_is_named(tmp_path: Path) -> None:
    main = make_data(tmp_path / "main", 60)
    other = make_data(tmp_path / "other", 10)
    table = (other / "labels.csv").read_text().splitlines()
    (other / "labels.csv").write_text("\n".join([table[0], 'images/000.png,,Dots,portrait,"t",']) + "\n")
    with pytest.raises(UserError, match="no painting there has a painter"):
        prepare(tiny_settings(main, tmp_path, task_data={"painter": other}))
    with pytest.raises(UserError, match="no such folder; give --task-data painter= the folder"):
        prepare(tiny_settings(main, tmp_path, task_data={"painter": tmp_path / "nowhere"}))
