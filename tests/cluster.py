"""Processes of one cluster on this machine, for tests of several workers."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

WORKERS = Path(__file__).with_name("workers.py")
WITH_CHECKS_SOON = """
import runpy, sys
from painters_mtl.training import devices
devices.HEALTH_CHECK_SECONDS = 2  # a worker that is through waits as long for its checks to end
sys.argv.pop(0)
if sys.argv[0] == "-m":
    sys.argv.pop(0)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def addresses(count: int) -> list[str]:
    """Addresses of this machine, host:port, whose ports are free now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("localhost", 0))
        return [f"localhost:{probe.getsockname()[1]}" for probe in probes]


def config(workers: list[str], index: int, **jobs: list[str]) -> str:
    """The TF_CONFIG of a worker."""
    return json.dumps({"cluster": {"worker": workers, **jobs}, "task": {"type": "worker", "index": index}})


def start(words: list[object], tf_config: str = "") -> subprocess.Popen[str]:
    """A Python process with this TF_CONFIG."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", WITH_CHECKS_SOON, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(WORKERS.parents[1]), "OMP_NUM_THREADS": "1", "TF_CONFIG": tf_config},
    )


@contextlib.contextmanager
def run_together(commands: list[list[object]]) -> Iterator[list[subprocess.Popen[str]]]:
    """A worker for each command, of one cluster."""
    places = addresses(len(commands))
    workers = [start(words, config(places, i)) for i, words in enumerate(commands)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
