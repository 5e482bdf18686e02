"""Exported networks: in each format what Keras gives, calibrated."""

from pathlib import Path

import numpy as np
import pytest
from random_runs import TASKS, calibrated, needs_format, pictures, run_of_kind

from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import exporters, runtimes
from painters_mtl.inference.parity import sample_images
from painters_mtl.network.forward import forward_function


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="module")
def files(base: Path) -> list[ImageFile]:
    return pictures(base / "pictures")


@pytest.mark.parametrize("kind", ["convnet", "views"])
@pytest.mark.parametrize("file_format", ["litert", "onnx", "openvino"])
def test_formats_say_what_keras_says_for_any_number(
    file_format: str, kind: str, base: Path, files: list[ImageFile], tmp_path: Path
) -> None:
    needs_format(file_format)
    run = run_of_kind(kind, base, tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    file = exporters.export_network(run, run.model(), file_format, out, calibrated=True)
    forward = runtimes.open_exported(file_format, file)
    copies = sample_images(run, files)
    wanted = calibrated(run, copies)
    for n in (1, 7):
        found = forward(copies[:n])
        for task in TASKS:
            np.testing.assert_allclose(found[task], wanted[task][:n], atol=1e-5)
    assert not [f for f in out.iterdir() if f.name.startswith(".")]


def test_a_head_that_is_no_softmax_is_softened_and_another_output_is_left_alone(
    base: Path, files: list[ImageFile], tmp_path: Path
) -> None:
    import keras

    run = run_of_kind("convnet", base, tmp_path / "run")
    network = run.model()
    outputs = dict(network.output)
    swapped = keras.layers.Activation("softmax", name="painter_twice")(outputs["painter"] * 5)
    beside = keras.layers.Dense(1, activation="sigmoid", name="extra")(network.get_layer("features").output)
    network = keras.Model(network.input, {"painter": swapped, "style": outputs["style"], "style_known": beside})
    network.get_layer("painter").name = "other"
    swapped_layer = network.get_layer("painter_twice")
    swapped_layer.name = "painter"
    out = tmp_path / "out"
    out.mkdir()
    file = exporters.export_network(run, network, "saved_model", out, calibrated=True)
    copies = sample_images(run, files)
    found = runtimes.open_exported("saved_model", file)(copies)
    plain = {k: v.numpy() for k, v in forward_function(network, run.image_size)(copies).items()}
    np.testing.assert_allclose(found["style_known"], plain["style_known"], atol=1e-6)
    for task in TASKS:
        np.testing.assert_allclose(found[task], apply_temperature(plain[task], run.temperatures[task]), atol=1e-5)
