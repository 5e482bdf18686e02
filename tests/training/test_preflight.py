"""What is refused before anything is read: sources that do not fit, workers that could not go on."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import trained

from painters_mtl.common.errors import UserError
from painters_mtl.network.backbones import build_backbone
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.run import Run, check_teacher_size
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training import preflight
from painters_mtl.training.preflight import check_several_workers
from painters_mtl.training.resume import resume_command
from painters_mtl.training.settings import TrainSettings


def test_sources_that_are_not_there_or_would_be_replaced(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, settings = trained(tmp_path_factory)
    for changes, words in (
        ({"start_from": (Path("no/where"),)}, "--start-from no/where is not a folder"),
        ({"teachers": (folder / "figures",)}, "lacks model.keras"),
        ({"teachers": (folder / "baselines" / "style",), "name": settings.name}, "is part of the run"),
        ({"weights": str(folder / "weights.npz"), "name": settings.name}, "weights.npz is part of the run"),
        ({"start_shared": "impressionism"}, "--start-shared impressionism is unknown"),
    ):
        with pytest.raises(UserError, match=words):
            changed = dataclasses.replace(settings, **{"name": "other", **changes})
            preflight.check_sources(changed, changed.models / changed.name)


def test_a_package_without_heads_names_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled model has none: they would make it too large."""
    bundled = bundled_model()
    assert bundled is not None and not (bundled / "heads.npz").exists()
    monkeypatch.chdir(tmp_path)
    copy = Path(shutil.copytree(bundled, tmp_path / "copy"))
    for source, words in (
        (Path("paintings"), "--start-from paintings is no folder: --weights paintings starts from"),
        (bundled, "has no heads.npz, the heads that a training starts from: use --weights paintings,"),
        (copy, f"use --weights {copy}/weights.npz, which starts from its backbone"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            preflight.check_sources(TrainSettings(start_from=(source,)), tmp_path / "new")
    preflight.check_sources(TrainSettings(teachers=(bundled,), image_size=160), tmp_path / "new")  # these need none
    preflight.check_network(TrainSettings(weights=str(copy / "weights.npz")))
    build_backbone("efficientnet_lite0", 64, str(copy / "weights.npz"))  # what is named does work
    (copy / "heads.npz").touch()
    preflight.check_sources(TrainSettings(start_from=(copy,)), tmp_path / "new")


def test_a_teacher_knows_pictures_no_smaller_than_its_own() -> None:
    teacher = Run(Path("models/teacher"), {}, 32, 40, False, {})
    for cache_side in (40, 80):
        check_teacher_size(teacher, cache_side)
    with pytest.raises(UserError, match="--teachers models/teacher was trained at --image-size 32: use no smaller"):
        check_teacher_size(teacher, 39)


def test_several_workers_can_go_on(tmp_path: Path) -> None:
    settings = TrainSettings(models=tmp_path, name="run", resume=True)
    with pytest.raises(UserError, match="worker 1 does not see the folder of the run: leave --resume out"):
        check_several_workers(settings, 1)
    for other in (TrainSettings(), TrainSettings(name="run", overwrite=True)):
        with pytest.raises(UserError, match="several workers need a --name and no --overwrite"):
            check_several_workers(other, 1)
    with pytest.raises(UserError, match="--distill is for one machine"):  # also where --distribute auto finds several
        check_several_workers(TrainSettings(name="run", distill=True, distribute="auto"), 0)
    assert resume_command("train", TrainSettings(distribute="auto"), tmp_path).endswith("--distribute auto")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start_shared": "style"}, "--start-shared style does nothing without --start-from"),
        ({"temperature": 3.0}, "--temperature 3.0 does nothing without --teachers or --distill"),
        ({"teacher_weight": 0.7}, "--teacher-weight 0.7 does nothing without --teachers or --distill"),
        ({"freeze": "backbone", "fine_tune": "heads"}, "--freeze backbone does nothing with --fine-tune heads"),
        ({"task_sampling": "uniform"}, "--task-sampling uniform does nothing without --strategy alternate"),
    ],
)
def test_an_option_without_effect_is_refused_before_a_training(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        preflight.check_sources(TrainSettings(**changes), tmp_path / "new")
    preflight.check_sources(TrainSettings(distill=True, temperature=3.0), tmp_path / "new")
    preflight.check_sources(TrainSettings(strategy="alternate", task_sampling="uniform"), tmp_path / "new")
    study = CompareSettings(strategies=("all", "distilled"), task_sampling="uniform", temperature=3.0)
    preflight.check_sources(study, tmp_path / "new")


def test_weights_of_losses_that_change_nothing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {"painter": 3.0}
    for settings, told in (
        (TrainSettings(strategy="alternate", task_weights=weights), True),
        (CompareSettings(strategies=("famo", "alternate"), task_weights=weights), True),
        (CompareSettings(strategies=("famo", "joint"), task_weights=weights), False),
        (CompareSettings(strategies=("uncertainty", "gradnorm"), task_weights=weights), True),
        (TrainSettings(strategy="famo"), False),
    ):
        preflight.check_sources(settings, tmp_path / "new")
        assert ("--task-weights changes little" in capsys.readouterr().out) is told
