"""Pyramid maps: which maps of a backbone they are, and which channels of the features are theirs."""

import keras
import numpy as np
import pytest
from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.network.backbones import build_backbone
from painters_mtl.network.graph import named_tensors
from painters_mtl.network.multitask import backbone_of
from painters_mtl.network.pyramid import pyramid_channels, with_pyramid_maps


def noise(side: int, n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3)).astype(np.float32)


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
def test_pyramid_maps_are_the_last_of_each_size(name: str, channels: list[int]) -> None:
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


def test_the_channels_of_finer_maps_are_those_that_do_not_come_from_the_last_one() -> None:
    """Told from the values: what stays when the last map is cut off is theirs."""
    tasks = {"style": Task("style", ("a", "b", "c"))}
    for multi_scale, count in ((True, 16 + 24 + 32), (False, 0)):
        model = small_network(tasks, multi_scale=multi_scale)
        read = named_tensors(model)["style_features"]
        finer = pyramid_channels(read)
        assert finer.dtype == bool and finer.sum() == count and len(finer) == 64 + count
        backbone, features = backbone_of(model), keras.Model(model.input, read)
        before = np.asarray(features(noise(64)))
        backbone.get_layer("bn4").set_weights([np.zeros(64), *backbone.get_layer("bn4").get_weights()[1:]])
        changed = (np.asarray(features(noise(64))) != before).any(axis=0)
        assert not changed[finer].any() and changed[~finer].mean() > 0.9


def test_a_head_behind_a_hidden_layer_or_of_two_views_reads_no_pyramid_map_directly() -> None:
    tasks = {"style": Task("style", ("a", "b", "c"))}
    for settings in ({"task_layers": (7,)}, {"views": ("whole", "detail")}):
        assert not pyramid_channels(named_tensors(small_network(tasks, **settings))["style_features"]).any()
