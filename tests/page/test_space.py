"""The Space of Hugging Face that the guide describes: its app.py, as it stands there, starts and answers."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from pages import STARTED, label
from pictures import encode, scene

from painters_mtl.runs.model_choice import bundled_model

pytest.importorskip("gradio", reason='needs pip install "painters-mtl[app]"')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bundled_model() is None, reason="no model is bundled with this copy"),
]
ROOT = Path(__file__).parents[2]


def test_the_app_of_the_guide_runs_as_a_space(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / "app.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```\n(import sys\n.*?)```", guide, re.DOTALL)
    (tmp_path / "app.py").write_text(code)
    bundled = bundled_model()
    assert bundled is not None
    shutil.copytree(bundled, tmp_path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    space = {"SPACE_ID": "somebody/painters", "SYSTEM": "spaces", "GRADIO_SERVER_PORT": str(port)}
    environment = {**os.environ, **space, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + STARTED
        while time.monotonic() < until and process.poll() is None:
            try:
                assert b"What painting is this?" in urllib.request.urlopen(url).read()
                break
            except urllib.error.URLError:
                time.sleep(0.5)
        assert set(label(url, "a.jpg", encode(scene(), "JPEG"))["labels"]) == {"painter", "style", "genre"}
        listening = Path("/proc/net/tcp").read_text(encoding="ascii")
        assert f"00000000:{port:04X}" in listening  # for the Space, not for this machine alone
    finally:
        process.terminate()
        process.wait(60)
