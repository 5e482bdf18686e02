"""The page over HTTP, as anybody can reach it: its interface, what it refuses, many at once, what it leaves behind."""

import http.cookiejar
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
from pages import ask, file_data, label, memory, post, running, upload
from pictures import encode, scene
from small_runs import trained_run

from painters_mtl.images.files import ImageFile
from painters_mtl.inference.predictor import label as predicted
from painters_mtl.runs.run import Run

pytest.importorskip("gradio", reason='needs pip install "painters-mtl[app]"')
pytestmark = pytest.mark.slow

# Names that the process looks up go to a file; when another file appears, limits on time become short.
WATCHED = """
import socket
asked = open({log!r}, "a", buffering=1)
for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "getnameinfo"):
    def watched(host, *rest, _call=getattr(socket, name), **more):
        asked.write(f"{{host}}\\n")
        return _call(host, *rest, **more)
    setattr(socket, name, watched)
import pathlib, threading, time
from painters_mtl.page import limits
limits.SWEEP_SECONDS = 0.5
def shorten():
    while not pathlib.Path({log!r} + "-short").exists():
        time.sleep(0.2)
    limits.PARTIAL_SECONDS, limits.STALL_SECONDS = 3.0, 5.0
threading.Thread(target=shorten, daemon=True).start()
"""
LOOPBACK = {"127.0.0.1", "localhost", "::1", "b'127.0.0.1'", "0.0.0.0", "None"}


@dataclass
class Page:
    url: str
    process: "Popen[str]"
    run: Run
    log: Path
    pictures: Path

    @property
    def folder(self) -> Path:
        """The temporary folder of the page."""
        (found,) = Path("/tmp").glob(f"painters-page-{self.process.pid}-*")
        return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    where = tmp_path_factory.mktemp("page")
    run = trained_run(where / "models" / "first")
    trained_run(where / "models" / "first" / "baselines" / "style", seed=1)
    (where / "works").mkdir()
    for seed in range(4):
        scene(60, 80, seed).save(where / "works" / f"{seed}.png")
    words = ("--model", run.folder, "--collection", where / "works", "--cache", where / "cache")
    log = where / "looked-up"
    with running(*words, code=WATCHED.format(log=str(log)), TMPDIR="/tmp") as (url, process):
        yield Page(url, process, run, log, where / "works")


def test_a_painting_is_labelled_as_predict_does(page: Page) -> None:
    file = page.pictures / "2.png"
    answer = label(page.url, "two.png", file.read_bytes())
    (wanted,) = predicted(page.run, [ImageFile(str(file))])
    assert wanted.probabilities is not None and answer["file"] == "two.png"
    for name, task in page.run.tasks.items():
        found = answer["labels"][name]["likeliest"]
        assert found[0]["class"] == task.classes[int(wanted.probabilities[name].argmax())]
        assert found[0]["confidence"] == pytest.approx(float(wanted.probabilities[name].max()), abs=2e-3)


def test_the_names_of_the_interface_last(page: Page) -> None:
    with urllib.request.urlopen(f"{page.url}/gradio_api/info") as answer:
        names = set(json.loads(answer.read())["named_endpoints"])
    assert names == {"/label", "/explain", "/nearest", "/compare", "/label_folder", "/model"}


def test_every_question_is_answered(page: Page) -> None:
    given = file_data(upload(page.url, "a.png", (page.pictures / "1.png").read_bytes())[1][0])
    status, found = ask(page.url, "explain", given, "style/d")
    assert status == 200 and found["label"] == "style: d" and found["picture"].startswith("data:image/jpeg")
    until = time.monotonic() + 120
    while not (nearest := ask(page.url, "nearest", given, 2)[1])["works"] and time.monotonic() < until:
        time.sleep(0.5)
    assert [work["work"] for work in nearest["works"]][:1] == ["1.png"] and len(nearest["works"]) == 2
    status, model = ask(page.url, "model")
    names = model["models"][:2]
    assert names == ["first", "first, one network for each task"]
    assert set(ask(page.url, "compare", given, *names)[1]) == set(names)
    broken = file_data(upload(page.url, "b.jpg", b"no picture")[1][0])
    rows = ask(page.url, "label_folder", [given, broken])[1]["rows"]
    assert [row["path"] for row in rows] == ["a.png", "b.jpg"] and rows[1]["error"].startswith("not an image")
    labels = ask(page.url, "label", given)[1]["labels"]
    for task, answer in labels.items():  # a number here too
        assert rows[0][f"{task}_confidence"] == pytest.approx(answer["likeliest"][0]["confidence"], abs=1e-3)
    assert "no painter that the model knows" in ask(page.url, "explain", given, "painter/nobody")[1]["error"]


def test_broken_files_are_answered_in_words(page: Page) -> None:
    for name, content, why in (
        ("empty.jpg", b"", "empty"),
        ("text.png", b"a letter", "not an image"),
        ("cut.jpg", encode(scene(), "JPEG")[:300], "truncated"),
        ("zip.zip", b"PK\5\6" + bytes(18), "a zip"),
    ):
        error = label(page.url, name, content)["error"]
        assert error.startswith(name) and why in error, error


def test_no_file_of_the_machine_is_read_or_served(page: Page) -> None:
    secret = page.run.folder / "labels.json"
    for path in (secret, "/etc/passwd", page.folder / "uploads" / ".." / ".." / ".." / "etc" / "passwd"):
        status, answer = ask(page.url, "label", file_data(path))
        assert status == 400 and answer["error"] == "the page reads only what was uploaded to it: upload the file first"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{page.url}/gradio_api/file={path}")
        assert caught.value.code in (403, 404)
    assert ask(page.url, "label", file_data("http://127.0.0.1:1/x.jpg"))[0] == 400


def test_two_hundred_at_once_half_of_them_broken(page: Page) -> None:
    good = [encode(scene(seed=seed), "JPEG") for seed in range(20)]
    broken = [b"", b"no picture", good[0][:200], b"\x89PNG\r\n\x1a\n" + b"x" * 99, b"GIF89a", b"RIFF1234WEBP"]

    def one(number: int) -> dict:  # type: ignore[type-arg]
        content = good[number // 2 % 20] if number % 2 else broken[number // 2 % len(broken)]
        return label(page.url, f"{number}.jpg", content)

    one(1)
    before = memory(page.process)
    with ThreadPoolExecutor(200) as people:
        answers = list(people.map(one, range(200)))
    assert [answer["error"] for answer in answers[1::2] if "labels" not in answer] == []
    assert all("error" in answer for answer in answers[::2])
    assert all(answer["error"].split(" ")[0] == f"{2 * k}.jpg" for k, answer in enumerate(answers[::2]))
    assert page.process.poll() is None and "labels" in one(1)
    assert memory(page.process) - before < 500 << 20


def test_more_than_the_queue_holds_are_told_so(page: Page) -> None:
    """The buttons of the page go through a queue; what it cannot hold is refused, and the page lives on."""
    given = file_data(upload(page.url, "a.png", (page.pictures / "1.png").read_bytes())[1][0])
    body = json.dumps({"data": [given]}).encode()

    def join(_: int) -> tuple[int, object]:
        return post(f"{page.url}/gradio_api/call/label", body, "application/json")

    with ThreadPoolExecutor(64) as people:
        answers = list(people.map(join, range(500)))
    assert {status for status, _ in answers} <= {200, 503}
    refused = [answer for status, answer in answers if status == 503]
    assert all("full" in str(answer) or "try again" in str(answer) for answer in refused)
    assert "labels" in label(page.url, "a.png", (page.pictures / "1.png").read_bytes())


def test_an_upload_that_breaks_off_leaves_nothing(page: Page) -> None:
    Path(f"{page.log}-short").touch()
    time.sleep(1)
    host, port = urllib.parse.urlsplit(page.url).netloc.split(":")
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    head += 'Content-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'

    def partial() -> list[Path]:
        return [path for path in (page.folder / "uploads").iterdir() if path.is_file()]

    gone, silent = (socket.create_connection((host, int(port))) for _ in range(2))
    for one in (gone, silent):
        one.sendall(head.encode() + b"x" * 5000)
    until = time.monotonic() + 20
    while len(partial()) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(partial()) == 2
    gone.close()
    silent.settimeout(60)
    assert b"408" in silent.recv(1000).split(b"\r\n")[0]  # told that it is too slow
    until = time.monotonic() + 60
    while partial() and time.monotonic() < until:
        time.sleep(0.2)
    assert partial() == []


def test_no_host_was_looked_up_and_nothing_stays(page: Page) -> None:
    """Last in this file: all that was asked above is in the log."""
    assert set(page.log.read_text().split("\n")) - LOOPBACK - {""} == set()
    folder = page.folder
    page.process.terminate()
    page.process.wait(60)
    assert not folder.exists()


def test_others_are_let_in_with_a_password_only(tmp_path: Path) -> None:
    run = trained_run(tmp_path / "models" / "first")
    words = ("--model", run.folder, "--host", "0.0.0.0", "--auth", "curator")
    with running(*words, PAINTERS_PASSWORD="a long one") as (url, _):
        picture = encode(scene(), "JPEG")
        assert upload(url, "a.jpg", picture)[0] == 401 and ask(url, "model")[0] == 401
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{url}/config")
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

        def log_in(password: str) -> int:
            form = urllib.parse.urlencode({"username": "curator", "password": password}).encode()
            try:
                return opener.open(f"{url}/login", form).status
            except urllib.error.HTTPError as error:
                return error.code

        assert log_in("a wrong one") == 400 and log_in("a long one") == 200
        assert opener.open(f"{url}/config").status == 200
