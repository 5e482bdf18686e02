"""TF_CONFIG: which clusters are read, which are refused, and how workers meet."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster import addresses, config

from painters_mtl import train
from painters_mtl.common.errors import UserError
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.devices import connect
from painters_mtl.training.tf_config import Cluster, cluster_asked_for, cluster_of_environment


def test_a_cluster_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert (
        cluster_of_environment() is None and cluster_asked_for("auto") is None and cluster_asked_for("mirrored") is None
    )
    monkeypatch.setenv("TF_CONFIG", config(["a:1", "[::1]:2"], 1))
    assert cluster_of_environment() == Cluster(("a:1", "[::1]:2"), 1)
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
        cluster_of_environment()


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


def test_a_worker_whose_port_closes_last_is_gone_all_the_same() -> None:
    with socket.create_server(("localhost", 0)) as listener, ThreadPoolExecutor(1) as pool:
        cluster = Cluster(("localhost:1", f"localhost:{listener.getsockname()[1]}"), 0)
        assert cluster.unreachable() == []
        asked = pool.submit(cluster.unreachable, 60.0)
        time.sleep(0.5)
        listener.close()
        assert asked.result(timeout=60) == [1]


def test_workers_meet_or_say_who_is_late() -> None:
    places = tuple(addresses(3))
    three = [Cluster(places, index) for index in range(3)]
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(three[i].meet, 30.0) for i in (2, 0)]
        for content in (b"GET / HTTP/1.1\r\n", b"1\n"):  # another program; worker 1, which dies when it has come
            end = time.monotonic() + 30
            while True:
                try:
                    with socket.create_connection(("localhost", int(places[0].rsplit(":")[1])), 5) as peer:
                        peer.sendall(content)
                    break
                except ConnectionRefusedError:  # worker 0 does not listen yet
                    assert time.monotonic() < end
                    time.sleep(0.05)
        time.sleep(1.5)  # worker 2 has come by now
        assert not early[0].done() and not early[1].done()
        last = pool.submit(three[1].meet, 30.0)
        for worker in (*early, last):
            worker.result(timeout=30)
    with pytest.raises(UserError, match=r"worker 1, worker 2 did not come within 0\.1 s"):
        three[0].meet(0.1)
    with pytest.raises(UserError, match=r"worker 0, or one for whom it waits, did not come within 0\.1 s"):
        three[2].meet(0.1)
