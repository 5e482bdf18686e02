"""Trainings of several processes: they end as those of one, also when a worker died or hung on the way."""

import dataclasses
import json
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cluster import run_together
from helpers import arguments, fitted, make_data, same_weights, tiny_settings

from painters_mtl.runs.run import open_run

TOO_LONG = 240  # seconds: what has not ended by then hangs; on an idle machine it is well below a minute


def until(worker: subprocess.Popen[str], beginning: str) -> None:
    assert worker.stdout is not None
    lines = []
    for line in worker.stdout:
        lines.append(line)
        if line.startswith(beginning):
            return
    raise AssertionError("".join(lines))


@pytest.mark.slow
def test_a_training_that_lost_a_worker_ends_as_that_of_one_process(tmp_path: Path) -> None:
    """Two workers: ended by the death of one, then started again, to the end.

    The second one has no folder of runs in common with the first, and none afterwards.
    """
    data = make_data(tmp_path / "data", count=80, seed=1)
    # Without the head that is fitted afterwards, by worker 0 alone: it would make much of what is 1e-6 in the features.
    # At small steps: AdamW makes much of the last digits of small gradients, which differ with the number of processes.
    changes = {"epochs": 3, "baselines": False, "painter_known": False, "learning_rate": 1e-4}
    settings = tiny_settings(data, tmp_path, **changes, checkpoint_minutes=1e-6)
    far = dataclasses.replace(settings, models=tmp_path / "far")
    commands = [
        ["-m", "painters_mtl.train", *arguments(s), "--distribute", "multiworker", "--no-baselines"]
        for s in (settings, far)
    ]
    with run_together(commands) as workers:
        until(workers[0], "epoch 2")
        workers[1].kill()
        out, _ = workers[0].communicate(timeout=TOO_LONG)
        assert workers[0].returncode == 2
        assert "worker 1 (localhost:" in out and "is gone: start all workers again" in out
    with run_together(commands) as workers:
        ends = [worker.communicate(timeout=TOO_LONG)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], ends
        assert "going on after epoch 1" in ends[0]
    assert not (tmp_path / "far").exists()
    _, outcome, one = fitted(dataclasses.replace(settings, name="one"))
    two = settings.models / settings.name
    history = pd.read_csv(two / "history.csv")
    assert list(history.columns) == list(outcome.history.columns)
    for column in history.filter(like="loss"):
        np.testing.assert_allclose(history[column], outcome.history[column], atol=1e-5)
    for a, b in zip(*(open_run(f).model().get_weights() for f in (one, two)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    assert outcome.metrics["updates"] == json.loads((two / "metrics.json").read_text())["updates"]


@pytest.mark.slow
def test_a_worker_that_hangs_ends_the_others(tmp_path: Path) -> None:
    """Its machine answers still, it does not."""
    data = make_data(tmp_path / "data", count=80, seed=1)
    settings = tiny_settings(data, tmp_path, epochs=1000, patience=1000, baselines=False)
    command = ["-m", "painters_mtl.train", *arguments(settings), "--distribute", "multiworker", "--no-baselines"]
    with run_together([command] * 2) as workers:
        until(workers[0], "epoch 2")
        workers[1].send_signal(signal.SIGSTOP)
        out, _ = workers[0].communicate(timeout=TOO_LONG)
        assert workers[0].returncode == 2
        assert "a worker does not answer" in out and "start all workers again" in out


@pytest.mark.slow
def test_workers_that_were_stopped_come_to_the_end_of_those_that_were_not(tmp_path: Path) -> None:
    """Bit for bit, with a dropout of each worker's own and a strategy that remembers; worker 0, who writes, died."""
    data = make_data(tmp_path / "data", count=80, seed=1)
    changes = {"epochs": 3, "dropout": 0.3, "strategy": "dwa", "baselines": False, "checkpoint_minutes": 1e-6}
    settings = [tiny_settings(data, tmp_path, name=name, **changes) for name in ("stopped", "whole")]
    stopped, whole = (
        [["-m", "painters_mtl.train", *arguments(s), "--distribute", "multiworker", "--no-baselines"]] * 2
        for s in settings
    )
    with run_together(stopped) as workers:
        until(workers[0], "epoch 2")
        workers[0].kill()
        out, _ = workers[1].communicate(timeout=TOO_LONG)
        assert workers[1].returncode == 2
        assert "worker 0 (localhost:" in out and "is gone: start all workers again" in out
    for commands in (stopped, whole):
        with run_together(commands) as workers:
            ends = [worker.communicate(timeout=TOO_LONG)[0] for worker in workers]
            assert [worker.returncode for worker in workers] == [0, 0], ends
            assert ("going on after epoch" in ends[0]) == (commands is stopped)
    one, other = (s.models / s.name for s in settings)
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert same_weights(*(open_run(f).model().get_weights() for f in (one, other)))
