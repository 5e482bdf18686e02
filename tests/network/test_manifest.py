"""A network as plain data: built again it is the same to the bit, whatever Keras calls its layers."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import small_network

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.network.manifest import build_from_manifest, describe_network, network_arrays
from painters_mtl.network.multitask import build_model, with_heads, with_known_head, with_multi_scale_heads
from painters_mtl.network.settings import NetworkSettings

TASKS = {name: Task(name, tuple("abcdefgh"[:n])) for name, n in (("painter", 3), ("style", 5), ("genre", 8))}
VIEWS = ("whole", "detail")
KINDS = {
    "plain": {},
    "hidden layers": {"shared_layers": (7, 6), "task_layers": (5, 4), "shared_projection": 3},
    "two views": {"views": VIEWS, "shared_layers": (6,)},
    "views apart": {"views": VIEWS, "merge": "none", "view_of": {"painter": "detail"}, "task_layers": (5,)},
    "frozen": {"fine_tune": "heads"},
}


def settings_of(**changes: object) -> NetworkSettings:
    values: dict[str, object] = {"backbone": "small_convnet", "image_size": 32, "weights": "none"} | changes
    return NetworkSettings(**values)  # type: ignore[arg-type]


def stirred(network: keras.Model, seed: int = 0) -> keras.Model:
    """With random weights everywhere, so that one that is left out, or in the wrong place, shows."""
    rng = np.random.default_rng(seed)
    for variable in network.weights:
        if "float" in str(variable.dtype):
            variable.assign(rng.uniform(0.1, 0.5, variable.shape).astype(np.float32))
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return network


def rebuilt(network: keras.Model, settings: NetworkSettings) -> keras.Model:
    """By way of JSON."""
    manifest = json.loads(json.dumps(describe_network(network, settings)))
    keras.utils.set_random_seed(99)
    return build_from_manifest(manifest, network_arrays(network))


def same(network: keras.Model, other: keras.Model, side: int = 32) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, side, side, 3)).astype(np.float32)
    inputs = images if len(network.inputs) == 1 else {"image": images, "detail": images[::-1]}
    one, two = network(inputs, training=False), other(inputs, training=False)
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    one, two = ([v.shape for v in model.trainable_variables] for model in (network, other))
    assert one == two


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_built_again_is_the_same(kind: str) -> None:
    settings = settings_of(**KINDS[kind])
    network = stirred(build_model(TASKS, settings))
    same(network, rebuilt(network, settings))


def test_what_a_training_adds_and_takes_off_is_built_too() -> None:
    """The head over all painters falls away, the heads read pyramid maps, the known-painter head comes."""
    settings = settings_of()
    full = stirred(build_model({**TASKS, ALL_PAINTERS: Task(ALL_PAINTERS, tuple("abcd"))}, settings))
    network = with_multi_scale_heads(with_heads(full, TASKS), TASKS, settings)
    network = with_known_head(network, Task("painter_known", ("another", "known")), 9)
    network = stirred(with_known_head(network, Task("style_known", ("another", "known")), 5, painters=7), seed=1)
    manifest = describe_network(network, settings)
    assert (
        manifest is not None and manifest["multi_scale"] and manifest["heads"] == {"painter": 3, "style": 5, "genre": 8}
    )
    assert manifest["known_heads"] == {
        "painter_known": {"classes": 2, "width": 9},
        "style_known": {"classes": 2, "width": 5, "painters": 7},
    }
    same(network, rebuilt(network, settings))


@pytest.mark.parametrize(
    "backbone",
    ["efficientnet_lite0", "MobileNetV2", *(pytest.param(n, marks=pytest.mark.slow) for n in (
        "InceptionV3", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "NASNetMobile",
    ))],
)  # fmt: skip
def test_any_backbone_is_built_by_its_name(backbone: str) -> None:
    """The second network of a process has other names for the layers that Keras names."""
    settings = settings_of(backbone=backbone, image_size=80)
    network = stirred(build_model({"style": TASKS["style"]}, settings))
    same(network, rebuilt(network, settings), side=80)


def test_an_efficientnet_has_its_rescaling_as_with_imagenet_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a layer without weights that Keras builds with ImageNet's weights only."""
    build = keras.applications.EfficientNetB0
    module = sys.modules[build.__module__]
    random = stirred(build(include_top=False, weights=None, input_shape=(32, 32, 3)))
    random.save_weights(tmp_path / "fetched.weights.h5")
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: str(tmp_path / "fetched.weights.h5"))
    settings = settings_of(backbone="EfficientNetB0", weights="imagenet")
    network = build_model({"style": TASKS["style"]}, settings)
    monkeypatch.undo()  # from here on nothing is fetched
    manifest = describe_network(network, settings)
    assert manifest is not None
    np.testing.assert_allclose(manifest["rescaling"], 1 / np.sqrt([0.229, 0.224, 0.225]))
    same(network, rebuilt(network, settings))


def test_a_backbone_without_a_name_has_no_manifest() -> None:
    image = keras.Input((None, None, 3))
    own = keras.Model(image, keras.layers.Conv2D(4, 3, name="c")(image), name="mine")
    assert describe_network(build_model(TASKS, settings_of(), own), settings_of()) is None


def test_what_does_not_fit_is_refused_by_name() -> None:
    settings = settings_of(task_layers=(5,))
    network = build_model(TASKS, settings)
    manifest, arrays = describe_network(network, settings), network_arrays(network)
    assert manifest is not None
    assert list(arrays)[:2] == ["small_convnet/conv0/kernel", "small_convnet/bn0/gamma"]
    cases = [
        (manifest, {k: v for k, v in arrays.items() if k != "style_0/bias"}, "style_0/bias is not stored"),
        (manifest, {**arrays, "zzz/kernel": np.zeros(3)}, "zzz/kernel has no place in the network"),
        (
            manifest,
            {**arrays, "style/kernel": np.zeros((5, 4))},
            r"style/kernel is \(5, 4\), and .* has \(5, 5\)",
        ),
        ({**manifest, "format": 2}, arrays, "stored in format 2"),
        ({**manifest, "settings": manifest["settings"] | {"backbone": "convnet9"}}, arrays, "convnet9 is unknown"),
        ({**manifest, "settings": manifest["settings"] | {"new": 1}}, arrays, "does not exist: new"),
    ]
    for changed, values, words in cases:
        with pytest.raises(UserError, match=words):
            build_from_manifest(changed, values)


def test_another_version_of_keras_must_build_a_network_that_says_the_same() -> None:
    """As if the code of a backbone had changed between the two: other weights stand for other layers."""
    settings = settings_of()
    network = stirred(build_model(TASKS, settings))
    manifest, arrays = describe_network(network, settings), network_arrays(network)
    assert manifest is not None
    other = {**manifest, "keras": "3.9.0"}
    same(network, build_from_manifest(other, arrays))
    changed = {**arrays, "style/kernel": -arrays["style/kernel"]}
    build_from_manifest(manifest, changed)  # the same version: the checksum of the file has to tell
    with pytest.raises(UserError, match=r"builds another network .* than Keras 3\.9\.0"):
        build_from_manifest(other, changed)


def test_images_of_the_probe_do_not_depend_on_the_heads_order() -> None:
    tasks = {name: TASKS[name] for name in ("genre", "painter")}
    network = small_network(tasks)
    manifest = describe_network(network, settings_of())
    assert manifest is not None and list(manifest["probe"]) == ["genre", "painter"]
