"""The folds of a study."""

from functools import partial
from pathlib import Path

import numpy as np
from helpers import make_data, tiny_settings

from painters_mtl.data.dataset import prepare
from painters_mtl.data.duplicates import group_near_copies, thumbnails
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
    small = partial(thumbnails, data.images.pixels, data.image_rows)
    assert (data.groups == group_near_copies(data.table, data.images.hashes[data.images.rows >= 0], small)).all()
    parts = datasets_of_folds(data, CompareSettings(data=settings.data, folds=4, seed=1))
    assert all((p.split == s).all() for p, s in zip(parts, splits, strict=True))
