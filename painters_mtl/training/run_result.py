"""What a training came to: kept in its run folder, and read back from there."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from painters_mtl.common.files import atomic_write, read_json
from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.runs import run

PREDICTIONS, PROBABILITIES = "test_predictions.csv", "test_probabilities.npz"


@dataclass
class RunResult:
    """The history, metrics and test predictions of a training."""

    history: pd.DataFrame  # one row an epoch, as in history.csv
    metrics: dict[str, Any]  # as in metrics.json
    test_rows: np.ndarray  # int (n,): the test paintings, as rows of the data
    test_probabilities: dict[str, np.ndarray]  # {task: float32 (n, classes)}, calibrated, in the order of `test_rows`
    interrupted: bool  # Ctrl-C ended the training early


def read_result(data: Dataset, folder: Path, fingerprint: str, keep_model: bool = True) -> RunResult | None:
    """The result of the run in `folder`; None unless it came to its end and has this fingerprint.

    Args:
        keep_model: None also where there is no model.keras.
    """
    try:
        measured = read_json(folder / run.METRICS)
        if measured["fingerprint"] != fingerprint or measured["interrupted"]:
            return None
        if keep_model and not (folder / run.MODEL).is_file():
            return None
        with np.load(folder / PROBABILITIES, allow_pickle=False) as arrays:
            probabilities = dict(arrays)
        history = pd.read_csv(folder / run.HISTORY)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
    return RunResult(history, measured, data.rows("test"), probabilities, interrupted=False)


def save_predictions(folder: Path, data: Dataset, tasks: Mapping[str, Task], result: RunResult) -> None:
    """Write the test probabilities, and a table of labels and predictions, into the run folder."""
    rows, probabilities = result.test_rows, result.test_probabilities
    columns: dict[str, Any] = {"id": data.table["id"].to_numpy()[rows]}
    for name, task in tasks.items():
        columns[f"{name}_true"] = task.decode(data.labels[name][rows])
        columns[name] = task.decode(probabilities[name].argmax(axis=1))
        columns[f"{name}_confidence"] = probabilities[name].max(axis=1).round(4)
    with atomic_write(folder / PREDICTIONS) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False)
    with atomic_write(folder / PROBABILITIES) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **probabilities)  # type: ignore[arg-type]
