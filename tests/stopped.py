"""Commands that are stopped, by a signal or a kill, and whether what they began ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from painters_mtl.runs.run import open_run

EVERY_STEP = 1e-6  # minutes between checkpoints
KILLS = int(os.environ.get("PAINTERS_KILLS", "2"))  # of each run that is killed; PAINTERS_KILLS=10 takes minutes


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def says(words: str) -> Callable[[str], bool]:
    return lambda line: words in line


def interrupted(process: subprocess.Popen[str], ready: Callable[[str], bool]) -> str:
    """Ctrl-C at the first line that is `ready`; all that it printed until its end, which is in order."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            process.send_signal(signal.SIGINT)
            break
    out = "".join(lines) + process.communicate(timeout=300)[0]
    assert process.returncode == 130 and "Traceback" not in out, out
    return out


def killed(
    process: subprocess.Popen[str], ready: Callable[[str], bool], delay: float, written: Path | None = None
) -> str:
    """Kill it so many seconds after the first line that is `ready`; all that it printed. Its end may come first.

    Args:
        written: a file that must have been written once more, after that line and before the delay.
    """
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if ready(line):
            before = stamp(written)
            while stamp(written) == before and written is not None and process.poll() is None:
                time.sleep(0.002)
            threading.Timer(delay, process.kill).start()
            break
    lines.append(process.communicate(timeout=300)[0])
    assert process.returncode in (-signal.SIGKILL, 0), "".join(lines)
    return "".join(lines)


def stamp(file: Path | None) -> int:
    return file.stat().st_mtime_ns if file is not None and file.exists() else 0


def same_run(one: Path, other: Path) -> None:
    """Bitwise: history, predictions, metrics and, where they are kept, weights."""
    for name in ("history.csv", "test_predictions.csv", "labels.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    drop = {"training_seconds": 0, "fingerprint": ""}
    metrics = [{**json.loads((f / "metrics.json").read_text()), **drop} for f in (one, other)]
    assert metrics[0] == metrics[1]
    if (other / "model.keras").exists():
        weights = [open_run(f).model().get_weights() for f in (one, other)]
        assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert not (one / "checkpoint.npz").exists() and not [f for f in one.iterdir() if f.name.startswith(".")]
