"""Seconds from the command to the label of one picture, and the memory, in each runtime; beside a bare import.

    .venv/bin/python benchmarks/first_label.py ../shared/paintings/gallery --model models/full

Each command is a process of its own on a warm disk, and the fastest of some rounds counts. They take turns, so that
other work on the machine meets all alike. A runtime is exported and compared with Keras in a first round. Of a packaged
model, whose exports are in the user's cache folder, the first call is measured too: that folder is empty each time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from painters_mtl.images import files as images
from painters_mtl.inference import runtimes
from painters_mtl.runs.model_choice import open_named_run

FIRST = "auto, first call"


def measured(command: list[str], cache: Path) -> tuple[float, float]:
    """Seconds of a process, and its most memory in gigabytes.

    Args:
        cache: the folder of the user's caches.
    """
    start, environment = time.perf_counter(), {**os.environ, "XDG_CACHE_HOME": str(cache)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1e6


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="one of its pictures is labelled")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    picture = str(images.find_images(options.folder)[0])
    with tempfile.TemporaryDirectory() as place:
        label = [sys.executable, "-m", "painters_mtl.predict", picture, "--model", str(options.model)]
        label += ["--output", str(Path(place) / "one.csv"), "--runtime"]
        commands = {"import tensorflow": [sys.executable, "-c", "import tensorflow"]}
        commands |= {name: [*label, name] for name in ("keras", *runtimes.installed())}
        if open_named_run(options.model).packaged:
            commands[FIRST] = [*label, "auto"]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(options.rounds + 1):
            for name, command in commands.items():
                one = measured(command, Path(place) / (f"cache-{turn}" if name == FIRST else "cache"))
                if turn:
                    found[name].append(one)
    least = min(found["import tensorflow"])[0]
    for name, rounds in found.items():
        seconds, memory = min(rounds)
        print(f"{name}: {seconds:.1f} s, {seconds / least:.2f} of the import, {memory:.2f} GB")


if __name__ == "__main__":
    main()
