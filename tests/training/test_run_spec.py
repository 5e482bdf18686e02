"""The fingerprint of a training: another where the trained network would be another, and only there."""

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
    settings = tiny_settings(make_data(folder / "data", count=60), folder, styles=("2",))
    return prepare(settings), settings


def with_style(data: Dataset, row: int, style: str) -> Dataset:
    table = data.table.copy()
    table.loc[table.index[row], "style"] = style
    return dataclasses.replace(data, table=table)


@pytest.mark.parametrize("known_class_heads", [True, False])
def test_labels_outside_the_classes_count_where_a_known_class_head_learns_from_them(
    prepared: tuple[Dataset, TrainSettings], known_class_heads: bool
) -> None:
    data, settings = prepared
    settings = dataclasses.replace(settings, painter_known=known_class_heads)
    outside = int(np.flatnonzero((data.labels["style"] < 0) & (data.table["style"] != "").to_numpy())[0])

    def fingerprint(data: Dataset, tasks: tuple[str, ...] = ("style",)) -> str:
        return RunSpec(data, settings, Path("run"), {name: data.tasks[name] for name in tasks}).fingerprint()

    before = fingerprint(data)
    assert fingerprint(with_style(data, outside, "")) != before or not known_class_heads
    assert fingerprint(with_style(data, outside, "")) == before or known_class_heads
    assert fingerprint(with_style(data, outside, "another style outside the classes")) == before
    painter_alone = [fingerprint(table, ("painter",)) for table in (data, with_style(data, outside, ""))]
    assert painter_alone[0] == painter_alone[1]
