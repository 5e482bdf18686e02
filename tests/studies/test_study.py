"""The folds of a study, and a study that was stopped."""

import random
import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers import arguments, make_data, read_rows, tiny_settings
from stopped import EVERY_STEP, KILLS, interrupted, killed, same_run, says, start

from painters_mtl import compare
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.data.duplicates import group_near_copies
from painters_mtl.data.split import make_folds
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.studies.study import datasets_of_folds


def test_folds_part_no_copies_and_test_each_painting_once(tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=120), tmp_path)
    data = prepare(settings)
    splits = make_folds(data.labels, data.groups, 4, seed=1)
    known = np.any([v >= 0 for v in data.labels.values()], axis=0)
    assert (np.sum([s == "test" for s in splits], axis=0) == known).all()
    for split in splits:
        for group in np.unique(data.groups):
            assert len(set(split[data.groups == group]) - {""}) <= 1
        assert 0.1 < np.mean(split[known] == "validation") < 0.2
    hashes, small = data.images.hashes[data.images.rows >= 0], data.images.thumbnails[data.image_rows]
    assert (data.groups == group_near_copies(data.table, hashes, small)).all()
    parts = datasets_of_folds(data, CompareSettings(data=settings.data, folds=4, seed=1))
    assert all((p.split == s).all() for p, s in zip(parts, splits, strict=True))


def test_a_study_that_cannot_be_is_refused_before_its_first_training() -> None:
    CompareSettings(seed=2**32 - 2, seeds=2)
    with pytest.raises(UserError, match="the last seed would be above 4294967295"):
        CompareSettings(seed=2**32 - 1, seeds=2)
    with pytest.raises(UserError, match="its teachers: leave --start-from out"):
        CompareSettings(strategies=("distilled",), start_from=(Path("models/a"),))
    with pytest.raises(UserError, match="--strategies foo is unknown: all, distilled, joint"):
        CompareSettings(strategies=("joint", "foo"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_study_that_was_killed_ends_the_same(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=80, seed=1)
    settings = tiny_settings(data, tmp_path, name="study", epochs=2, dropout=0.3, checkpoint_minutes=EVERY_STEP)
    command = [*arguments(settings), "--seeds", "1", "--strategies", "dwa"]
    rng = random.Random(7)
    for kill in range(KILLS):
        at = f"training {rng.randint(1, 4)} of 4" if kill else "training 2 of 4"
        out = killed(start("-m", "painters_mtl.compare", *command), says(at), rng.uniform(0.2, 3))
        assert kill or "training 4 of 4" not in out
    resume = ["--resume", "--name", "study", "--models", str(settings.models)]
    assert compare.main(resume) == 0
    assert compare.main([*command, "--name", "whole"]) == 0
    one, other = settings.models / "study", settings.models / "whole"
    kinds = sorted(f.name for f in (one / "runs" / "seed0").iterdir())
    assert kinds == ["dwa", "genre", "painter", "style"]
    for kind in kinds:
        same_run(one / "runs" / "seed0" / kind, other / "runs" / "seed0" / kind)
    assert read_rows(one / "comparison.csv") == read_rows(other / "comparison.csv")

    again = start("-m", "painters_mtl.compare", *resume)  # Ctrl-C behind the last training
    out = interrupted(again, says("genre is trained already"))
    assert f"to go on: painters-mtl compare {shlex.join(resume)}" in out
