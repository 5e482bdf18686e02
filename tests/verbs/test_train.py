"""`train`: a training that Ctrl-C ends leaves a run that can be used."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers import arguments, make_data, read_rows, tiny_settings

from painters_mtl.data.dataset import prepare
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.runs import run as runs


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few paintings for trainings of one epoch."""
    return make_data(tmp_path_factory.mktemp("small") / "data", count=80, seed=1)


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_run(small: Path, tmp_path: Path) -> None:
    settings = tiny_settings(small, tmp_path, epochs=1000, patience=1000)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "painters_mtl.train", *arguments(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("epoch 4 "):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, "".join(lines) + out + err
    assert "Traceback" not in err and "interrupted after" in out
    folder = settings.models / "run"
    measured = json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    assert measured["interrupted"] is True and 3 <= measured["epochs"] == len(history) < 1000
    assert measured["best_epoch"] == int(history["val_score"].idxmax()) + 1
    assert (folder / "report.html").is_file() and not [f for f in folder.iterdir() if f.name.startswith(".")]
    rows = read_rows(folder / "test_predictions.csv")
    data = prepare(dataclasses.replace(settings, split=folder / "split.csv"))
    run = runs.open_run(folder)
    forward = forward_function(run.model(), run.image_size)
    found = predict_in_batches(forward, data.images.pixels, data.image_rows[data.rows("test")])
    for task in TASK_NAMES:
        assert run.tasks[task].decode(found[task].argmax(axis=1)) == [r[task] for r in rows]
