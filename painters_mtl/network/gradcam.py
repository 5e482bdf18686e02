"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) for any head of `model.build_model`.

    maps = gradcam(model, copies, "painter", [3])             # float32 (1, h, w): what speaks for class 3
    heat = stretched(maps[0], picture.width, picture.height)  # over the whole painting
    overlay(pixels, heat)                                     # uint8, to be shown

For a class with the logit y (before the softmax) and the last feature map A of the backbone (before its pooling), the
map is ReLU(sum_k a_k A_k) over the channels k, with a_k the mean of dy / dA_k over the map. It shows what speaks for
the class, no more finely than the map's cells: one for 32 x 32 pixels of the network's picture, in most backbones.
Where the heads see finer levels too (`model.widened`), what such a level B says by itself, sum_k dy / dB_k x B_k, is
added up over the pixels of a cell and then to it, before the ReLU.

A cell of the last map may know of the whole picture, and nothing keeps training from gathering there what was seen
elsewhere. Networks that were fine-tuned here did: in all pictures alike their last map was bright in its bottom row,
also in pictures turned upside down, and hardly tells what covering a ninth of the picture does to the logit (rank
correlation -0.02 and 0.18 in two networks). `layer="finer"` goes back to the last map that has more cells: there it is
0.33 to 0.45. Every cell then has its own gradient: ReLU(sum_k dy / dA_k x A_k), as in HiResCAM (Draelos & Carin 2020,
arXiv 2011.08891), which on the last map is Grad-CAM itself, since only a mean stands behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from painters_mtl.common.iteration import in_batches
from painters_mtl.data.tasks import known_output
from painters_mtl.network.backbones import block_outputs, shapes_of
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import center_crops, whole_crops
from painters_mtl.network.multitask import FEATURES, backbone_of, producing_node

TOP = -1  # as a wanted class: the likeliest one
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def gradcam(
    model: keras.Model,
    copies: np.ndarray,
    task: str,
    classes: Sequence[int] | np.ndarray | None = None,
    image_size: int | None = None,
    layer: str = "last",
) -> np.ndarray:
    """What speaks for a class of one head: float32 (n, h, w) in 0 to 1, the largest of each picture 1.

    Args:
        model: of `build_model`, or loaded by `runs.Run.model`.
        copies: uint8 (n, side, side, 3), whole pictures squashed to squares (`images.load(file, square=side)`); of a
            network with two views (n, 2, side, side, 3), as `decoding.copy_of` makes them.
        task: the head.
        classes: int (n,), which class of it to explain; without it the likeliest of each picture.
        image_size: the side at which the network looks at them; without it the side of the copies.
        layer: "last" feature map, or a "finer" one; see above.

    With two views the maps are (n, 2, h, w), to one scale; that of a view which the head does not see is 0. A map is 0
    everywhere when nothing in the picture speaks for the class.
    Raises `ValueError` for a task, class or layer that the model does not have.
    """
    if task not in model.output:
        raise ValueError(f"the model has no head {task!r}, but {', '.join(model.output)}")
    wanted = np.full(len(copies), TOP, np.int32) if classes is None else np.asarray(classes, np.int32)
    count = model.output[task].shape[-1]
    if wanted.shape != (len(copies),) or (classes is not None and not ((wanted >= 0) & (wanted < count)).all()):
        raise ValueError(f"give a class of 0 to {count - 1} for each of {len(copies)} pictures. Received: {classes}")
    explain = explainer(model, image_size or copies.shape[-2], [task], layer)
    found = [explain(copies[batch], {task: wanted[batch]})[task]["map"].numpy() for batch in in_batches(len(copies))]
    maps = scaled(np.concatenate(found))
    return maps[:, 0] if maps.shape[1] == 1 else maps


def explainer(
    model: keras.Model, image_size: int, tasks: Sequence[str] | None = None, layer: str = "last"
) -> Callable[[np.ndarray, Mapping[str, np.ndarray]], dict[str, dict[str, tf.Tensor]]]:
    """A compiled function from copies, as in `gradcam`, and wanted classes {task: int32 (n,)} to what explains them.

    A wanted class of -1 is the likeliest. For each of `tasks` (all, without it) it returns a dict of "probabilities"
    (n, classes), "class" int32 (n,), "map" float32 (n, views, h, w), not yet scaled to 0 to 1, and "sees" bool
    (n, views): whether the view has any influence on the class. Of a head `{task}_known` beside one of `tasks` it
    returns the "probabilities" only.
    """
    names = list(tasks or model.output)
    beside = [
        known_output(name) for name in names if known_output(name) in model.output and known_output(name) not in names
    ]
    views = len(model.inputs)
    # The Dense layers of the heads, softmax included.
    ends = {name: producing_node(model.output[name]) for name in (*names, *beside)}
    lower, upper = _split(
        fold_batchnorm(backbone_of(model), inference=True), layer
    )  # to [the map, *the finer levels]; behind it
    hidden = keras.Model(_tensor(model, FEATURES), {name: node.input_tensors[0] for name, node in ends.items()})

    def explain(copies: tf.Tensor, wanted: Mapping[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
        if views == 1:
            seen = [whole_crops(copies, image_size)]
        else:
            seen = [whole_crops(copies[:, 0], image_size), center_crops(copies[:, 1], image_size)]
        found = [[_own(m) for m in tf.nest.flatten(lower(view, training=False))] for view in seen]
        maps = [view[0] for view in found]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(found)
            last = maps if upper is None else [tf.cast(upper(m, training=False), tf.float32) for m in maps]
            pooled = []
            for end, (_, *levels) in zip(last, found, strict=True):
                pooled += [_mean(end), *(_unit(_mean(level)) for level in levels)]
            before = hidden(tf.concat(pooled, axis=1), training=False)
            logits, chosen, scores = {}, {}, {}
            for name, node in ends.items():
                head = node.operation
                logits[name] = tf.cast(before[name], tf.float32) @ head.kernel + head.bias
            for name in names:
                likeliest = tf.argmax(logits[name], axis=1, output_type=tf.int32)
                chosen[name] = tf.where(wanted[name] == TOP, likeliest, wanted[name])
                scores[name] = tf.gather(logits[name], chosen[name], batch_dims=1)
        explained = {name: {"probabilities": tf.nn.softmax(logits[name])} for name in beside}
        for name in names:
            gradients = tape.gradient(scores[name], found, unconnected_gradients="zero")
            cams = []
            for (m, *levels), (g, *of_levels) in zip(found, gradients, strict=True):
                weights = tf.reduce_mean(g, axis=(1, 2), keepdims=True) if upper is None else g
                speaks = tf.reduce_sum(m * weights, axis=-1, keepdims=True)
                for level, its in zip(levels, of_levels, strict=True):
                    speaks += _gathered(tf.reduce_sum(level * its, axis=-1, keepdims=True), tf.shape(m)[1:3])
                cams.append(tf.nn.relu(speaks[..., 0]))
            explained[name] = {
                "probabilities": tf.nn.softmax(logits[name]),
                "class": chosen[name],
                "map": tf.stack(cams, axis=1),
                "sees": tf.stack([_any(view) for view in gradients], axis=1),
            }
        return explained

    pixels = tf.TensorSpec((None, None, None, 3) if views == 1 else (None, views, None, None, 3), tf.uint8)
    classes = {name: tf.TensorSpec((None,), tf.int32) for name in names}
    return tf.function(explain, input_signature=[pixels, classes], autograph=False)


def _gathered(shares: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Shares (n, h, w, 1) of a sum in the cells of a coarser map (n, *size, 1): what each cell covers, added up."""
    cells = tf.cast(tf.reduce_prod(tf.shape(shares)[1:3]) / tf.reduce_prod(size), tf.float32)
    return tf.image.resize(shares, size, "area") * cells


def _mean(level: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(level, axis=(1, 2))


def _unit(mean: tf.Tensor) -> tf.Tensor:
    """A level's mean at length 1, as the heads see it; the length counts as a constant, for else nothing could speak.

    (Made larger as a whole, a level says the same: all that its cells say would add up to 0.)
    """
    return mean / tf.stop_gradient(tf.maximum(tf.norm(mean, axis=1, keepdims=True), 1e-6))


def _own(level: tf.Tensor) -> tf.Tensor:
    """The same in float32, with a gradient of its own: the map that is explained may be one of the levels too."""
    return tf.identity(tf.cast(level, tf.float32))


def _any(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Of which pictures any gradient, (n, h, w, channels) each, is not 0: bool (n,)."""
    return tf.reduce_any([tf.reduce_any(g != 0, axis=(1, 2, 3)) for g in gradients], axis=0)


def scaled(maps: np.ndarray) -> np.ndarray:
    """Each picture's map to 0 to 1: float32 (n, ...) divided by its largest value; a map of zeros stays."""
    top = maps.reshape(len(maps), -1).max(axis=1).reshape(-1, *[1] * (maps.ndim - 1))
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)


def likeness(maps: np.ndarray) -> float:
    """How much the maps of different pictures are the same: mean cosine of all pairs of (n, ...), 0 to 1.

    Near 1 they tell of the network and not of the pictures. NaN where fewer than two maps hold anything.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat[flat.any(axis=1)]
    n = len(flat)
    if n < 2:
        return float("nan")
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1)))


def stretched(heat: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map (h, w) over a picture of that size: float32 (height, width), bicubic, never above or below its cells.

    The network saw the whole picture squashed to a square, so the map's square is the whole picture, and each cell its
    own part of it.
    """
    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(large, heat.min(), heat.max())


def overlay(pixels: np.ndarray, heat: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """A picture in grey under its map: uint8 (h, w, 3), with `heat` (h, w) in 0 to 1 in matplotlib's inferno.

    Grey, because the painting's own colours would be mistaken for the map's; inferno, because equal steps of it look
    equal, and its brightness survives a print in black and white.
    """
    from matplotlib import colormaps

    grey = (pixels @ np.array(LUMA))[..., None]
    mixed = (1 - strength) * grey + strength * 255 * colormaps["inferno"](np.clip(heat, 0, 1))[..., :3]
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _split(backbone: keras.Model, layer: str) -> tuple[keras.Model, keras.Model | None]:
    """The backbone up to the map that is explained, with the levels beside it, and the rest of it; None: nothing."""
    last, *levels = backbone.outputs
    if layer == "last":
        return backbone, None
    if layer != "finer":
        raise ValueError(f'layer must be "last" or "finer". Received: {layer!r}')
    passed = block_outputs(backbone)
    *sizes, end = shapes_of(backbone, [*passed, last])
    finer = [cut for cut, size in zip(passed, sizes, strict=True) if len(size) == 4 and size[1] > end[1]]
    if not finer:
        raise ValueError(f"{backbone.name} has no feature map that is finer than the last one")
    return keras.Model(backbone.inputs, [finer[-1], *levels]), keras.Model(finer[-1], last)


def _tensor(model: keras.Model, layer: str) -> Any:
    """The output of a layer in this model; not layer.output, for the layer may be part of other models, too."""
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    return next(node for node in nodes if node.operation.name == layer).output_tensors[0]
