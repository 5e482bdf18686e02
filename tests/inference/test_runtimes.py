"""Other runtimes: Keras's probabilities, checked before they are trusted, without TensorFlow from then on."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import python, small_network
from PIL import Image

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task
from painters_mtl.images import files as images
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import runtimes
from painters_mtl.network.forward import center_crops, forward_function, whole_crops
from painters_mtl.runs.run import Run, open_run, save_labels, save_model

TASKS = {"painter": Task("painter", ("a", "b", "c")), "style": Task("style", ("d", "e"))}
KINDS = {
    "convnet": ("small_convnet", ("whole",), 40),
    "lite0": ("efficientnet_lite0", ("whole",), 40),
    "views": ("small_convnet", ("whole", "detail"), 48),
}
TEMPERATURES = {"painter": 0.6, "style": 1.7}

if importlib.util.find_spec("tensorflow"):
    lazy_imports.import_tensorflow()


def needs(name: str) -> None:
    if importlib.util.find_spec(runtimes.PACKAGES[name]) is None:
        pytest.skip(f'needs pip install "painters-mtl[{name}]"')


def any_installed() -> str:
    if not (names := runtimes.installed()):
        pytest.skip('needs pip install "painters-mtl[openvino]" or "painters-mtl[litert]"')
    return names[0]


def rounding(kind: str) -> float:
    """What 32 bits may change of a probability: 50 layers of random weights pass on more of it than trained ones."""
    return 1e-4 if kind == "lite0" else 1e-5


def make_run(folder: Path, kind: str = "convnet", seed: int = 0) -> Run:
    """A run folder with a network of random weights whose answers differ from picture to picture."""
    import keras

    backbone, views, side = KINDS[kind]
    keras.utils.set_random_seed(seed)
    network = small_network(TASKS, backbone, len(views) == 1, shared_layers=(9,), views=views)
    seen = np.stack([drawn(np.random.default_rng(i), (32, 32)) for i in range(16)]).astype(np.float32)
    inputs = seen if len(views) == 1 else dict.fromkeys(("image", "detail"), seen)
    parts = [network, *(layer for layer in network.layers if isinstance(layer, keras.Model))]
    normalisations = [x for p in parts for x in p.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum, layer.trainable = 0.0, True
    network(inputs, training=True)
    for layer in normalisations:  # as if trained: the statistics are those of the pictures, gamma and beta are not 1, 0
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([gamma * np.linspace(0.8, 1.2, len(gamma)), beta + 0.1, mean, variance])
        layer.momentum = 0.99
    found = network(inputs, training=False)
    for name in TASKS:  # logits around 0, each class the likeliest one of some pictures
        head, logits = network.get_layer(name), np.log(found[name].numpy())
        logits -= logits.mean(axis=1, keepdims=True)
        spread = logits.std(axis=0).mean()
        head.kernel.assign(head.kernel / spread)
        head.bias.assign(-logits.mean(axis=0) / spread)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, folder)
    save_labels(folder, TASKS, 32, side, False, views, TEMPERATURES, thresholds={})
    return open_run(folder)


def drawn(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth colours and edges: uint8 of this (width, height)."""
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def pictures(folder: Path, count: int = 7) -> list[ImageFile]:
    """PNGs, larger than the copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(drawn(np.random.default_rng(100 + i), (90, 70))).save(folder / f"{i}.png")
    return images.find_images(folder)


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
    shutil.copytree(base / "convnet", tmp_path / "run", ignore=shutil.ignore_patterns("runtimes"))
    return open_run(tmp_path / "run")


# ---------------------------------------------------------------------------------------- the same probabilities


@pytest.mark.parametrize(("size", "side"), [(32, 40), (33, 48), (96, 120), (50, 50), (24, 30), (60, 40)])
def test_the_graph_samples_where_training_did(size: int, side: int) -> None:
    from painters_mtl.inference import exporters

    copies = np.random.default_rng(size).integers(0, 256, (2, side, side, 3), np.uint8)
    whole, middle = exporters.whole_view(copies, size).numpy(), exporters.middle_view(copies, size).numpy()
    # crop_and_resize may round the last row and column off the picture, and then they are black.
    inside = slice(0, size - 1) if size == 24 else slice(None)
    wanted = whole_crops(copies, size).numpy()
    np.testing.assert_allclose(whole[:, inside, inside], wanted[:, inside, inside], atol=1e-3)
    wanted = center_crops(copies, size).numpy()
    np.testing.assert_allclose(middle[:, inside, inside], wanted[:, inside, inside], atol=1e-3)
    np.testing.assert_array_equal(whole[:, -1, -1], copies[:, -1, -1])


@pytest.mark.parametrize("kind", ["convnet", "views", pytest.param("lite0", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", runtimes.EXACT)
def test_probabilities_are_those_of_keras(name: str, kind: str, base: Path, files: list[ImageFile]) -> None:
    needs(name)
    run = make_run(base / kind, kind)
    copies = runtimes.cached_images_of(run, files)
    assert len(copies) == 7 and len({c.tobytes() for c in copies}) == 7
    wanted = {k: v.numpy() for k, v in forward_function(run.model(), run.image_size)(copies).items()}
    assert np.ptp(wanted["painter"], axis=0).max() > 0.05  # or else any network would do
    forward = runtimes.load(run, name, 32, files)
    every = {n: forward(copies[:n]) for n in (7, 1, 4, 5)}  # what a call returned stays when the next comes
    for n, found in every.items():  # whole slices and filled ones
        assert found.keys() == wanted.keys()
        for task in wanted:
            assert found[task].dtype == np.float32
            np.testing.assert_allclose(found[task], wanted[task][:n], atol=rounding(kind))
    alone = runtimes.load(run, name, 1)
    for task in wanted:
        parts = [alone(copies[i : i + 1])[task] for i in range(7)]
        np.testing.assert_allclose(np.concatenate(parts), wanted[task], atol=rounding(kind))
    kept = json.loads(next((run.folder / "runtimes" / name).glob("*/check.json")).read_text())
    assert kept["paintings"] == 7 and max(kept["largest_difference"].values()) < rounding(kind)


@pytest.mark.parametrize("kind", ["convnet", "views", pytest.param("lite0", marks=pytest.mark.slow)])
def test_keras_says_the_same_without_being_compiled(kind: str, base: Path, files: list[ImageFile]) -> None:
    run = make_run(base / kind, kind)
    copies = runtimes.cached_images_of(run, files)
    wanted, found = runtimes.load(run)(copies), runtimes.load(run, once=True)(copies)
    assert found.keys() == wanted.keys()
    for task in wanted:
        assert found[task].dtype == np.float32
        np.testing.assert_allclose(found[task], wanted[task], atol=rounding(kind))


# ------------------------------------------------------------------------------------------------ checked, then kept


@pytest.mark.parametrize("name", runtimes.EXACT)
def test_a_later_load_needs_neither_tensorflow_nor_pictures(name: str, run: Run, files: list[ImageFile]) -> None:
    needs(name)
    copies = runtimes.cached_images_of(run, files)
    wanted = runtimes.load(run, name, 32, files)(copies)
    np.save(run.folder / "copies.npy", copies)
    program = (
        "import sys, pathlib, numpy as np\n"
        "from painters_mtl.inference import runtimes\n"
        "from painters_mtl.runs.run import open_run\n"
        f"folder = pathlib.Path({str(run.folder)!r})\n"
        f"found = runtimes.load(open_run(folder), {name!r})(np.load(folder / 'copies.npy'))\n"
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
    runtimes.load(run, name, 32, files)
    other = make_run(tmp_path / "other", seed=5)
    runtimes.load(other, name, 32, files)
    place, strange = (next((r.folder / "runtimes" / name).iterdir()) for r in (run, other))
    for file in strange.glob("model.*"):
        shutil.copy(file, place)
    with pytest.raises(UserError, match=r"is not used, for it does not say what Keras says: .*differs by 0\.\d+"):
        runtimes.load(run, name, 32, files)
    largest = max(place.glob("model.*"), key=lambda f: f.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be loaded|does not say what Keras says"):
        runtimes.load(run, name, 32, files)


@pytest.mark.parametrize("name", runtimes.EXACT)
def test_a_network_that_was_trained_again_is_exported_again(name: str, run: Run, files: list[ImageFile]) -> None:
    needs(name)
    copies = runtimes.cached_images_of(run, files)
    before = runtimes.load(run, name, 32, files)(copies)
    first = set((run.folder / "runtimes" / name).iterdir())
    run = make_run(run.folder, seed=3)
    found, wanted = runtimes.load(run, name, 32, files)(copies), runtimes.load(run, "keras")(copies)
    assert np.abs(found["painter"] - before["painter"]).max() > 0.01
    np.testing.assert_allclose(found["painter"], wanted["painter"], atol=1e-5)
    second = set((run.folder / "runtimes" / name).iterdir())
    assert len(second) == 1 and not first & second  # the old one is gone, nothing half-written stays


def test_what_is_checked_once_is_not_checked_again(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]
) -> None:
    name = any_installed()
    runtimes.load(run, name, 32, files)
    assert "compared with Keras on 7 paintings" in capsys.readouterr().out
    check = next((run.folder / "runtimes" / name).glob("*/check.json"))
    written = check.stat().st_mtime_ns
    runtimes.load(run, name, 32, files)
    assert capsys.readouterr().out == "" and check.stat().st_mtime_ns == written
    content = json.loads(check.read_text())
    content["stamp"]["version"] = "another 1.0"
    check.write_text(json.dumps(content))
    runtimes.load(run, name, 32, files)
    assert "compared with Keras" in capsys.readouterr().out


def test_differences_are_counted_for_each_output() -> None:
    wanted = {"style": np.float32([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [1, 0]])}
    found = {"style": np.float32([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [1, 0]])}
    measured = runtimes.difference(found, wanted)
    assert measured["paintings"] == 4 and measured["agreement"] == {"style": 0.75}
    assert measured["largest_difference"]["style"] == pytest.approx(0.2, abs=1e-6)
    assert "style differs by 0.2" in runtimes.parity_faults(measured, exact=True)
    assert "style agrees on 75.0%" in runtimes.parity_faults(measured, exact=False)
    assert runtimes.parity_faults(runtimes.difference(wanted, wanted), exact=True) == ""
    nothing = runtimes.difference({"style": np.full((4, 2), np.nan, np.float32)}, wanted)
    assert "style differs by inf" in runtimes.parity_faults(nothing, exact=True)
    with pytest.raises(UserError, match="has the outputs"):
        runtimes.difference({"genre": wanted["style"]}, wanted)


# ---------------------------------------------------------------------------------------------------------- auto


def test_auto_measures_once_and_keeps_what_it_found(
    run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]
) -> None:
    any_installed()
    names = runtimes.installed()
    best = runtimes.fastest(run, files)
    kept = json.loads((run.folder / "runtimes" / "speeds.json").read_text())
    rates = kept["pictures_a_second"]
    assert set(rates) == {"keras", *names} and rates[best] == max(rates.values()) > 0
    capsys.readouterr()
    other = next(name for name in rates if name != best)
    kept["fastest"] = other
    (run.folder / "runtimes" / "speeds.json").write_text(json.dumps(kept))
    assert runtimes.fastest(run) == other and capsys.readouterr().out == ""
    kept["valid_for"]["processor"] = "another, 128 cores"
    (run.folder / "runtimes" / "speeds.json").write_text(json.dumps(kept))
    runtimes.fastest(run, files)
    assert "pictures a second: keras" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("litert", "ai_edge_litert")])
def test_a_missing_package_is_named(name: str, package: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]  # Python's own way to forbid an import
    with pytest.raises(UserError, match=rf"{package} is not installed.*pip install \"painters-mtl\[{name}\]\""):
        runtimes.load(run, name)


def test_an_unknown_runtime_is_named(run: Run) -> None:
    with pytest.raises(UserError, match="--runtime fast is unknown: keras, openvino"):
        runtimes.load(run, "fast")


def test_without_paintings_nothing_is_trusted(run: Run, tmp_path: Path) -> None:
    name = any_installed()
    with pytest.raises(UserError, match="no paintings to do that on"):
        runtimes.load(run, name)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="none of the 1 pictures"):
        runtimes.load(run, name, 32, [ImageFile(str(tmp_path / "bad.png"))])
    assert not list((run.folder / "runtimes" / name).iterdir())


@pytest.mark.parametrize("demo", [True, False])
def test_a_run_without_data_was_trained_where_its_data_are_found(
    demo: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One picture is no comparison: the run's own paintings are taken, also if no --data said where they are."""
    monkeypatch.chdir(tmp_path)
    (run.folder / "config.json").write_text('{"data": null}')
    run = dataclasses.replace(run, demo=demo)
    assert runtimes.paintings_of_run(run) == []
    place = Path("data/demo" if demo else "data/painter-by-numbers")
    assert {file.path for file in pictures(place, 3)} == {str(place / f"{k}.png") for k in range(3)}
    assert {file.name for file in runtimes.paintings_of_run(run)} == {f"{k}.png" for k in range(3)}


def test_auto_labels_with_keras_where_nothing_can_be_compared(run: Run, tmp_path: Path, capsys: Any) -> None:
    any_installed()
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert runtimes.fastest(run, [ImageFile(str(tmp_path / "bad.png"))]) == "keras"
    assert "none of the 1 pictures" in capsys.readouterr().out


def test_a_run_that_cannot_be_written_to(run: Run, files: list[ImageFile], capsys: pytest.CaptureFixture[str]) -> None:
    name = any_installed()
    (run.folder / "runtimes").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*copy the run to a folder of your own"):
        runtimes.load(run, name, 32, files)
    assert runtimes.fastest(run, files) == "keras"  # it needs no place
    assert "speeds.json cannot be written" in capsys.readouterr().out


def test_bfloat16_only_where_the_processor_has_it(run: Run, files: list[ImageFile]) -> None:
    needs("openvino")
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in bfloat16")
    with pytest.raises(UserError, match="does not compute in bfloat16; use openvino"):
        runtimes.load(run, "openvino-bf16", 32, files)


def test_pictures_to_compare_on_are_spread_over_the_folder(run: Run, tmp_path: Path) -> None:
    files = pictures(tmp_path / "many", 9)
    wanted = [runtimes.cached_images_of(run, [files[i]])[0] for i in (0, 4, 8)]
    np.testing.assert_array_equal(runtimes.cached_images_of(run, files, 3), wanted)
    Path(files[4].path).write_bytes(b"broken")  # another one takes its place
    np.testing.assert_array_equal(
        runtimes.cached_images_of(run, files, 3), [wanted[0], wanted[2], runtimes.cached_images_of(run, [files[1]])[0]]
    )
