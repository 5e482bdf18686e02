"""The page under load: the time to label a picture of 4 megapixels through it, and 200 people at once.

    python benchmarks/page.py --model models/full

Starts `painters-mtl app` with the model, uploads a drawn JPEG of 4 megapixels and asks for its labels, 20 times, one
after the other; then 200 people do the same at once, every other one with a file that is no picture. Prints the times,
how many were answered, and the most memory that the page has had.
"""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

PIXELS = (2_449, 1_633)  # 4.0 megapixels, three to two
ONE_BY_ONE, AT_ONCE = 20, 200


def picture() -> bytes:
    """A JPEG with structure at all scales, as a photograph has it."""
    rng = np.random.default_rng(0)
    layers = [Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize(PIXELS) for n in (4, 32, 256)]
    stream = io.BytesIO()
    Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8)).save(
        stream, "JPEG", quality=90
    )
    return stream.getvalue()


def post(url: str, body: bytes, content_type: str) -> object:
    """The JSON that a POST is answered with."""
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return {"error": error.code}


def label(url: str, content: bytes) -> tuple[float, dict[str, object]]:
    """Upload a file and ask for its labels: seconds, and the answer."""
    start = time.perf_counter()
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + content + b"\r\n--b--\r\n"
    paths = post(f"{url}/gradio_api/upload", form, "multipart/form-data; boundary=b")
    given = {"path": paths[0], "meta": {"_type": "gradio.FileData"}}  # type: ignore[index]
    body = json.dumps({"data": [given]}).encode()
    answer = post(f"{url}/gradio_api/run/label", body, "application/json")
    return time.perf_counter() - start, answer["data"][0] if "data" in answer else answer  # type: ignore[index,operator]


def measure(url: str, process: "subprocess.Popen[str]") -> None:
    """Ask, and print what it took."""
    content = picture()
    label(url, content)  # the first one waits for the network to be loaded
    times = [label(url, content)[0] for _ in range(ONE_BY_ONE)]
    what = f"a picture of {PIXELS[0] * PIXELS[1] / 1e6:.1f} megapixels, {len(content) / 1e6:.1f} MB"
    print(f"{what}, one by one: median {np.median(times):.2f} s, slowest {max(times):.2f} s")
    start = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as people:
        answers = list(people.map(lambda k: label(url, content if k % 2 else b"no picture"), range(AT_ONCE)))
    seconds = time.perf_counter() - start
    labelled, refused = (sum(key in answer for _, answer in answers) for key in ("labels", "error"))
    waits = [wait for wait, _ in answers]
    print(f"{AT_ONCE} at once: {labelled} labelled and {refused} told why not, in {seconds:.1f} s; ", end="")
    print(f"the median waited {np.median(waits):.1f} s, the last {max(waits):.1f} s")
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    print(f"most memory: {int(peak[1]) / 1e6:.2f} GB" if peak else "")


@contextlib.contextmanager
def running(words: list[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The page, started with these words: its address and its process, which ends with the block.

    Exits with 1 where the page ends without an address.
    """
    process = subprocess.Popen([sys.executable, "-m", "painters_mtl.app", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if address := re.search(r"open (http://\S+) in a browser", line):
                yield address[1], process
                return
        sys.exit(1)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def main(words: list[str]) -> None:
    """Start the page, measure, end it."""
    with running(words) as (url, process):
        measure(url, process)


if __name__ == "__main__":
    main(sys.argv[1:])
