"""A packaged model is in LiteRT at once, without TensorFlow: with Keras's probabilities, or not at all."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import python
from small_runs import package, trained_run

from painters_mtl.common.errors import UserError
from painters_mtl.inference import litert_template, runtimes
from painters_mtl.inference.litert_template import drawn_images, fill_template, has_template, keras_on_drawn_pictures
from painters_mtl.inference.parity import outputs_in_batches
from painters_mtl.inference.runtime_choice import fastest_runtime, open_runtime
from painters_mtl.runs.network_files import write_arrays
from painters_mtl.runs.packaged import write_package_manifest
from painters_mtl.runs.run import Run, open_run

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("template")
    return package(trained_run(folder / "run"), folder / "paintings", litert=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_drawn_pictures_are_the_same_everywhere() -> None:
    run = Run(Path(), {}, 32, 40, False, {})
    images = drawn_images(run, 3)
    assert images.shape == (3, 40, 40, 3) and images.dtype == np.uint8
    assert images.sum(axis=(1, 2, 3), dtype=int).tolist() == [620475, 676701, 688914]
    assert images.std(axis=(1, 2)).min() > 10 and not np.array_equal(images[0], images[1])
    np.testing.assert_array_equal(drawn_images(run, 5)[:3], images)
    assert drawn_images(dataclasses.replace(run, views=("whole", "detail")), 2).shape == (2, 2, 40, 40, 3)


def test_the_first_use_needs_no_tensorflow_and_says_what_keras_says(made: Run, tmp_path: Path, cache: Path) -> None:
    np.save(tmp_path / "images.npy", drawn_images(made, 40))
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from painters_mtl.inference.runtime_choice import open_runtime\n"
        "from painters_mtl.runs.run import open_run\n"
        f"found = open_runtime(open_run(Path({str(made.folder)!r})), 'auto')(np.load('images.npy'))\n"
        "np.savez('found.npz', **found)\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    for turn in range(2):
        done = python("-c", program, cwd=tmp_path, XDG_CACHE_HOME=str(cache))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
        assert ("compared with Keras on 24 drawn pictures" in done.stdout) == (turn == 0)
    found = np.load(tmp_path / "found.npz")
    for name, wanted in outputs_in_batches(runtimes.keras_forward(made), drawn_images(made, 40)).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-4)
    assert [file.name for file in cache.glob("painters-mtl/runtimes/*/litert/*/*.tflite")] == ["model.tflite"]
    assert not (made.folder / "runtimes").exists()


def changed(made: Run, to: Path, **values: np.ndarray) -> Run:
    """A package whose template holds other values, and whose manifest says that this is right."""
    shutil.copytree(made.folder, to)
    with np.load(to / "litert.npz") as stored:
        held = dict(stored)
    write_arrays(to / "litert.npz", {name: values.get(name.replace("output ", ""), held[name]) for name in held})
    write_package_manifest(to, {})
    return open_run(to)


def test_where_keras_is_missed_keras_answers(made: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The processor computes something else, or the runtime's version does: as seen from here, Keras said otherwise."""
    style = keras_on_drawn_pictures(made)[1]["style"]
    other = changed(made, tmp_path / "other", style=np.roll(style, 1, axis=0))
    with pytest.raises(UserError, match="its outputs are not those of Keras: style differs by"):
        open_runtime(other, "litert")
    assert fastest_runtime(dataclasses.replace(other), []) in ("keras", "openvino")
    assert "note: --runtime litert is not used" in capsys.readouterr().out


def test_what_does_not_fit_is_one_sentence(made: Run, tmp_path: Path) -> None:
    gaps = np.frombuffer(
        b'[{"start": 999999999, "array": "painter/kernel", "axes": [1, 0], "normalisation": ""}]', np.uint8
    )
    for name, values in {"far": gaps, "text": np.frombuffer(b"[", np.uint8)}.items():
        with pytest.raises(UserError, match=r"litert\.npz is damaged") as error:
            fill_template(changed(made, tmp_path / name, gaps=values))
        assert "\n" not in str(error.value)


def test_a_run_has_no_template(made: Run) -> None:
    assert has_template(made) and not has_template(open_run(made.folder.with_name("run")))


@pytest.mark.slow
def test_the_weights_of_the_default_backbone_are_left_out(tmp_path: Path) -> None:
    made = package(trained_run(tmp_path / "run", backbone="efficientnet_lite0"), tmp_path / "paintings", litert=True)
    _, gaps, _ = litert_template._read(made)
    assert sum(gap.normalisation != "" for gap in gaps) >= 45
    assert (made.folder / "litert.npz").stat().st_size < 200_000
    assert len(fill_template(made)) > 13_000_000
