"""Fetching the competition, against a stand-in for Kaggle on this machine: every way it goes well or wrong.

kagglehub is the real one. It is told to call "http://localhost", and to go there through a proxy, which is the
stand-in: it answers as the service and as the storage that the service sends one on to.
"""

import base64
import hashlib
import io
import json
import re
import shutil
import socket
import sys
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from lookups import run_verbs
from PIL import Image

from painters_mtl import download
from painters_mtl.data.catalog import read_catalog
from painters_mtl.images import files as images

KEY = ("ada", "0123456789abcdef")
TOO_FULL = namedtuple("Usage", "total used free")(10**12, 10**12, 5_000)


def jpeg(seed: int, side: int = 64) -> bytes:
    """A drawn picture, a JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def competition() -> dict[str, bytes]:
    """The competition's files: 12 paintings, of which 2.jpg and 11.jpg are cut, with their replacements."""
    pictures = {i: jpeg(i) for i in range(1, 13)}
    shown = {i: data[: len(data) // 2] if i in (2, 11) else data for i, data in pictures.items()}
    header = "artist,date,genre,style,title,artist_group,in_train,new_filename\n"
    rows = [f"P{i % 2},1900.0,portrait,Realism,T{i},train_and_test,{i < 9},{i}.jpg\n" for i in range(1, 13)]
    train = [f"{i}.jpg,{i % 2:032x},T{i},Realism,portrait,1900.0\n" for i in range(1, 9)]
    pairs = "index,image1,image2\n" + "".join(f"{i},9.jpg,{i}.jpg\n" for i in range(10, 13))
    return {
        "all_data_info.csv": (header + "".join(rows)).encode(),
        "train_info.csv.zip": zipped(
            {"train_info.csv": ("filename,artist,title,style,genre,date\n" + "".join(train)).encode()}
        ),
        "submission_info.csv.zip": zipped({"submission_info.csv": pairs.encode()}),
        "replacements_for_corrupted_files.zip": zipped(
            {"train/2.jpg": pictures[2], "test/11.jpg": pictures[11], "__MACOSX/train/._2.jpg": b"fork"}
        ),
        "train.zip": zipped({f"train/{i}.jpg": shown[i] for i in range(1, 9)}),
        "train_1.zip": zipped({f"train_1/{i}.jpg": shown[i] for i in range(1, 5)}),
        "train_2.zip": zipped({f"train_2/{i}.jpg": shown[i] for i in range(5, 9)}),
        "test.zip": zipped({f"test/{i}.jpg": shown[i] for i in range(9, 13)}),
        "readme.txt": b"not wanted",
    }


TABLES = {"all_data_info.csv", "train_info.csv.zip", "submission_info.csv.zip", "replacements_for_corrupted_files.zip"}
IMAGES = {"train_1.zip", "train_2.zip", "test.zip"}


class Kaggle(ThreadingHTTPServer):
    """The stand-in: `files` is what it has, the other attributes are how it misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = competition()
        self.sent: list[tuple[str, str]] = []  # (name, Range) of what the storage was asked for
        self.cut: dict[str, int] = {}  # the connection ends after so many bytes of a file, once
        self.damaged: dict[str, int] = {}  # a byte is changed on the way, so many times
        self.refuse_list: tuple[int, str] | None = None
        self.refuse_files: tuple[int, str] | None = None
        self.checksums = True
        self.packs = False  # tables that are not zipped are sent zipped, as Kaggle does with large ones

    def names(self) -> list[str]:
        return [name for name, _ in self.sent]


class Answer(BaseHTTPRequestHandler):
    server: Kaggle

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.rsplit("/", 1)[-1]
        key = base64.b64encode(":".join(KEY).encode()).decode()
        if self.headers["Authorization"] not in (f"Basic {key}", "Bearer a-token"):
            return self.say(401, {"code": 401, "message": "Unauthenticated"})
        if asked["competitionName"] != "painter-by-numbers":
            return self.say(404, {"code": 404, "message": "Not found"})
        refused = self.server.refuse_list if method == "ListDataFiles" else self.server.refuse_files
        if refused:
            return self.say(refused[0], {"code": refused[0], "message": refused[1]})
        if method == "ListDataFiles":
            return self.say(200, self.page(asked.get("pageToken")))
        assert method == "DownloadDataFile"
        name = asked["fileName"]
        self.send_response(302)
        packed = self.server.packs and name.endswith(".csv")
        self.send_header("Location", f"http://storage.example/{name}" + ".zip" * packed + "?signature=x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def page(self, token: str | None) -> dict[str, object]:
        """Five files a page."""
        start, names = int(token or 0), sorted(self.server.files)
        listed = [{"ref": n, "name": n, "totalBytes": len(self.server.files[n])} for n in names[start : start + 5]]
        more = {"nextPageToken": str(start + 5)} if start + 5 < len(names) else {}
        return {"files": listed} | more

    def say(self, status: int, content: dict[str, object]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        name, server = self.path.split("?")[0].rsplit("/", 1)[-1], self.server
        data = server.files.get(name) or zipped({name.removesuffix(".zip"): server.files[name.removesuffix(".zip")]})
        checksum = base64.b64encode(hashlib.md5(data).digest()).decode()
        server.sent.append((name, self.headers.get("Range", "")))
        start = int(re.sub(r"\D", "", self.headers.get("Range", "")) or 0)
        if server.damaged.get(name, 0) > 0:
            server.damaged[name] -= 1
            at = data.index(b"/") + 40  # within the first member, behind its name
            data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        self.send_response(206 if start else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if server.checksums:
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={checksum}")
        self.end_headers()
        self.wfile.write(data[start : server.cut.pop(name, len(data)) if name in server.cut and not start else None])


@pytest.fixture
def kaggle(monkeypatch, tmp_path) -> Iterator[Kaggle]:
    """The stand-in, running, and an environment in which kagglehub finds it and one key."""
    pytest.importorskip("kagglehub", reason='needs the extra: pip install "painters-mtl[kaggle]"')
    settle(monkeypatch, tmp_path)
    server = Kaggle()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("KAGGLE_USERNAME", KEY[0])
    monkeypatch.setenv("KAGGLE_KEY", KEY[1])
    yield server
    server.shutdown()
    server.server_close()


def settle(monkeypatch, tmp_path: Path) -> None:
    """No Kaggle, no key, and nothing of the real service in reach."""
    for name in ("KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home" / ".kaggle"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    with socket.socket() as unused:  # a port at which nobody answers
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
    monkeypatch.setattr(download, "KAGGLE_FOLDERS", (tmp_path / "kaggle",))


def contents(folder: Path) -> dict[str, bytes]:
    """The files a user sees."""
    return {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")}


def error(capsys) -> str:
    """What stands on standard error: progress bars and one line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


# ------------------------------------------------------------------------------------------------- success


def test_the_tables(kaggle, tmp_path, capsys):
    out = tmp_path / "data" / "pbn"
    assert download.main(["--output", str(out)]) == 0
    assert contents(out) == {name: kaggle.files[name] for name in TABLES}
    assert not (out / ".partial").exists()
    said = capsys.readouterr().out
    assert (
        f"to fetch: 4 files, {sum(len(kaggle.files[n]) for n in TABLES) / 1e6:,.1f} MB" in said and "--images" in said
    )


def test_the_images_and_the_replacements_in_place_of_the_corrupt_ones(kaggle, tmp_path):
    out = tmp_path / "pbn"
    assert download.main(["--output", str(out), "--images"]) == 0
    assert contents(out) == {name: kaggle.files[name] for name in TABLES | IMAGES}  # train.zip would be all twice
    table = read_catalog(out).table
    assert sorted(int(Path(i).stem) for i in table["id"]) == list(range(1, 13))
    for row in table.itertuples():
        number = int(Path(row.id).stem)
        picture = images.load_image(images.ImageFile(row.file, row.member))
        assert picture.repaired == ""
        with Image.open(io.BytesIO(jpeg(number))) as drawn:
            assert np.array_equal(picture.pixels, np.asarray(drawn))
        assert (Path(row.file).name == "replacements_for_corrupted_files.zip") == (number in (2, 11))
        assert row.competition == ("train" if number < 9 else "test")


def test_it_speaks_to_kaggle_only(kaggle, tmp_path):
    """And to nobody else, such as one who counts users: here all goes through the stand-in, so no host is looked up."""
    printed, of_verb = run_verbs([["download", "--output", tmp_path / "pbn"]], tmp_path / "watch")
    assert "status 0" in printed and of_verb == {"download": []}, printed
    assert set(kaggle.names()) == TABLES


def test_train_zip_where_it_is_not_in_parts(kaggle, tmp_path):
    del kaggle.files["train_1.zip"], kaggle.files["train_2.zip"]
    assert download.main(["--output", str(tmp_path / "pbn"), "--images"]) == 0
    assert set(contents(tmp_path / "pbn")) == TABLES | {"train.zip", "test.zip"}


def test_what_is_there_is_not_fetched_again(kaggle, tmp_path):
    out = tmp_path / "pbn"
    assert download.main(["--output", str(out)]) == 0
    first = len(kaggle.sent)
    assert download.main(["--output", str(out)]) == 0
    assert len(kaggle.sent) == first
    assert download.main(["--output", str(out), "--images"]) == 0
    assert set(kaggle.names()[first:]) == IMAGES


def test_what_a_user_fetched_or_unpacked_before_counts(kaggle, tmp_path):
    out = tmp_path / "pbn"
    out.mkdir()
    (out / "all_data_info.csv").write_bytes(kaggle.files["all_data_info.csv"])
    (out / "test.zip").write_bytes(kaggle.files["test.zip"])
    with zipfile.ZipFile(io.BytesIO(kaggle.files["train_info.csv.zip"])) as archive:
        archive.extractall(out)
    assert download.main(["--output", str(out), "--images"]) == 0
    assert set(kaggle.names()) == (TABLES | IMAGES) - {"all_data_info.csv", "train_info.csv.zip", "test.zip"}


def test_a_table_that_kaggle_packs_is_whole_all_the_same(kaggle, tmp_path):
    kaggle.packs = True
    assert download.main(["--output", str(tmp_path)]) == 0
    assert "all_data_info.csv.zip" in kaggle.names()
    assert (tmp_path / "all_data_info.csv").read_bytes() == kaggle.files["all_data_info.csv"]
    before = len(kaggle.sent)
    assert download.main(["--output", str(tmp_path)]) == 0 and len(kaggle.sent) == before


@pytest.mark.parametrize("kind", ["kaggle.json", "token"])
def test_other_ways_to_have_a_key(kaggle, tmp_path, monkeypatch, kind):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    if kind == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    else:
        (tmp_path / "home" / ".kaggle").mkdir()
        (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": KEY[0], "key": KEY[1]}))
    assert download.main(["--output", str(tmp_path / "pbn")]) == 0
    assert set(contents(tmp_path / "pbn")) == TABLES


# ------------------------------------------------------------------------------------------------- broken, damaged


@pytest.mark.parametrize("checksums", [True, False])
def test_what_broke_off_goes_on(kaggle, tmp_path, capsys, checksums):
    kaggle.checksums = checksums
    del kaggle.files["all_data_info.csv"], kaggle.files["submission_info.csv.zip"], kaggle.files["train.zip"]
    noise = np.random.default_rng(0).bytes(3 << 20)
    kaggle.files["train_1.zip"] = zipped({"train_1/1.jpg": jpeg(1), "train_1/notes.txt": noise})
    kaggle.cut["train_1.zip"] = (2 << 20) + 5_000  # kagglehub keeps whole mebibytes
    assert download.main(["--output", str(tmp_path), "--images"]) == 2
    assert re.search(r"train_1\.zip broke off: call again", error(capsys))
    assert not (tmp_path / "train_1.zip").exists()  # never half a file in its place
    before = len(kaggle.sent)
    assert download.main(["--output", str(tmp_path), "--images"]) == 0
    assert ("train_1.zip", f"bytes={2 << 20}-") in kaggle.sent[before:]
    assert set(kaggle.names()[before:]) == {"train_1.zip", "train_2.zip"}  # test.zip was done before
    assert contents(tmp_path) == {name: data for name, data in kaggle.files.items() if name != "readme.txt"}


@pytest.mark.parametrize("checksums", [True, False])
def test_what_comes_damaged_is_fetched_again(kaggle, tmp_path, capsys, checksums):
    """Known by the checksum that the service sends, or, where it sends none, by the zip's own."""
    kaggle.files = {"test.zip": kaggle.files["test.zip"]}
    kaggle.checksums = checksums
    kaggle.damaged["test.zip"] = 1
    assert download.main(["--output", str(tmp_path), "--images"]) == 0
    assert kaggle.names().count("test.zip") == 2
    assert (tmp_path / "test.zip").read_bytes() == kaggle.files["test.zip"]
    assert "test.zip came damaged" in capsys.readouterr().out


def test_what_stays_damaged_is_refused(kaggle, tmp_path, capsys):
    kaggle.files = {"test.zip": kaggle.files["test.zip"]}
    kaggle.damaged["test.zip"] = 9
    kaggle.checksums = False
    assert download.main(["--output", str(tmp_path), "--images"]) == 2
    assert "test.zip came damaged twice" in error(capsys) and kaggle.names().count("test.zip") == 2
    assert not (tmp_path / "test.zip").exists()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        *(("test.zip", fault) for fault in ("cut", "changed", "empty", "no zip")),
        *(("all_data_info.csv", fault) for fault in ("cut", "empty")),  # it has no checksum
    ],
)
def test_what_is_damaged_on_the_disk_is_fetched_again(kaggle, tmp_path, capsys, name, fault):
    kaggle.files = {name: kaggle.files[name]}
    assert download.main(["--output", str(tmp_path), "--images"]) == 0
    data = kaggle.files[name]
    at = len(data) // 3
    bad = {"cut": data[:-9], "changed": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "empty": b""}
    (tmp_path / name).write_bytes(bad.get(fault, b"<html>"))
    before = len(kaggle.sent)
    assert download.main(["--output", str(tmp_path), "--images"]) == 0
    assert kaggle.names()[before:] == [name]
    assert (tmp_path / name).read_bytes() == data
    assert f"{name} is damaged" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------- refused


def test_no_key(kaggle, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    message = error(capsys)
    assert all(word in message for word in ("key", "Settings", "KAGGLE_API_TOKEN", "~/.kaggle"))
    assert not kaggle.sent and not (tmp_path / "pbn").exists()


def test_a_kaggle_json_that_is_none(kaggle, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("KAGGLE_KEY")
    (tmp_path / "home" / ".kaggle").mkdir()
    (tmp_path / "home" / ".kaggle" / "kaggle.json").write_text("{username")
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    assert "kaggle.json: get a fresh one" in error(capsys)


def test_a_key_that_is_refused(kaggle, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "old")
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    assert re.search(r"refuses the key \(401: Unauthenticated\): make a new one", error(capsys))


@pytest.mark.parametrize("at", ["refuse_list", "refuse_files"])
@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (403, "You must accept this competition's rules", ["403: You must", "painter-by-numbers/rules", "accept them"]),
        (404, "Not found", ["Kaggle has no", "painter-by-numbers/data"]),
        (429, "Too many requests", ["429: Too many requests", "call again later"]),
        (503, "Unavailable", ["503", "call again later"]),
    ],
)
def test_what_the_service_refuses(kaggle, tmp_path, capsys, at, status, message, words):
    setattr(kaggle, at, (status, message))
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    said = error(capsys)
    assert all(word in said for word in words), said
    assert not kaggle.sent


def test_a_competition_with_other_files(kaggle, tmp_path, capsys):
    kaggle.files = {"readme.txt": b"x", "../../all_data_info.csv": b"x"}  # a name must not leave the folder
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    assert "none of the files" in error(capsys)


def test_no_network(tmp_path, capsys, monkeypatch):
    pytest.importorskip("kagglehub", reason='needs the extra: pip install "painters-mtl[kaggle]"')
    settle(monkeypatch, tmp_path)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    assert "cannot be reached" in error(capsys)


# ------------------------------------------------------------------------------------------------- before it starts


def test_too_little_room_is_said_before_anything_is_fetched(kaggle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: TOO_FULL)
    total = sum(len(kaggle.files[name]) for name in TABLES | IMAGES)
    unpacked = len(kaggle.files["all_data_info.csv"])
    assert total > TOO_FULL.free
    assert download.main(["--output", str(tmp_path), "--images", "--yes"]) == 2
    assert f"has 0.0 MB free and needs {(total + unpacked) / 1e6:,.1f} MB: make room" in error(capsys)
    assert not kaggle.sent


def test_much_is_asked_for_first(kaggle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(download, "ASK_ABOVE", 100)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # a pipe, not a terminal
    assert download.main(["--output", str(tmp_path)]) == 2
    assert "add --yes" in error(capsys) and not kaggle.sent

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer in ("n\n", ""):  # no, and Ctrl-D
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert download.main(["--output", str(tmp_path)]) == 1 and not kaggle.sent
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert download.main(["--output", str(tmp_path)]) == 0 and set(contents(tmp_path)) == TABLES


def test_without_kagglehub(tmp_path, capsys, monkeypatch):
    settle(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # as Python does for what cannot be imported
    assert download.main(["--output", str(tmp_path / "pbn")]) == 2
    assert 'pip install "painters-mtl[kaggle]"' in error(capsys)


def test_on_kaggle_it_is_there_already(tmp_path, capsys, monkeypatch):
    settle(monkeypatch, tmp_path)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert download.main([]) == 2
    assert "Add Input, painter-by-numbers" in error(capsys)
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "train_1.zip").touch()
    assert download.main([]) == 0
    assert f"is there already: {tmp_path / 'kaggle'}" in capsys.readouterr().out


def test_an_output_that_is_a_file(tmp_path, capsys, monkeypatch):
    settle(monkeypatch, tmp_path)
    (tmp_path / "file").touch()
    assert download.main(["--output", str(tmp_path / "file")]) == 2
    assert f"--output {tmp_path / 'file'} is a file" in error(capsys)
