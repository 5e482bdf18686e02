"""Tables of predictions: the same in every format, and read back as they were."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import read_rows, trained

from painters_mtl import predict
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


def test_every_format_says_the_same(folder: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    files = [*sorted(pictures.iterdir())[:7], tmp_path / 'bad, "one".jpg']
    files[-1].write_bytes(b"no picture")
    for ending in ("csv", "jsonl", "parquet"):
        run(folder, *files, "--output", tmp_path / f"out.{ending}", "--top-k", 2, status=1)
    rows = read_rows(tmp_path / "out.csv")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = pd.read_parquet(tmp_path / "out.parquet")
    assert [list(line) for line in lines] == [list(table.columns)] * 8 == [list(rows[0])] * 8
    for row, line, (_, cells) in zip(rows, lines, table.iterrows(), strict=True):
        for name, text in row.items():
            if text == "":
                assert line[name] in (None, "") and (cells[name] in (None, "") or np.isnan(cells[name]))
            elif name.endswith(("_confidence", "_known")):
                assert float(text) == line[name] == pytest.approx(cells[name], abs=1e-7)
            else:
                assert text == line[name] == cells[name]
    assert sorted(f.name for f in tmp_path.iterdir()) == [files[-1].name, "out.csv", "out.jsonl", "out.parquet"]
