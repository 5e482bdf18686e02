"""Pyramid maps: the last map of a backbone and its finer ones, pooled to features for multi-scale heads.

A backbone halves its map several times; the last map before each halving holds what is fine, such as brush strokes,
which the last map of all has lost (Lin et al. 2017, Feature Pyramid Networks, arXiv 1612.03144).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from painters_mtl.network.graph import FEATURES, block_outputs, halvings, map_shapes, producing_node

LAST_POOL = "pool_0"  # the layer that pools the last map; pool_1 and so on pool the finer ones


def with_pyramid_maps(backbone: keras.Model) -> keras.Model:
    """The same backbone with more outputs: its last map, then the last map of each finer size, the finest first.

    A map that is as large as the image, or that a residual connection goes around, is no pyramid map.
    """
    last, passed = backbone.outputs[0], block_outputs(backbone)
    end, *shapes = map_shapes(backbone, [last, *passed])
    finer = {  # later maps of a size take the place of earlier ones
        halvings(shape): tensor
        for shape, tensor in zip(shapes, passed, strict=True)
        if len(shape) == 4
        and 0 < halvings(shape) < halvings(end)
        and not isinstance(producing_node(tensor).operation, keras.layers.ZeroPadding2D)
    }
    return keras.Model(backbone.input, [last, *finer.values()], name=backbone.name)


def pyramid_features(last: Any, finer: Sequence[Any]) -> Any:
    """The features of pyramid maps, (n, channels of all): the mean of the last map, then those of the finer ones.

    The mean of each finer map is brought to length 1 (Liu et al. 2015, ParseNet, arXiv 1506.04579): maps with many
    cells hold larger values, and would drown the last one.
    """
    means = [keras.layers.GlobalAveragePooling2D(name=LAST_POOL)(last)]
    pooled = [keras.layers.GlobalAveragePooling2D(name=f"pool_{i}")(m) for i, m in enumerate(finer, 1)]
    means += [keras.layers.UnitNormalization(name=f"level_{i}")(v) for i, v in enumerate(pooled, 1)]
    return keras.layers.Concatenate(name=FEATURES)(means)


def pyramid_channels(head_features: Any) -> np.ndarray:
    """Which channels of the tensor that a head reads are those of finer pyramid maps: bool (channels,).

    None of them where the head reads the last map alone, two views, or a hidden layer.
    """
    node = producing_node(head_features)
    sources = [producing_node(tensor).operation.name for tensor in node.input_tensors]
    if LAST_POOL not in sources:
        return np.zeros(head_features.shape[-1], bool)
    channels = [tensor.shape[-1] for tensor in node.input_tensors]
    return np.repeat([source != LAST_POOL for source in sources], channels)
