"""Several devices train as one: the same losses and weights as one that sees the whole batch."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import arguments, fitted, make_data, same_weights, tiny_settings
from workers import OF_MIRRORED, OF_PROCESSES, Case, frozen_steps, steps

from painters_mtl import train
from painters_mtl.common.errors import UserError
from painters_mtl.runs.run import open_run
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.devices import Devices, connect
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.tf_config import Cluster, cluster_asked_for, of_environment

WORKERS = Path(__file__).resolve().parents[1] / "workers.py"


def addresses(count: int) -> list[str]:
    """Of ports that are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("localhost", 0))
        return [f"localhost:{probe.getsockname()[1]}" for probe in probes]


def config(workers: list[str], index: int, **jobs: list[str]) -> str:
    return json.dumps({"cluster": {"worker": workers, **jobs}, "task": {"type": "worker", "index": index}})


def start(words: list[object], tf_config: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(WORKERS.parents[1]), "OMP_NUM_THREADS": "1", "TF_CONFIG": tf_config},
    )


@contextlib.contextmanager
def together(commands: list[list[object]]) -> Iterator[list[subprocess.Popen[str]]]:
    """A worker for each command, of one cluster."""
    places = addresses(len(commands))
    workers = [start(words, config(places, i)) for i, words in enumerate(commands)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


# ------------------------------------------------------------------------------------------------- TF_CONFIG


def test_a_cluster_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert of_environment() is None and cluster_asked_for("auto") is None and cluster_asked_for("mirrored") is None
    monkeypatch.setenv("TF_CONFIG", config(["a:1", "[::1]:2"], 1))
    assert of_environment() == Cluster(("a:1", "[::1]:2"), 1)
    monkeypatch.setenv("TF_CONFIG", config(["a:1", "b:2"], 1, chief=["c:3"]))
    assert cluster_asked_for("auto") == cluster_asked_for("multiworker") == Cluster(("c:3", "a:1", "b:2"), 2)
    assert cluster_asked_for("none") is None
    monkeypatch.setenv("TF_CONFIG", config(["a:1"], 0))
    assert cluster_asked_for("auto") is None
    with pytest.raises(UserError, match="one worker only"):
        cluster_asked_for("multiworker")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "TF_CONFIG cannot be used"),
        ("[]", "TF_CONFIG cannot be used"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "it lacks 'task'"),
        (config(["a:1", "b:1"], 2), "task index 2 is none of the 2 workers"),
        (config(["a:1", "b:1"], -1), "task index -1"),
        (config(["a:1", "b"], 0), "'b' is not host:port"),
        (config(["a:1", "b:70000"], 0), "'b:70000' is not host:port"),
        (config(["a:1", "a:1"], 0), "two workers have one address"),
        (config(["a:1"], 0, ps=["b:1"]), "it has ps"),
        (config(["a:1"], 0, chief=["b:1", "c:1"]), "two chiefs"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=reason):
        of_environment()


def test_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data", str(tmp_path), "--models", str(tmp_path / "models"), "--distribute", "multiworker"]
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert train.main(command) == 2
    assert "needs the environment variable TF_CONFIG" in capsys.readouterr().err
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("TF_CONFIG", config([f"localhost:{port}", "localhost:1"], 0))
        assert train.main(command) == 2
        assert f"port {port}, which TF_CONFIG gives to worker 0, cannot be used" in capsys.readouterr().err
        cluster = Cluster((f"localhost:{port}", "localhost:1", f"localhost:{port}"), 0)
        assert cluster.unreachable() == [1]
    with pytest.raises(UserError, match="a study can have mirrored"):
        CompareSettings(distribute="multiworker")
    with pytest.raises(UserError, match="needs two GPUs or more"):
        connect("mirrored")


def test_the_parts_of_a_step_are_the_batch_once() -> None:
    """Part by part: the devices' parts of the first batch that accumulates, then of the second."""

    class Three:
        num_replicas_in_sync = 6

    cluster = Cluster(("a:1", "b:1", "c:1"), 0)
    every = [Devices(Three(), dataclasses.replace(cluster, index=i)) for i in range(3)]  # type: ignore[arg-type]
    assert [d.chief for d in every] == [True, False, False] and [d.first for d in every] == [0, 2, 4]
    rows = [d.local_places(12, micro_batches=2) for d in every]
    assert rows[1].tolist() == [4, 5, 6, 7, 16, 17, 18, 19]
    assert sorted(np.concatenate(rows)) == list(range(24))
    with pytest.raises(UserError, match="a batch of 16 cannot be divided among 6 devices: --batch-size 18 can"):
        every[0].local_places(16, 1)
    assert TrainSettings(distribute="auto").to_dict() == TrainSettings().to_dict()  # a run may go on on other machines


def test_workers_meet_or_say_who_is_late() -> None:
    places = tuple(addresses(3))
    three = [Cluster(places, index) for index in range(3)]
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(three[i].meet, 30.0) for i in (2, 0)]
        for words in (b"GET / HTTP/1.1\r\n", b"1\n"):  # a stranger; worker 1, which dies when it has come
            end = time.monotonic() + 30
            while True:
                try:
                    with socket.create_connection(("localhost", int(places[0].rsplit(":")[1])), 5) as peer:
                        peer.sendall(words)
                    break
                except ConnectionRefusedError:  # worker 0 does not listen yet
                    assert time.monotonic() < end
                    time.sleep(0.05)
        time.sleep(1.5)  # worker 2 has come by now
        assert not early[0].done() and not early[1].done()
        last = pool.submit(three[1].meet, 30.0)
        for found in (*early, last):
            found.result(timeout=30)
    with pytest.raises(UserError, match=r"worker 1, worker 2 did not come within 0\.1 s"):
        three[0].meet(0.1)
    with pytest.raises(UserError, match=r"worker 0, or one for whom it waits, did not come within 0\.1 s"):
        three[2].meet(0.1)


# ------------------------------------------------------------------------------------------------- steps


def check_steps(file: Path, cases: list[Case]) -> None:
    expected = {str(case): steps(case, Devices()) for case in cases} | {"frozen": frozen_steps(Devices())}
    with np.load(file) as arrays:
        for case, values in expected.items():
            for i, value in enumerate(values):
                np.testing.assert_allclose(arrays[f"{case}/{i}"], value, rtol=1e-5, atol=1e-6, err_msg=case)


def check_seeds(found: list[np.ndarray]) -> None:
    """Each device drops out units of its own, the first one those that one device alone would."""
    before, own = found[0][0], np.concatenate([seeds[1:] for seeds in found])
    assert all((seeds[0] == before).all() for seeds in found)
    assert (own[0] == before).all() and len(np.unique(own, axis=0)) == len(own) > 1


@pytest.mark.slow
def test_three_processes_make_the_steps_of_one(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.npz" for i in range(3)]
    with together([[WORKERS, "multiworker", file] for file in files]) as workers:
        for worker in workers:
            out, _ = worker.communicate(timeout=300)
            assert worker.returncode == 0, out
    check_steps(files[0], OF_PROCESSES)
    first, *others = (dict(np.load(file)) for file in files)
    check_seeds([found.pop("seeds") for found in (first, *others)])
    for other in others:
        assert all(np.array_equal(other[k], v, equal_nan=True) for k, v in first.items())


@pytest.mark.slow
def test_two_devices_of_a_process_make_the_steps_of_one(tmp_path: Path) -> None:
    worker = start([WORKERS, "mirrored", tmp_path / "found.npz"])
    out, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0, out
    check_steps(tmp_path / "found.npz", OF_MIRRORED)
    check_seeds([np.load(tmp_path / "found.npz")["seeds"]])


# ------------------------------------------------------------------------------------------------- a training


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
    changes = {"epochs": 3, "baselines": False, "painter_known": False}
    settings = tiny_settings(data, tmp_path, **changes, checkpoint_minutes=1e-6)
    far = dataclasses.replace(settings, models=tmp_path / "far")
    commands = [
        ["-m", "painters_mtl.train", *arguments(s), "--distribute", "multiworker", "--no-baselines"]
        for s in (settings, far)
    ]
    with together(commands) as workers:
        until(workers[0], "epoch 2")
        workers[1].kill()
        out, _ = workers[0].communicate(timeout=60)  # it must end within 60 s
        assert workers[0].returncode == 2
        assert "worker 1 (localhost:" in out and "is gone: start all workers again" in out
    with together(commands) as workers:
        ends = [worker.communicate(timeout=120)[0] for worker in workers]
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
    with together([command] * 2) as workers:
        until(workers[0], "epoch 2")
        workers[1].send_signal(signal.SIGSTOP)
        out, _ = workers[0].communicate(timeout=60)
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
    with together(stopped) as workers:
        until(workers[0], "epoch 2")
        workers[0].kill()
        out, _ = workers[1].communicate(timeout=60)
        assert workers[1].returncode == 2
        assert "worker 0 (localhost:" in out and "is gone: start all workers again" in out
    for commands in (stopped, whole):
        with together(commands) as workers:
            ends = [worker.communicate(timeout=120)[0] for worker in workers]
            assert [worker.returncode for worker in workers] == [0, 0], ends
            assert ("going on after epoch" in ends[0]) == (commands is stopped)
    one, other = (s.models / s.name for s in settings)
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    assert same_weights(*(open_run(f).model().get_weights() for f in (one, other)))
