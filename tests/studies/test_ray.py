"""A Ray cluster of two machines on one: the same rows and trainings as without, also when one of them is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import arguments, make_data, picture, python, read_rows, tiny_settings, trained
from PIL import Image

from painters_mtl import compare, predict
from painters_mtl.common.errors import UserError
from painters_mtl.common.ray_cluster import MORE_MACHINES, has_room, worker_resources
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.resume import resume_command
from painters_mtl.training.run_folder import run_folder_lock

pytestmark = pytest.mark.timeout(1200)
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", MORE_MACHINES: "0"}  # before Ray is imported
MACHINE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 * 2**20}
SOON = {  # a dead machine is known to be dead in seconds instead of a quarter of a minute
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 2,
}


def started(start: Callable[[], Any]) -> Any:
    """What `start` makes, a part of a cluster. Ray gives it half a minute, which cannot be moved; a busy machine or one
    without shared memory is no fault of ours.
    """
    reason = ""
    for _ in range(3):
        try:
            return start()
        except Exception as error:  # Ray raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    pytest.skip(f"Ray does not start here: {reason}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one machine with one core; tests add a second one, and may kill it."""
    pytest.importorskip("ray.data", reason="needs the extra ray")
    from ray.cluster_utils import Cluster

    head = {**MACHINE, "include_dashboard": False, "_system_config": SOON}
    made = started(lambda: Cluster(initialize_head=True, head_node_args=head))
    yield made
    made.shutdown()


@contextlib.contextmanager
def killed_when(cluster: Any, word: str, ready: Callable[[], bool]) -> Iterator[list[bool]]:
    """A second machine, killed once a worker of it does what `word` says and something is `ready`; then [True]."""
    psutil = pytest.importorskip("psutil")
    node, killed, over = started(lambda: cluster.add_node(**MACHINE)), [], threading.Event()
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)

    def stopped_at_work() -> Any:
        """A worker that does what `word` says; it is held in it, so that it cannot be done before the kill."""
        for child in raylet.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if word in " ".join(child.cmdline()):
                    child.suspend()
                    if word in " ".join(child.cmdline()):
                        return child
                    child.resume()
        return None

    def watch() -> None:
        while not over.is_set():
            with contextlib.suppress(psutil.Error):
                if ready() and (held := stopped_at_work()):
                    cluster.remove_node(node, allow_graceful=False)
                    with contextlib.suppress(psutil.Error):
                        held.kill()  # it cannot see that its machine is gone, and may hold a lock
                    killed.append(True)
                    return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        over.set()
        watcher.join()
        if not killed:
            cluster.remove_node(node)


# ------------------------------------------------------------------------------------------------- without a cluster


def test_a_cluster_without_room_is_told_from_one_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)  # tests that run beside others have it

    def nodes(*found: tuple[bool, float, float]) -> Any:
        return SimpleNamespace(
            nodes=lambda: [{"Alive": a, "Resources": {"CPU": c, **({"GPU": g} if g else {})}} for a, c, g in found]
        )

    share = worker_resources(nodes((True, 4, 0), (True, 2, 0)), cpus=0)
    assert (share.cpus, share.gpus) == (min(2, len(os.sched_getaffinity(0))), 0)
    assert has_room(nodes((True, share.cpus, 0), (False, 8, 0)), share)
    assert not has_room(nodes((True, 0, 0), (False, 8, 0), (True, share.cpus - 0.5, 0)), share)
    with_gpu = worker_resources(nodes((True, 4, 2), (True, 16, 0)), cpus=2)
    assert (with_gpu.cpus, with_gpu.gpus, with_gpu.count) == (2, 1, 2)
    assert has_room(nodes((True, 2, 1)), with_gpu) and not has_room(nodes((True, 16, 0)), with_gpu)
    with pytest.raises(UserError, match="no machine of the Ray cluster has a core"):
        worker_resources(nodes((True, 0, 0), (False, 4, 0)), cpus=0)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("here", "must be host:port, or auto"),
        ("ray://a", "must be host:port"),
        ("ray://a:10001", "must be host:port"),
        ("127.0.0.1:1", "no Ray cluster answers"),
    ],
)
def test_an_address_that_cannot_be(address: str, words: str) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    from painters_mtl.common.ray_cluster import ray_connection

    with pytest.raises(UserError, match=words), ray_connection(address):
        pass


def test_what_is_missing_or_misused() -> None:
    code = "import sys; sys.modules['ray'] = None; from painters_mtl.common import ray_cluster; "
    assert 'pip install "painters-mtl[ray]"' in python("-c", f"{code}ray_cluster.ray_connection('').__enter__()").stderr
    with pytest.raises(UserError, match="leave --distribute out"):
        CompareSettings(engine="ray", distribute="mirrored")
    with pytest.raises(UserError, match="--ray-cpus -1"):
        CompareSettings(ray_cpus=-1)
    with pytest.raises(UserError, match="are for --engine ray"):
        CompareSettings(ray_cpus=1)
    command = resume_command(
        "compare", CompareSettings(engine="ray", ray_address="a:1", ray_cpus=1), Path("models/study")
    )
    assert command.endswith("--name study --engine ray --ray-address a:1 --ray-cpus 1")


# ------------------------------------------------------------------------------------------------- two machines


@pytest.mark.slow
def test_a_machine_dies_and_each_file_has_its_row(
    cluster: Any, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = trained(tmp_path_factory)
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(80):
        pixels = picture((i, 200 - i, 100), rng).repeat(30, 0).repeat(30, 1)  # large ones: the kill must find work
        Image.fromarray(pixels).save(tmp_path / "in" / f"{i}.png")
    (tmp_path / "in" / "33.png").write_bytes(b"not a picture")
    command = [str(tmp_path / "in"), "--model", str(model), "--batch-size", "2", "--top-k", "2"]
    assert predict.main([*command, "--output", str(tmp_path / "here.csv")]) == 1
    ray = ["--engine", "ray", "--ray-address", cluster.address]
    part = tmp_path / "there.csv.part"
    with killed_when(cluster, ".submit", lambda: part.exists() and part.read_bytes().count(b"\n") > 6) as killed:
        assert predict.main([*command, "--output", str(tmp_path / "there.csv"), *ray]) == 1
    told = capsys.readouterr().err
    assert len({row["path"] for row in read_rows(tmp_path / "there.csv")}) == 80
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    for output, more in (("here.html", []), ("there.html", ray)):
        assert predict.main([*command[:-2], "--output", str(tmp_path / output), *more]) == 1
    pages = [(tmp_path / name).read_text().replace(name, "") for name in ("here.html", "there.html")]
    assert pages[0] == pages[1] and pages[0].count("data:image/") >= 79
    if not killed:
        pytest.skip("the second machine had done its part before it could be killed")
    assert "a machine is gone: others label its pictures" in told


@pytest.mark.slow
def test_a_machine_dies_and_the_study_has_the_same_numbers(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=120), tmp_path, epochs=6, checkpoint_minutes=0.0)
    command = [*arguments(settings), "--seeds", "1", "--budget", "equal-updates"]
    assert compare.main([*command, "--name", "here"]) == 0
    here, there = tmp_path / "models" / "here", tmp_path / "models" / "there"

    def under_way() -> bool:  # whichever of the trainings is that machine's, it can be gone on with, and is not over
        begun = [f.parent for f in there.glob("runs/*/*/config.json") if not (f.parent / "metrics.json").exists()]
        return bool(begun) and all((folder / "checkpoint.npz").exists() for folder in begun)

    with killed_when(cluster, "_train", under_way) as killed:
        assert compare.main([*command, "--name", "there", "--engine", "ray", "--ray-address", cluster.address]) == 0
    told = capsys.readouterr().out
    assert told.index("joint, seed0") < told.index("4 of 4 trained") and not list(there.rglob("*lock"))
    assert (there / "comparison.csv").read_bytes() == (here / "comparison.csv").read_bytes()
    for kind in ("joint", *TASK_NAMES):
        one, other = (folder / "runs" / "seed0" / kind for folder in (here, there))
        assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
        with np.load(one / "test_probabilities.npz") as wanted, np.load(other / "test_probabilities.npz") as found:
            assert all(np.array_equal(wanted[name], found[name]) for name in wanted)
    if not killed:
        pytest.skip("the second machine had done its part before it could be killed")
    assert "another goes on" in told


@pytest.mark.slow
def test_ctrl_c_ends_a_study_that_has_its_checkpoints(cluster: Any, tmp_path: Path) -> None:
    settings = tiny_settings(make_data(tmp_path / "data", count=120), tmp_path, epochs=500, patience=500)
    command = [sys.executable, "-m", "painters_mtl.compare", *arguments(settings), "--seeds", "1"]
    ray = ["--engine", "ray", "--ray-address", cluster.address]
    environment = {**os.environ, "PYTHONPATH": str(Path(compare.__file__).parents[1])}
    study = subprocess.Popen(
        [*command, *ray], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    saved = settings.models / "run" / "runs" / "seed0" / "joint" / "checkpoint.npz"
    end = time.monotonic() + 300
    while not saved.exists() and time.monotonic() < end and study.poll() is None:
        time.sleep(0.05)
    assert saved.exists(), study.communicate(timeout=60) if study.poll() is not None else "no checkpoint in 300 s"
    study.send_signal(signal.SIGINT)
    out, err = study.communicate(timeout=60)
    assert study.returncode == 130 and "to go on: painters-mtl compare --resume --name run" in out, err
    assert "Traceback" not in err
    assert saved.stat().st_size > 1000
    with run_folder_lock(saved.parent, wait=False):  # nobody trains there any more
        pass
