"""Uploads come and go: nothing outside the folder is read, nothing stays in it."""

import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from painters_mtl.common.errors import Unreadable
from painters_mtl.images import zips
from painters_mtl.page import limits
from painters_mtl.page.uploads import Uploads


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uploads]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Uploads()
    yield made
    made.close()


def put(uploads: Uploads, name: str, content: bytes = b"x", age: float = 0) -> Path:
    """A file as gradio leaves it: in a folder named by its content."""
    folder = uploads.folder / f"{abs(hash(content)):x}"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    os.utime(folder / name, (time.time() - age,) * 2)
    return folder / name


def test_only_uploads_are_read(uploads: Uploads, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"x")
    link = uploads.folder / "link.jpg"
    link.symlink_to(secret)
    for path in (secret, "/etc/passwd", uploads.folder / ".." / ".." / "secret.jpg", link, "", None, "a\0b"):
        with pytest.raises(Unreadable):
            uploads.file({"path": path and str(path)})
    mine = put(uploads, "monet.jpg")
    assert uploads.file({"path": str(mine)}).path == str(mine) and uploads.file({"path": str(mine)}).name == "monet.jpg"


def test_what_is_old_goes_and_what_is_asked_for_stays(uploads: Uploads) -> None:
    old, used = put(uploads, "old.jpg", b"1", 2000), put(uploads, "used.jpg", b"2", 2000)
    broken_off = uploads.folder / "tmpabc"
    broken_off.write_bytes(b"half")
    os.utime(broken_off, (time.time() - 130,) * 2)
    uploads.file({"path": str(used)})
    uploads.sweep()
    assert not old.exists() and not old.parent.exists() and not broken_off.exists() and used.exists()


def test_what_waits_for_its_turn_stays(uploads: Uploads) -> None:
    paths = [put(uploads, f"{k}.jpg", bytes([k]), age=1700) for k in range(3)]
    waiting = [uploads.file({"path": str(path)}) for path in paths]
    for path in paths:  # half an hour later
        os.utime(path, (time.time() - 1799,) * 2)
    uploads.keep(waiting)
    uploads.sweep(time.time() + 60)
    assert all(path.exists() for path in paths)


def test_the_oldest_make_room(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STORED", 25)
    files = [put(uploads, f"{k}.jpg", bytes([k]) * 10, age=100 - k) for k in range(4)]
    assert uploads.full() and uploads.size() == 40
    uploads.sweep()
    assert [file.exists() for file in files] == [False, False, True, True] and not uploads.full()


def test_a_closed_tab_takes_what_only_it_used(uploads: Uploads) -> None:
    mine, shared = put(uploads, "mine.jpg", b"1"), put(uploads, "shared.jpg", b"2")
    made = uploads.folder_for("a") / "labels.csv"
    made.write_text("path")
    for session, path in (("a", mine), ("a", shared), ("b", shared)):
        uploads.file({"path": str(path)}, session)
    uploads.forget("a")
    assert not mine.exists() and not made.parent.exists() and shared.exists()
    uploads.forget("b")
    assert not shared.exists() and uploads.size() == 0


def test_examples_stay(uploads: Uploads) -> None:
    example = uploads.drawn / "example.jpg"
    example.write_bytes(b"1")
    os.utime(example, (time.time() - 10_000,) * 2)
    uploads.file({"path": str(example)}, "a")
    uploads.sweep()
    uploads.forget("a")
    assert example.exists()


def test_a_removed_zip_is_closed(uploads: Uploads) -> None:
    """An open file would keep its bytes on the disk."""
    zipped = put(uploads, "a.zip", b"1")
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x.jpg", b"x")
    zips.open_zip(str(zipped))

    def held_open() -> list[str]:
        return [link for link in map(os.readlink, _descriptors()) if "a.zip" in link]

    assert held_open()
    uploads.file({"path": str(zipped)}, "a")
    uploads.forget("a")
    assert not held_open()


def _descriptors() -> Iterator[Path]:
    return (link for link in Path("/proc/self/fd").iterdir() if os.path.lexists(link))


def test_the_folder_goes_with_the_page_and_that_of_a_killed_one_later(uploads: Uploads, tmp_path: Path) -> None:
    put(uploads, "a.jpg")
    dead = tmp_path / "painters-page-4194304-x"  # beyond the largest number of a process
    (dead / "uploads").mkdir(parents=True)
    same = tmp_path / f"painters-page-{os.getpid()}-x"  # of a killed page in a container, where all have this number
    (same / "uploads").mkdir(parents=True)
    again = Uploads()
    assert not dead.exists() and not same.exists() and uploads.root.exists()
    for each in (again, uploads):
        each.close()
        assert not each.root.exists()


def test_folders_that_go_while_they_are_counted(uploads: Uploads) -> None:
    """A tab is closed, and its folders are removed, in another thread than the one that counts."""
    stop, rounds = threading.Event(), []

    def churn() -> None:
        while not stop.is_set():
            made = [uploads.folder_for("tab") for _ in range(20)]
            for folder in made:
                (folder / "a.jpg").write_bytes(b"x")
            uploads.forget("tab")
            rounds.append(len(made))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(3000):
            uploads.size()
            uploads.sweep()
    finally:
        stop.set()
        thread.join()
    assert uploads.size() == 0 and len(rounds) > 10  # or else nothing went while they were counted


def test_an_upload_that_is_gone_says_so(uploads: Uploads) -> None:
    with pytest.raises(Unreadable, match="it is not kept any more"):
        uploads.file({"path": str(uploads.folder / "abc" / "x.jpg")})


def test_the_files_of_an_upload_that_goes_on_stay_until_it_is_whole(uploads: Uploads) -> None:
    first, second = uploads.folder / "tmpfirst", uploads.folder / "tmpsecond"
    for file, age in ((first, limits.PARTIAL_SECONDS + 10), (second, 1)):
        file.write_bytes(b"x")
        os.utime(file, (time.time() - age,) * 2)
    uploads.sweep()
    assert first.exists() and second.exists()
    uploads.sweep(time.time() + limits.PARTIAL_SECONDS + 10)
    assert not first.exists() and not second.exists()


def test_a_closed_tab_leaves_what_was_uploaded_again_since(uploads: Uploads) -> None:
    place = uploads.folder / "checksum" / "a.png"
    place.parent.mkdir()
    place.write_bytes(b"x")
    uploads.file(str(place), "first")
    again = uploads.folder / "tmp-again"
    again.write_bytes(b"x")
    again.replace(place)
    uploads.forget("first")
    assert uploads.file(str(place), "second").path == str(place)
    uploads.forget("second")
    assert not place.exists()
