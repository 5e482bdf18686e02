"""The same network in 16 bits, with weights of its own in float32."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import fitted, make_data, small_network, tiny_settings
from steps import TASKS, partly_labelled_batch, still_network

from painters_mtl.network.precision import in_precision, policy
from painters_mtl.runs import run


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_the_copy_computes_in_sixteen_bits_on_float32_weights(name: str) -> None:
    model = still_network()
    copy = in_precision(model, name)
    assert all(v.dtype == "float32" for v in copy.variables if "seed" not in v.path)
    assert not {id(v) for v in copy.weights} & {id(v) for v in model.weights}
    assert [v.trainable for v in copy.weights] == [v.trainable for v in model.weights]
    inner = copy.get_layer("small_convnet")
    assert inner.get_layer("conv2").compute_dtype == name.removeprefix("mixed_")
    assert copy.get_layer("shared_0").compute_dtype == name.removeprefix("mixed_")
    images = partly_labelled_batch(0).images
    for task, p in copy(images).items():
        assert p.dtype == tf.float32
        np.testing.assert_allclose(np.array(p), np.array(model(images)[task]), atol=0.02)


def test_views_that_are_kept_apart_are_copied_too() -> None:
    """What parts them is an operation, not a layer, and knows no precision."""
    keras.utils.set_random_seed(0)
    views = ("whole", "detail")
    model = small_network(TASKS, views=views, merge="none", view_of={"style": "detail"})
    images = dict(zip(("image", "detail"), (partly_labelled_batch(seed).images for seed in (0, 1)), strict=True))
    outputs = in_precision(model, "mixed_bfloat16")(images)
    for task, p in model(images).items():
        np.testing.assert_allclose(np.array(outputs[task]), np.array(p), atol=0.02)


def test_a_cpu_computes_in_float32_unless_told() -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    assert policy("auto") == "float32" and policy("mixed_bfloat16") == "mixed_bfloat16"


@pytest.mark.parametrize("name", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_a_run_in_sixteen_bits_learns_and_is_saved_in_float32(name: str, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=240, seed=1)
    settings = tiny_settings(data, tmp_path, epochs=8, precision=name)
    _, outcome, folder = fitted(settings)
    model = run.open_run(folder).model()
    assert model.get_layer("small_convnet").get_layer("conv2").compute_dtype == "float32"
    assert np.mean([values["accuracy"] for values in outcome.metrics["test"].values()]) > 0.75
    assert outcome.history["loss"].iloc[-1] < 0.8 * outcome.history["loss"].iloc[0]
