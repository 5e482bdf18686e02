"""No verb looks up a host or calls one: Ray here speaks to itself. (`download`: tests/verbs/test_download.py.)"""

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers import make_data, trained
from lookups import calls, calls_of_others, compile_shim, run_verbs, watch_environment

from painters_mtl.__main__ import VERBS

pytestmark = pytest.mark.timeout(1800)  # a process does the work of ten
TINY = [
    *("--image-size", 32, "--backbone", "small_convnet", "--weights", "none", "--fine-tune", "all", "--batch-size", 8),
    *("--epochs", 1, "--painters", 2),
]
OF_NETWORKS = ("train", "describe", "predict", "explain", "embed", "similar", "pairs", "check")  # tested together


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("pictures") / "data", count=80, seed=1)


def ends(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("status ")]


def test_the_watch_sees_what_python_and_c_libraries_look_up(tmp_path: Path) -> None:
    """Names that are never there, and an address that nobody has (RFC 2606, RFC 5737)."""
    code = "import contextlib, ctypes, socket, subprocess, sys\n"
    code += "with contextlib.suppress(OSError):\n    socket.getaddrinfo('python.invalid', 80)\n"
    code += "with contextlib.suppress(OSError):\n    socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))\n"
    code += "child = 'import socket; socket.gethostbyname(\"child.invalid\")'\n"
    code += "subprocess.run([sys.executable, '-c', child], capture_output=True)\n"
    code += "ctypes.CDLL(None).gethostbyname(b'library.invalid')\n"
    watch = tmp_path / "watch"
    subprocess.run([sys.executable, "-c", code], env=watch_environment(watch), check=True)
    hosts = {line.split()[-1] for line in calls(watch)}
    seen_by_c = {"library.invalid"} if compile_shim(tmp_path) else set()
    assert hosts == {"python.invalid", "192.0.2.1", "child.invalid"} | seen_by_c
    assert calls_of_others(watch) == calls(watch)


def test_every_verb_is_watched() -> None:
    assert {*OF_NETWORKS, "compare", "export", "app", "download"} == VERBS.keys()


@pytest.mark.slow
def test_verbs_look_up_no_host(pictures: Path, tmp_path: Path) -> None:
    """A training and all that is done with its network, in the order in which people do it."""
    images, one, cache = pictures / "images", pictures / "images" / "000.png", ["--cache", tmp_path / "cache"]
    run = ["--model", tmp_path / "models" / "run"]
    places = ["--data", pictures, "--models", tmp_path / "models", *cache, "--name", "run"]
    commands: list[list[object]] = [
        ["check", "--data", pictures],
        ["check", images],
        ["train", *places, *TINY],
        ["describe", *run, "--output", tmp_path / "network.png"],
        ["predict", images, *run, "--output", tmp_path / "rows.csv"],
        ["explain", one, *run, "--output", tmp_path / "maps"],
        ["embed", images, *run, *cache, "--output", tmp_path / "vectors.npz", "--map", tmp_path / "map.png"],
        ["similar", one, "--in", images, *run, *cache, "--output", tmp_path / "similar.png"],
        ["pairs", *run, "--images", images, *cache, "--output", tmp_path / "pairs.csv"],
    ]
    printed, of_verb = run_verbs(commands, tmp_path / "watch")
    assert ends(printed) == ["status 0"] * len(commands), printed
    assert of_verb == {verb: [] for verb in OF_NETWORKS}, printed


@pytest.mark.slow
def test_studies_exports_and_their_runtimes_look_up_no_host(pictures: Path, tmp_path: Path) -> None:
    """A training of the default backbone, whose ImageNet weights come from a package; the rest with a small network."""
    for module in ("openvino", "ai_edge_litert", "onnx", "ray.data"):
        pytest.importorskip(module)
    images, models, cache = pictures / "images", tmp_path / "models", ["--cache", tmp_path / "cache"]
    words = ["--data", pictures, "--models", models, *cache]
    default = ["--painters", 2, "--epochs", 1, "--image-size", 32, "--fine-tune", "heads", "--no-baselines"]
    tiny = [*words, *TINY, "--no-refit"]
    run = ["--model", models / "run"]
    formats = ("saved_model", "litert", "onnx", "openvino")
    commands: list[list[object]] = [
        ["train", *words, *default, "--name", "default"],
        ["train", *tiny, "--name", "run", "--no-baselines"],
        ["compare", *tiny, "--name", "study", "--seeds", 1],
        *(["export", *run, "--format", name, "--output", tmp_path / name] for name in formats),
        *(["predict", images, *run, "--runtime", name, "--output", tmp_path / f"{name}.csv"] for name in formats[1::2]),
        ["predict", images, *run, "--engine", "ray", "--output", tmp_path / "ray.csv"],
    ]
    printed, of_verb = run_verbs(commands, tmp_path / "watch", RAY_ADDRESS="")
    assert ends(printed) == ["status 0"] * len(commands), printed
    assert of_verb == {verb: [] for verb in ("train", "compare", "export", "predict")}, printed


@pytest.mark.slow
def test_the_page_looks_up_no_host(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From its start over a visit to its end."""
    pytest.importorskip("gradio", reason="needs the extra app")
    run, _ = trained(tmp_path_factory)
    watch = tmp_path / "watch"
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "painters_mtl.app", "--model", str(run), "--cache", str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=watch_environment(watch),
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if address := re.match(r"open (http\S+) in a browser", line):
            with urllib.request.urlopen(address[1]) as page:
                assert page.status == 200
            process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, "".join(lines)
    assert calls_of_others(watch) == [], "".join(lines)
