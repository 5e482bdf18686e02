"""Networks with two inputs: the whole painting and its middle, through one backbone."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import small_network
from PIL import Image

from painters_mtl.data.tasks import Task
from painters_mtl.images import files as images
from painters_mtl.images.decode import cached_image
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import center_crops
from painters_mtl.network.multitask import heads_model, with_heads

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}
VIEWS = ("whole", "detail")
LAYERS = {"shared_layers": (6,), "task_layers": (5,), "fine_tune": "all", "dropout": 0.0}


def network(merge: str, backbone: str = "small_convnet") -> keras.Model:
    keras.utils.set_random_seed(0)
    view_of = {"painter": "detail"} if merge == "none" else {}
    weights = "none" if backbone == "small_convnet" else "imagenet"
    return small_network(TASKS, backbone, **LAYERS, weights=weights, views=VIEWS, merge=merge, view_of=view_of)


def pictures(seed: int = 0) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(seed)
    return {name: tf.constant(rng.uniform(0, 255, (4, 32, 32, 3)), tf.float32) for name in ("image", "detail")}


@pytest.mark.parametrize("merge", ["concatenate", "none"])
@pytest.mark.parametrize("backbone", ["small_convnet", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)])
def test_which_view_moves_which_head(merge: str, backbone: str) -> None:
    """By gradients: with concatenate every head follows both views; with none it follows its own, and not at all the
    other. Either way each head moves the one backbone."""
    model = network(merge, backbone)
    assert len([layer for layer in model.layers if isinstance(layer, keras.Model)]) == 1
    for candidate in (model, fold_batchnorm(model)):
        seen = pictures()
        for name in TASKS:
            with tf.GradientTape() as tape:
                for view in seen.values():
                    tape.watch(view)
                loss = tf.reduce_mean(tf.math.log(candidate(seen, training=False)[name][:, 0]))
            kernel = next(v.value for v in model.trainable_variables if "conv" in v.path)
            gradients = tape.gradient(loss, [seen["image"], seen["detail"], kernel], unconnected_gradients="zero")
            whole, detail, backbone_gradient = (float(tf.reduce_max(tf.abs(g))) for g in gradients)
            assert (whole > 0) == (merge == "concatenate" or name != "painter")
            assert (detail > 0) == (merge == "concatenate" or name == "painter")
            assert backbone_gradient > 0


def test_both_views_pass_through_the_same_weights() -> None:
    """With merge none, a head that is moved to the other input gives the probabilities that it gave for its own."""
    model = network("none")
    seen = pictures()
    swapped = {"image": seen["detail"], "detail": seen["image"]}
    keras.utils.set_random_seed(0)
    other = small_network(TASKS, **LAYERS, views=VIEWS, merge="none")
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(model(seen)["painter"], other(swapped)["painter"], rtol=1e-5)
    single = small_network(TASKS, **LAYERS)
    single.set_weights(model.get_weights())
    np.testing.assert_allclose(model(seen)["style"], single(seen["image"])["style"], rtol=1e-5)


def test_parts_of_a_network_with_two_views() -> None:
    model = network("none")
    heads = heads_model(with_heads(model, {"painter": TASKS["painter"]}))
    features = keras.Model(model.input, model.get_layer("features").output)(pictures())
    np.testing.assert_allclose(heads(features)["painter"], model(pictures())["painter"], rtol=1e-5)


def test_the_network_sees_the_detail_pixel_for_pixel(tmp_path: Path) -> None:
    """A ramp of one grey level a pixel: the view must rise by one a pixel, around the middle."""
    ramp = np.broadcast_to(np.arange(160, dtype=np.uint8)[:, None], (200, 160, 3))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    picture, copy = cached_image((tmp_path / "a.png").read_bytes(), 40, VIEWS)
    assert copy.shape == (2, 40, 40, 3) and (picture.width, picture.height) == (160, 200)
    np.testing.assert_array_equal(copy[0], images.load_image(tmp_path / "a.png", square=40).pixels)
    seen = center_crops(tf.constant(copy[None, 1]), 32).numpy()[0]
    np.testing.assert_allclose(seen[..., 0], np.tile(79.5 + np.arange(32) - 15.5, (32, 1)), atol=0.2)
