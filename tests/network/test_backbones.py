"""The backbones: the preprocessing inside, what trains, files of weights, and what is refused."""

import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from painters_mtl.common.errors import UserError
from painters_mtl.network.backbones import build_backbone, least_side, set_trainable, small_convnet
from painters_mtl.network.efficientnet_lite import efficientnet_lite0
from painters_mtl.network.precision import in_precision
from painters_mtl.network.pyramid import with_pyramid_maps


def noise(side: int, n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.float32)


def names_that_train(backbone: keras.Model) -> set[str]:
    return {layer.name for layer in backbone.layers if layer.trainable_weights}


# ------------------------------------------------------------------------------------------------- what trains


def test_heads_trains_nothing_of_the_backbone() -> None:
    backbone = build_backbone("small_convnet", 32)
    set_trainable(backbone, "heads", pretrained=False)
    assert names_that_train(backbone) == set()


def test_all_trains_everything_but_a_pretrained_normalisation() -> None:
    backbone = build_backbone("small_convnet", 32)
    set_trainable(backbone, "all", pretrained=False)
    assert names_that_train(backbone) == {f"{kind}{i}" for kind in ("conv", "bn") for i in range(5)}
    set_trainable(backbone, "all", pretrained=True)
    assert names_that_train(backbone) == {f"conv{i}" for i in range(5)}


def test_top_trains_what_gives_a_sixteenth_of_the_resolution_or_less() -> None:
    """Block 5 of Lite0 goes from 1/8 to 1/16 in its depthwise convolution."""
    backbone = efficientnet_lite0()
    set_trainable(backbone, "top", pretrained=True)
    parts = ("expand", "project")  # the depthwise kernels stay as ImageNet has them
    wanted = {f"block{b}_{part}" for b in range(6, 16) for part in parts}
    assert names_that_train(backbone) == wanted | {"block5_project", "top_conv"}
    convnet = small_convnet()
    set_trainable(convnet, "top", pretrained=False)
    assert names_that_train(convnet) == {"conv3", "bn3", "conv4", "bn4"}


def statistics(backbone: keras.Model) -> list[np.ndarray]:
    layers = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return [np.array(w) for layer in layers for w in layer.get_weights()[2:]]


@pytest.mark.parametrize("pretrained", [True, False])
def test_statistics_of_a_pretrained_normalisation_stay_as_they_are(pretrained: bool) -> None:
    backbone = build_backbone("small_convnet", 32)
    set_trainable(backbone, "all", pretrained)
    before = statistics(backbone)
    training, inference = (np.asarray(backbone(noise(32), training=mode)) for mode in (True, False))
    moved = [bool((a != b).any()) for a, b in zip(before, statistics(backbone), strict=True)]
    assert moved == [not pretrained] * 10
    if pretrained:
        np.testing.assert_array_equal(training, inference)


# ------------------------------------------------------------------------------------------------- keras.applications


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnet50", "resnet"),
        ("mobilenet_v2", "mobilenet_v2"),
        pytest.param("DenseNet121", "densenet", marks=pytest.mark.slow),
    ],
)
def test_preprocessing_inside_is_that_of_the_family(name: str, family: str) -> None:
    """caffe (BGR, means), tf (-1 to 1) and torch (means and deviations): three kinds, and the network behind them."""
    backbone = build_backbone(name, 32, "none")
    image = noise(32)
    module = getattr(keras.applications, family)
    wanted = module.preprocess_input(image.copy())
    inside = keras.Model(backbone.input, backbone.get_layer("preprocess").output)
    np.testing.assert_allclose(np.asarray(inside(image)), wanted, rtol=1e-5, atol=1e-5 * abs(wanted).max())
    set_trainable(backbone, "all", pretrained=False)
    assert not backbone.get_layer("preprocess").trainable_weights

    build = getattr(keras.applications, backbone.name)
    bare = build(include_top=False, weights=None, input_shape=(32, 32, 3))
    bare.set_weights(backbone.get_weights()[2:])
    expected, found = np.asarray(bare(wanted)), np.asarray(backbone(image))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())


def test_an_efficientnet_with_imagenet_weights_is_that_of_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It normalises with numbers out of its weights, and has a layer more than without them."""
    build = keras.applications.EfficientNetB0
    module = sys.modules[build.__module__]
    random = build(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in random.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights([np.float32([0.5, 0.4, 0.3]), np.float32([0.2, 0.3, 0.4]), np.int32(0)])
    random.save_weights(tmp_path / "fetched.weights.h5")
    monkeypatch.setattr(module.file_utils, "get_file", lambda *_, **__: str(tmp_path / "fetched.weights.h5"))
    image = noise(32)
    wanted = np.asarray(build(include_top=False, weights="imagenet", input_shape=(32, 32, 3))(image))
    assert not np.allclose(wanted, np.asarray(random(image)), rtol=0.01)
    backbone = build_backbone("EfficientNetB0", 32)
    model = keras.Model(backbone.input, {"x": backbone.output})
    backbone.save(tmp_path / "saved.keras")
    saved = keras.saving.load_model(tmp_path / "saved.keras", compile=False, safe_mode=True)
    copied = in_precision(model, "float32")(image)["x"]
    for found in (backbone(image), saved(image), copied):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "near"),
    [("ResNet5", "ResNet50"), ("eficientnet_lite0", "efficientnet_lite0"), ("mobilenet-v2", "MobileNetV2")],
)
def test_an_unknown_name_suggests_near_ones(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"--backbone {name} is unknown.*{near}"):
        build_backbone(name, 64)


@pytest.mark.slow
def test_convnext_takes_other_sizes_than_the_one_it_was_built_for() -> None:
    backbone = build_backbone("ConvNeXtTiny", 96, None)
    set_trainable(backbone, "top", pretrained=False)
    assert backbone(noise(64), training=False).shape == (2, 2, 2, 768)
    assert with_pyramid_maps(backbone)(noise(64), training=False)[0].shape == (2, 2, 2, 768)


@pytest.mark.slow
def test_crops_are_not_smaller_than_what_comes_through() -> None:
    """InceptionV3 does not pad: of less than 75 pixels nothing is left. The default takes 32."""
    assert least_side(build_backbone("efficientnet_lite0", 96, None), 96) == 32
    inception = build_backbone("InceptionV3", 96, None)
    assert least_side(inception, 96) == 80
    assert inception(np.zeros((1, 80, 80, 3), np.float32)).shape[1:3] == (1, 1)
    with pytest.raises(ValueError):
        inception(np.zeros((1, 72, 72, 3), np.float32))


def test_images_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(UserError, match="--image-size 31 is too small"):
        build_backbone("efficientnet_lite0", 31)
    with pytest.raises(UserError, match=r"InceptionV3 cannot be built for --image-size 64.*75"):
        build_backbone("InceptionV3", 64, "none")


# ------------------------------------------------------------------------------------------------- weights files


def start(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_backbone("small_convnet", 32, "none")


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_weights_files_round_trip(name: str, tmp_path: Path) -> None:
    source = start(1)
    source(noise(32), training=True)  # statistics other than the initial ones
    if name.endswith(".keras"):
        source.save(tmp_path / name)
    else:
        source.save_weights(tmp_path / name)
    assert not all(np.array_equal(a, b) for a, b in zip(source.get_weights(), start(2).get_weights(), strict=True))
    keras.utils.set_random_seed(2)
    loaded = build_backbone("small_convnet", 32, tmp_path / name)
    for a, b in zip(source.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")  # of Keras, which is refused then
@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
def test_weights_of_another_network_are_refused(name: str, tmp_path: Path) -> None:
    image = keras.Input((32, 32, 3))
    other = keras.Model(image, keras.layers.Conv2D(3, 5)(image))
    other.save(tmp_path / name) if name.endswith(".keras") else other.save_weights(tmp_path / name)
    with pytest.raises(UserError, match="does not fit small_convnet") as error:
        build_backbone("small_convnet", 32, tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def zip_with(file: Path, name: str, content: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    "name",
    [
        "w.weights.h5",
        "w.keras",
        "w.h5",
        "w.pth",
        "cut.keras",
        "cut.weights.h5",
        "other.keras",
    ],
)
def test_a_file_that_is_no_weights_file_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if name == "other.keras":
        zip_with(file, "readme.txt", "hello")
    elif name.startswith("cut"):
        source = start(0)
        source.save(file) if name.endswith(".keras") else source.save_weights(file)
        file.write_bytes(file.read_bytes()[:-2000])
    else:
        file.write_text("these are not weights\n" * 50)
    with pytest.raises(UserError, match=f"--weights .*{name}") as error:
        build_backbone("small_convnet", 32, file)
    assert "\n" not in str(error.value)


def test_a_weights_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.keras is not there"):
        build_backbone("small_convnet", 32, tmp_path / "nowhere.keras")
    with pytest.raises(UserError, match="is not there"):
        build_backbone("small_convnet", 32, tmp_path)
