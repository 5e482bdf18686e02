"""The fingerprint of a training: another where the trained network or its figures would be others."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from helpers import make_data, tiny_settings

from painters_mtl.data.dataset import Dataset, prepare
from painters_mtl.training.run_spec import RunSpec
from painters_mtl.training.settings import TrainSettings


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, TrainSettings]:
    folder = tmp_path_factory.mktemp("spec")
    settings = tiny_settings(make_data(folder / "data", count=60), folder, styles=("2",), painter_known=True)
    return prepare(settings), settings


@pytest.mark.parametrize("style", ["", "a style that no other work has"])
def test_labels_outside_the_classes_count_for_the_task_that_has_them(
    prepared: tuple[Dataset, TrainSettings], style: str
) -> None:
    """Works outside the classes train a known-class head; how many kinds of them there are decides which head it is."""
    data, settings = prepared
    outside = int(np.flatnonzero((data.labels["style"] < 0) & (data.table["style"] != "").to_numpy())[0])
    table = data.table.copy()
    table.loc[table.index[outside], "style"] = style
    changed = dataclasses.replace(data, table=table)

    def fingerprint(data: Dataset, task: str) -> str:
        return RunSpec(data, settings, Path("run"), {task: data.tasks[task]}).fingerprint()

    assert fingerprint(changed, "style") != fingerprint(data, "style")
    assert fingerprint(changed, "painter") == fingerprint(data, "painter")
