"""A runtime is exported once and compared with Keras before it is trusted; TensorFlow is not needed from then on."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import python
from random_runs import any_installed, fresh_copy, make_run, needs, pictures

from painters_mtl.common.errors import UserError
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import runtime_choice, runtimes
from painters_mtl.inference.parity import sample_images
from painters_mtl.inference.runtime_choice import exports_folder, fastest_runtime, open_runtime
from painters_mtl.runs.run import Run
from painters_mtl.runs.training_data import paintings_of_run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="module")
def files(base: Path) -> list[ImageFile]:
    return pictures(base / "pictures")


@pytest.fixture
def run(base: Path, tmp_path: Path) -> Run:
    """A fresh copy of a run with the small network, never exported."""
    if not (base / "convnet").is_dir():
        make_run(base / "convnet")
    return fresh_copy(base / "convnet", tmp_path / "run")


@pytest.mark.parametrize("name", runtimes.EXACT)
def test_a_later_load_needs_neither_tensorflow_nor_pictures(name: str, run: Run, files: list[ImageFile]) -> None:
    needs(name)
    copies = sample_images(run, files)
    wanted = open_runtime(run, name, 32, files)(copies)
    np.save(run.folder / "copies.npy", copies)
    program = (
        "import sys, pathlib, numpy as np\n"
        "from painters_mtl.inference.runtime_choice import open_runtime\n"
        "from painters_mtl.runs.run import open_run\n"
        f"folder = pathlib.Path({str(run.folder)!r})\n"
        f"found = open_runtime(open_run(folder), {name!r})(np.load(folder / 'copies.npy'))\n"
        "np.savez(folder / 'found.npz', **found)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = python("-c", program)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    found = np.load(run.folder / "found.npz")
    for task in wanted:
        np.testing.assert_allclose(found[task], wanted[task], atol=1e-6)


@pytest.mark.parametrize("name", runtimes.EXACT)
def test_other_weights_in_the_exported_file_are_refused(
    name: str, run: Run, files: list[ImageFile], tmp_path: Path
) -> None:
    needs(name)
    open_runtime(run, name, 32, files)
    other = make_run(tmp_path / "other", seed=5)
    open_runtime(other, name, 32, files)
    place, strange = (next((r.folder / "runtimes" / name).iterdir()) for r in (run, other))
    for file in strange.glob("model.*"):
        shutil.copy(file, place)
    with pytest.raises(UserError, match=r"is not used, for its outputs are not those of Keras: .*differs by 0\.\d+"):
        open_runtime(run, name, 32, files)
    largest = max(place.glob("model.*"), key=lambda f: f.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be loaded|its outputs are not those of Keras"):
        open_runtime(run, name, 32, files)


@pytest.mark.parametrize("name", runtimes.EXACT)
def test_a_network_that_was_trained_again_is_exported_again(name: str, run: Run, files: list[ImageFile]) -> None:
    needs(name)
    copies = sample_images(run, files)
    before = open_runtime(run, name, 32, files)(copies)
    first = set((run.folder / "runtimes" / name).iterdir())
    run = make_run(run.folder, seed=3)
    found, wanted = open_runtime(run, name, 32, files)(copies), open_runtime(run, "keras")(copies)
    assert np.abs(found["painter"] - before["painter"]).max() > 0.01
    np.testing.assert_allclose(found["painter"], wanted["painter"], atol=1e-5)
    second = set((run.folder / "runtimes" / name).iterdir())
    assert len(second) == 1 and not first & second  # the old one is gone, nothing half-written stays


def test_what_is_checked_once_is_not_checked_again(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]
) -> None:
    name = any_installed()
    open_runtime(run, name, 32, files)
    assert "compared with Keras on 7 paintings" in capsys.readouterr().out
    check = next((run.folder / "runtimes" / name).glob("*/check.json"))
    written = check.stat().st_mtime_ns
    open_runtime(run, name, 32, files)
    assert capsys.readouterr().out == "" and check.stat().st_mtime_ns == written
    content = json.loads(check.read_text())
    content["stamp"]["version"] = "another 1.0"
    check.write_text(json.dumps(content))
    open_runtime(run, name, 32, files)
    assert "compared with Keras" in capsys.readouterr().out


def test_auto_takes_what_is_ready_first_for_few_pictures(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]
) -> None:
    name = any_installed()
    assert fastest_runtime(run, files) == name
    assert "from the next time on it is there at once" in capsys.readouterr().out
    assert fastest_runtime(run) == name and capsys.readouterr().out == ""
    assert not (run.folder / "runtimes" / "speeds.json").exists()


def test_auto_measures_once_for_many_and_keeps_what_it_found(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    any_installed()
    monkeypatch.setattr(runtime_choice, "MANY", len(files))
    names = runtimes.installed()
    best = fastest_runtime(run, files)
    kept = json.loads((run.folder / "runtimes" / "speeds.json").read_text())
    rates = kept["pictures_a_second"]
    assert set(rates) == {"keras", *names} and rates[best] == max(rates.values()) > 0
    capsys.readouterr()
    other = next(name for name in rates if name != best)
    kept["fastest"] = other
    (run.folder / "runtimes" / "speeds.json").write_text(json.dumps(kept))
    assert fastest_runtime(run) == other and capsys.readouterr().out == ""
    kept["fastest"] = "keras"  # which is waited for longer than few pictures take
    (run.folder / "runtimes" / "speeds.json").write_text(json.dumps(kept))
    assert fastest_runtime(run, files[:3]) != "keras" and fastest_runtime(run) == "keras"
    monkeypatch.setattr(runtime_choice, "FEW", 3)
    assert fastest_runtime(run, files[:3]) == "keras"
    capsys.readouterr()
    kept["valid_for"]["processor"] = "another, 128 cores"
    (run.folder / "runtimes" / "speeds.json").write_text(json.dumps(kept))
    fastest_runtime(run, files)
    assert "pictures a second: keras" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("litert", "ai_edge_litert")])
def test_a_missing_package_is_named(name: str, package: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]  # Python's own way to forbid an import
    with pytest.raises(UserError, match=rf"{package} is not installed.*pip install \"painters-mtl\[{name}\]\""):
        open_runtime(run, name)


def test_an_unknown_runtime_is_named(run: Run) -> None:
    with pytest.raises(UserError, match="--runtime fast is unknown: keras, openvino"):
        open_runtime(run, "fast")


def test_without_paintings_nothing_is_trusted(run: Run, tmp_path: Path) -> None:
    name = any_installed()
    with pytest.raises(UserError, match="no paintings to do that on"):
        open_runtime(run, name)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="none of the 1 pictures"):
        open_runtime(run, name, 32, [ImageFile(str(tmp_path / "bad.png"))])
    assert not list((run.folder / "runtimes" / name).iterdir())


@pytest.mark.parametrize("demo", [True, False])
def test_a_run_without_data_was_trained_where_its_data_are_found(
    demo: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture is no comparison: the run's own paintings are taken, also if no --data said where they are."""
    monkeypatch.chdir(tmp_path)
    (run.folder / "config.json").write_text('{"data": null}')
    run = dataclasses.replace(run, demo=demo)
    assert paintings_of_run(run) == []
    place = Path("data/demo" if demo else "data/painter-by-numbers")
    assert {file.path for file in pictures(place, 3)} == {str(place / f"{k}.png") for k in range(3)}
    assert {file.name for file in paintings_of_run(run)} == {f"{k}.png" for k in range(3)}


def test_auto_labels_with_keras_where_nothing_can_be_compared(run: Run, tmp_path: Path, capsys: Any) -> None:
    any_installed()
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert fastest_runtime(run, [ImageFile(str(tmp_path / "bad.png"))]) == "keras"
    assert "none of the 1 pictures" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_to(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]
) -> None:
    name = any_installed()
    (run.folder / "runtimes").write_text("in the way")
    with pytest.raises(UserError, match=r"runtimes cannot be written .*use --runtime keras"):
        open_runtime(run, name, 32, files)
    assert fastest_runtime(run, files) == "keras"  # it needs no place
    assert "runtimes cannot be written" in capsys.readouterr().out


def test_exports_of_what_lies_where_nobody_can_write_are_in_the_users_cache(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert exports_folder(run) == run.folder / "runtimes"
    packaged = dataclasses.replace(run, packaged=True)
    assert exports_folder(packaged).parent == tmp_path / "cache" / "painters-mtl" / "runtimes"
    for k in range(6):
        (exports_folder(packaged).parent / f"{k}").mkdir(parents=True)
        os.utime(exports_folder(packaged).parent / f"{k}", (0, k))
    runtime_choice._remove_but_newest(exports_folder(packaged).parent)
    assert sorted(each.name for each in exports_folder(packaged).parent.iterdir()) == ["2", "3", "4", "5"]


def test_bfloat16_only_where_the_processor_has_it(run: Run, files: list[ImageFile]) -> None:
    needs("openvino")
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in bfloat16")
    with pytest.raises(UserError, match="does not compute in bfloat16; use openvino"):
        open_runtime(run, "openvino-bf16", 32, files)


def test_openvino_looks_up_no_host_and_leaves_the_home_folder_alone(
    run: Run, files: list[ImageFile], tmp_path: Path
) -> None:
    """Exported, run, and run again without TensorFlow: by default OpenVINO reports each import to an analytics host."""
    needs("openvino")
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "asked = []\n"
        "names = ('socket.getaddrinfo', 'socket.gethostbyname', 'socket.connect', 'socket.sendto')\n"
        "sys.addaudithook(lambda event, args: asked.append((event, args)) if event in names else None)\n"
        "from painters_mtl.images.files import find_images\n"
        "from painters_mtl.inference.runtime_choice import open_runtime\n"
        "from painters_mtl.runs.run import open_run\n"
        f"files = find_images({str(Path(files[0].path).parent)!r})\n"
        f"open_runtime(open_run(Path({str(run.folder)!r})), 'openvino', 32, files)\n"
        "time.sleep(1)\n"  # what is sent is sent from a thread
        "print(asked)\n"
    )
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)  # Keras writes its settings there where it can
    for _ in range(2):
        done = python("-c", program, HOME=str(home), KERAS_HOME=str(home / ".keras"))
        assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
        assert [file.name for file in home.iterdir()] == [".keras"]
