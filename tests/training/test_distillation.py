"""`--distill`: the networks for one task each come first, and the shared network learns from them."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from helpers import make_data, same_weights, tiny_settings

from painters_mtl import train
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_json
from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.inference.open_network import open_network
from painters_mtl.network.multitask import build_model
from painters_mtl.runs.run import CONFIG, open_run, save_labels, save_model
from painters_mtl.training import head_refit
from painters_mtl.training.fit import build, fit, fit_single_task
from painters_mtl.training.run_spec import RunSpec
from painters_mtl.training.settings import TrainSettings

TASKS = ("painter", "style", "genre")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, TrainSettings]:
    out = tmp_path_factory.mktemp("distillation")
    settings = tiny_settings(make_data(out / "data"), out, epochs=2, distill=True, teacher_schedule="annealed")
    return prepare(settings), settings


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"teacher_view": "crop", "refit": True, "mix": 0.5}], ids=str)
def test_it_is_a_training_with_the_baselines_as_teachers(
    changes: dict[str, Any],
    prepared: tuple[Dataset, TrainSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `refit` the heads of the teachers read pyramid maps."""
    monkeypatch.setattr(head_refit, "UPDATES", 50)
    data, settings = prepared[0], dataclasses.replace(prepared[1], **changes)
    # What an earlier call came to before it was ended: the first teacher. It is not trained again.
    (tmp_path / "one").mkdir()
    settings.save(tmp_path / "one" / CONFIG)
    fit_single_task(data, settings, tmp_path / "one" / "baselines" / "painter", "painter", 0)
    capsys.readouterr()
    fit(data, settings, tmp_path / "one")
    printed = capsys.readouterr().out
    assert printed.count("is trained already") == 1 and "teacher 3 of 3: genre alone" in printed

    teachers = tuple(tmp_path / "one" / "baselines" / name for name in TASKS)
    fit(data, dataclasses.replace(settings, distill=False, teachers=teachers), tmp_path / "other")
    one, other = (open_network(open_run(tmp_path / name)).get_weights() for name in ("one", "other"))
    assert same_weights(one, other)
    if changes:
        return
    fit(data, dataclasses.replace(settings, distill=False), tmp_path / "untaught")
    assert not same_weights(one, open_network(open_run(tmp_path / "untaught")).get_weights())


@pytest.mark.slow
def test_the_command_compares_with_its_teachers_and_trains_none_twice(
    prepared: tuple[Dataset, TrainSettings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = dataclasses.replace(prepared[1], models=tmp_path)
    assert train.train(settings) == 0
    printed = capsys.readouterr().out
    assert [printed.count(f": {name} alone") for name in TASKS] == [1, 1, 1]
    assert printed.count("is trained already") == 3
    compared = read_json(tmp_path / "run" / "comparison.json")
    assert set(compared["tasks"]) == set(TASKS)
    # --overwrite makes all anew, each once, and nothing of the old run is left in its way.
    assert train.train(dataclasses.replace(settings, overwrite=True, epochs=1)) == 0
    assert capsys.readouterr().out.count("is trained already") == 3
    assert not (tmp_path / ".run-replaced").exists()
    assert read_json(tmp_path / "run" / "baselines" / "style" / "metrics.json")["epochs"] == 1


@pytest.mark.slow
def test_a_task_without_works_to_test_on_has_its_teacher_too(
    prepared: tuple[Dataset, TrainSettings], tmp_path: Path
) -> None:
    """Else the shared network would begin elsewhere than the report says."""
    data, settings = prepared
    labels = data.labels | {"genre": np.where(data.split == "test", -1, data.labels["genre"])}
    result = fit(dataclasses.replace(data, labels=labels), dataclasses.replace(settings, epochs=1), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "baselines").iterdir() if path.is_dir()} == set(TASKS)
    assert "genre_loss" in result.history and np.isnan(result.metrics["test"]["genre"]["accuracy"])


@pytest.mark.slow
def test_it_starts_from_the_mean_of_its_teachers_where_they_began_with_the_same_weights(
    prepared: tuple[Dataset, TrainSettings], tmp_path: Path
) -> None:
    data, small = prepared
    settings = dataclasses.replace(small, backbone="efficientnet_lite0", weights="imagenet")
    rng, teachers, kernels = np.random.default_rng(0), [], []
    for name in TASKS:
        model = build_model({name: data.tasks[name]}, settings)
        kernels.append(first_kernel(model).numpy() + rng.normal(size=first_kernel(model).shape).astype(np.float32))
        first_kernel(model).assign(kernels[-1])
        teachers.append(tmp_path / name)
        teachers[-1].mkdir()
        save_model(model, teachers[-1])
        save_labels(teachers[-1], {name: data.tasks[name]}, 32, 40, False)

    def started(**changes: object) -> np.ndarray:
        spec = RunSpec(data, dataclasses.replace(settings, **changes), tmp_path / "new", data.tasks)
        return first_kernel(build(spec, teachers).full).numpy()

    np.testing.assert_allclose(started(), np.mean(kernels, axis=0), atol=1e-6)
    # Hidden layers began with random weights.
    untouched = first_kernel(build_model(data.tasks, settings)).numpy()
    np.testing.assert_array_equal(started(shared_layers=(8,)), untouched)
    np.testing.assert_array_equal(started(distill=False), untouched)


def first_kernel(model: keras.Model) -> keras.Variable:
    """The weights of the first convolution of the backbone."""
    return next(v for v in model.variables if v.name.endswith("kernel") and len(v.shape) == 4)


def test_what_cannot_be_is_refused() -> None:
    for changes, message in (
        ({"teachers": (Path("a"),)}, "leave --teachers out"),
        ({"budget": "equal-updates"}, "leave --budget out"),
        ({"distribute": "multiworker"}, "is for one machine"),
    ):
        with pytest.raises(UserError, match=message):
            TrainSettings(distill=True, **changes)  # type: ignore[arg-type]
