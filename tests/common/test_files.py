"""Files are there whole or as they were, and written by one process at a time."""

import contextlib
import errno
import fcntl
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import locked_elsewhere

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import (
    atomic_folder,
    atomic_write,
    file_lock,
    full_disk_is_an_os_error,
    read_if_sound,
    read_json,
    remove_leftovers,
    write_json,
    write_text,
)


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    write_text(file, "old")
    with pytest.raises(RuntimeError), atomic_write(file) as temporary:
        temporary.write_text("half of the n")
        assert temporary.suffix == file.suffix and temporary.parent == file.parent  # a rename, and the kind is known
        raise RuntimeError
    assert file.read_text() == "old" and [f.name for f in tmp_path.iterdir()] == ["table.csv"]
    with atomic_write(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new" and [f.name for f in tmp_path.iterdir()] == ["table.csv"]


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "Naïve – 浮世絵\n")
    assert (tmp_path / "a.json").read_bytes() == "Naïve – 浮世絵\n".encode()


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        left = tmp_path / temporary.name
        os.link(left, tmp_path / ".999-b.json")
        raise RuntimeError
    (tmp_path / ".hidden").touch()
    (tmp_path / ".12-other.json").touch()
    assert not left.exists()
    remove_leftovers(tmp_path, "b.json")
    assert {f.name for f in tmp_path.iterdir()} == {".hidden", ".12-other.json"}
    remove_leftovers(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {".hidden"}


def test_a_lock_is_held_by_one_process_and_freed_by_its_death(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lock"
    with locked_elsewhere(file) as process:
        message = f"another process \\({process.pid}\\) is at it"
        with pytest.raises(UserError, match=message), file_lock(file, "at it", wait=False):
            pass
        threading.Timer(2, process.kill).start()
        with file_lock(file, "at it", wait=True):
            assert process.wait(timeout=10) == -signal.SIGKILL
            assert f"another process ({process.pid}) is at it: waiting" in capsys.readouterr().out
            assert file.read_text() == str(os.getpid())
        assert not file.exists()


@pytest.mark.slow
def test_waiting_processes_take_turns(tmp_path: Path) -> None:
    """Each adds one to a number in a file, which loses counts unless they do it one after the other."""
    number, lock = tmp_path / "number", tmp_path / "lock"
    number.write_text("0")
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from painters_mtl.common.files import file_lock\n"
        "number, lock = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "for _ in range(15):\n"
        "    with file_lock(lock, 'counting', wait=True):\n"
        "        value = int(number.read_text())\n"
        "        time.sleep(0.005)\n"
        "        number.write_text(str(value + 1))\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, number, lock], stdout=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=100)
    assert [process.returncode for process in processes] == [0] * 4
    assert number.read_text() == "60" and [f.name for f in tmp_path.iterdir()] == ["number"]


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_keeps_nobody_waiting(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", flock)
    with file_lock(tmp_path / "lock", "at it", wait=True), file_lock(tmp_path / "lock", "at it", wait=False):
        pass
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------- JSON


def test_what_json_does_not_have_comes_back(tmp_path: Path) -> None:
    values = {"a": [1.5, math.nan, (2, math.inf)], "Ä": {"b": "c", "d": True}}
    write_json(tmp_path / "a.json", values)
    assert "null" in (tmp_path / "a.json").read_text() and "NaN" not in (tmp_path / "a.json").read_text()
    back = read_json(tmp_path / "a.json")
    assert back["a"][0] == 1.5 and math.isnan(back["a"][1]) and back["a"][2][0] == 2 and math.isnan(back["a"][2][1])
    assert back["Ä"] == values["Ä"]


@pytest.mark.parametrize("content", [b"[1]", b"7", b"null", b"{", b"", b"\xff"])
def test_a_file_that_holds_no_mapping_is_as_if_it_were_missing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.json"
    assert read_if_sound(file) == {}
    file.write_bytes(content)
    assert read_if_sound(file) == {}
    write_json(file, {"a": 1, "b": None})
    assert read_if_sound(file) == {"a": 1, "b": None}


def test_a_folder_that_cannot_be_replaced_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "old.txt").write_text("old")
    with pytest.raises(OSError), atomic_folder(folder, replace=True) as temporary:
        temporary.rmdir()  # so that nothing can take its place
    assert [path.name for path in tmp_path.iterdir()] == ["export"] and (folder / "old.txt").read_text() == "old"
    with atomic_folder(folder, replace=True) as temporary:
        (temporary / "new.txt").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "new.txt"]


def test_a_folder_behind_a_link_is_filled_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link") as temporary:
        (temporary / "a.txt").write_text("first")
    with atomic_folder(tmp_path / "link", replace=True) as temporary:
        (temporary / "a.txt").write_text("second")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "a.txt").read_text() == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_what_is_put_into_a_folder_meanwhile_is_an_error_unless_it_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OSError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "a.txt").write_text("mine")
        (tmp_path / "out" / "b.txt").write_text("somebody's")
    with atomic_folder(tmp_path / "out", or_there=True) as temporary:
        (temporary / "a.txt").write_text("mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "b.txt"]


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_killed_process_of_the_same_number_left_is_in_nobodys_way(is_there: bool, tmp_path: Path) -> None:
    """In containers all processes have the same few numbers."""
    host = re.sub(r"\W", "", platform.node())
    for name, content in ((f".{os.getpid()}-{host}-out", "half"), (f".{os.getpid()}-{host}-old-out", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(content)
    if is_there:  # the new one was whole, and the old one not yet removed
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.txt").write_text("whole")
    with pytest.raises(ValueError, match="slip"), atomic_folder(tmp_path / "out", replace=True):
        raise ValueError("slip")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["out", "out/a.txt"]
    assert (tmp_path / "out" / "a.txt").read_text() == ("whole" if is_there else "old")
    with atomic_folder(tmp_path / "out", replace=True) as temporary:
        (temporary / "a.txt").write_text("new")
    assert (tmp_path / "out" / "a.txt").read_text() == "new"


@pytest.mark.parametrize("stop_at", ["", "copy of a", "copy of d", "removal of the old", "removal of the new"])
def test_a_mount_point_is_replaced_whole_or_not_at_all(
    stop_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rename moves it or takes its place, so that what is in it is copied; Ctrl-C may come at any time."""
    mount, rename, copied, removed = tmp_path / "mount", Path.replace, shutil.copy2, shutil.rmtree

    def fill(folder: Path, content: str) -> None:
        (folder / "d").mkdir(parents=True)
        for name in ("a", "d/b"):
            (folder / name).write_text(content)

    fill(mount, "old")

    def refuse(self: Path, target: Path) -> Path:
        if mount in (self, target):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, target)

    def copy(source: Any, target: Any) -> object:
        is_new = Path(source).read_text() == "new"
        if is_new and stop_at == {"a": "copy of a", "b": "copy of d"}[Path(source).name]:
            raise KeyboardInterrupt
        return copied(source, target)

    def remove(path: Path, ignore_errors: bool = False) -> None:
        if path.name == "d" and (path / "b").exists() and not hit:
            whose = (path / "b").read_text()
            if (whose, stop_at) in (("old", "removal of the old"), ("new", "removal of the new")):
                hit.append(path)
                (path / "b").unlink()
                raise KeyboardInterrupt
        removed(path, ignore_errors=ignore_errors)

    hit: list[Path] = []
    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(shutil, "copy2", copy)
    monkeypatch.setattr(shutil.copytree, "__defaults__", tuple(copy if d is copied else d for d in _DEFAULTS))
    monkeypatch.setattr(shutil, "rmtree", remove)
    ends = pytest.raises(KeyboardInterrupt) if stop_at else contextlib.nullcontext()
    with ends, atomic_folder(mount, replace=True, or_there=True) as temporary:
        temporary.rmdir()
        fill(temporary, "new")
    monkeypatch.undo()
    content = {str(path.relative_to(mount)): path.read_text() for path in mount.rglob("*") if path.is_file()}
    left = [path.name for path in tmp_path.iterdir() if path != mount]
    if stop_at != "removal of the new":  # then the new one is whole, and what is left of it elsewhere goes
        assert content == dict.fromkeys(("a", "d/b"), "old" if stop_at else "new"), left
    else:
        assert content in ({"a": "new", "d/b": "new"}, {"a": "old", "d/b": "old"}), left
    assert left == []


_DEFAULTS = shutil.copytree.__defaults__ or ()


def test_a_disk_that_tensorflow_finds_full_is_pythons_error(tmp_path: Path) -> None:
    import tensorflow as tf

    with pytest.raises(OSError, match="No space left") as caught, full_disk_is_an_os_error(tmp_path / "logs"):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "logs")
