"""A page that runs, for tests of it: in a process of its own, with a small network."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STARTED = 300  # seconds that a page may take, on a machine that is busy


@contextlib.contextmanager
def running(*words: object, code: str = "", **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`python -m painters_mtl.app WORDS`, its address and its process; it is ended as Ctrl-C does.

    Args:
        code: Python to run before it, in the same process.
    """
    call = f"{code}\nimport sys\nfrom painters_mtl.app import main\nsys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", call, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1", **environment},
    )
    timer = threading.Timer(STARTED, process.kill)
    timer.start()
    try:
        lines = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"open (http://\S+) in a browser", line):
                break
        else:
            raise AssertionError("".join(lines))
        timer.cancel()
        threading.Thread(target=lambda: [*process.stdout], daemon=True).start()  # so that it never waits for a reader
        yield found[1], process
    finally:
        timer.cancel()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def post(url: str, body: bytes, content_type: str, timeout: float = 300) -> tuple[int, Any]:
    """Status and JSON of the answer to a POST."""
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def upload(url: str, name: str, content: bytes) -> tuple[int, Any]:
    """As `curl -F files=@NAME` does: the answer is the list of where the files lie."""
    head = f'--bound\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    return post(
        f"{url}/gradio_api/upload", head + content + b"\r\n--bound--\r\n", "multipart/form-data; boundary=bound"
    )


def ask(url: str, question: str, *values: Any) -> tuple[int, Any]:
    """The answer of one address of the interface."""
    status, answer = post(f"{url}/gradio_api/run/{question}", json.dumps({"data": values}).encode(), "application/json")
    return status, answer["data"][0] if status == 200 else answer


def file_data(path: str | Path) -> dict[str, Any]:
    """What stands for an upload in a question."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def label(url: str, name: str, content: bytes) -> Any:
    """Upload a picture and ask for its labels."""
    status, paths = upload(url, name, content)
    if status != 200:
        return {"error": paths}
    return ask(url, "label", file_data(paths[0]))[1]


def memory(process: subprocess.Popen[str]) -> int:
    """The most memory that a process has had, in bytes."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) << 10  # type: ignore[index]
