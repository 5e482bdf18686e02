"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) for any head of `multitask.build_model`.

    maps = gradcam(model, cached_images, "painter", [3])      # float32 (1, h, w): what speaks for class 3
    heat = stretched(maps[0], picture.width, picture.height)  # over the whole painting
    overlay(pixels, heat)                                     # uint8, to be shown

For a class with the logit y (before the softmax) and the last feature map A of the backbone (before its pooling), the
map is ReLU(sum_k a_k A_k) over the channels k, with a_k the mean of dy / dA_k over the map. It shows what speaks for
the class, no more finely than the map's cells: one for 32 x 32 pixels of the network's picture, in most backbones.
Where the heads read finer pyramid maps too (`pyramid`), what such a map B says by itself, sum_k dy / dB_k x B_k, is
added up over the pixels of a cell and then to it, before the ReLU.

A cell of the last map may know of the whole picture, and nothing keeps training from gathering there what was seen
elsewhere. Networks that were fine-tuned here did: in all pictures alike their last map was bright in its bottom row,
also in pictures turned upside down, and hardly tells what covering a ninth of the picture does to the logit (rank
correlation -0.02 and 0.18 in two networks). `layer="finer"` goes back to the last map that has more cells: there it is
0.33 to 0.45. Every cell then has its own gradient: ReLU(sum_k dy / dA_k x A_k), as in HiResCAM (Draelos & Carin 2020,
arXiv 2011.08891), which on the last map is Grad-CAM itself, since only a mean stands behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from painters_mtl.common.iteration import in_batches
from painters_mtl.data.tasks import known_output
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import input_crops, pixels_spec
from painters_mtl.network.graph import FEATURES, block_outputs, map_shapes, named_tensors, producing_node
from painters_mtl.network.multitask import backbone_of

TOP = -1  # as a class to explain: the likeliest one
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

Maps = list[list[tf.Tensor]]  # for each view the map that is explained, then its pyramid maps; (n, h, w, channels)


def gradcam(
    model: keras.Model,
    cached_images: np.ndarray,
    task: str,
    classes: Sequence[int] | np.ndarray | None = None,
    image_size: int | None = None,
    layer: str = "last",
) -> np.ndarray:
    """What speaks for a class of one head: float32 (n, h, w) in 0 to 1, the largest of each picture 1.

    Args:
        model: of `build_model`, or of a run folder.
        cached_images: uint8 (n, side, side, 3), whole pictures squashed to squares (`decode.cached_image`); of a
            network with two views (n, 2, side, side, 3).
        task: the head.
        classes: int (n,), which class of it to explain; without it the likeliest of each picture.
        image_size: the side at which the network looks at them; without it the side of the cached images.
        layer: "last" feature map, or a "finer" one; see above.

    With two views the maps are (n, 2, h, w), to one scale; that of a view which the head does not see is 0. A map is 0
    everywhere when nothing in the picture speaks for the class.
    Raises `ValueError` for a task, class or layer that the model does not have.
    """
    if task not in model.output:
        raise ValueError(f"the model has no head {task!r}, but {', '.join(model.output)}")
    n, count = len(cached_images), model.output[task].shape[-1]
    chosen = np.full(n, TOP, np.int32) if classes is None else np.asarray(classes, np.int32)
    if chosen.shape != (n,) or (classes is not None and not ((chosen >= 0) & (chosen < count)).all()):
        raise ValueError(f"give a class of 0 to {count - 1} for each of {n} pictures. Received: {classes}")
    explain = explainer(model, image_size or cached_images.shape[-2], [task], layer)
    parts = [explain(cached_images[rows], {task: chosen[rows]})[task]["map"].numpy() for rows in in_batches(n)]
    maps = scaled(np.concatenate(parts))
    return maps[:, 0] if maps.shape[1] == 1 else maps


def explainer(
    model: keras.Model, image_size: int, tasks: Sequence[str] | None = None, layer: str = "last"
) -> Callable[[np.ndarray, Mapping[str, np.ndarray]], dict[str, dict[str, tf.Tensor]]]:
    """A compiled function from cached images, as in `gradcam`, and classes {task: int32 (n,)} to what explains them.

    A class of -1 is the likeliest. For each of `tasks` (all, without it) it returns a dict of "probabilities"
    (n, classes), "class" int32 (n,), "map" float32 (n, views, h, w), not yet scaled to 0 to 1, and "sees" bool
    (n, views): whether the view has any influence on the class. Of a head `{task}_known` beside one of `tasks` it
    returns the "probabilities" only.
    """
    names = list(tasks or model.output)
    beside = [known_output(name) for name in names if known_output(name) in model.output]
    cut = _cut(model, list(dict.fromkeys([*names, *beside])), layer)

    def explain(cached_images: tf.Tensor, classes: Mapping[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
        inputs = input_crops(cached_images, image_size, len(model.inputs))
        crops = list(inputs.values()) if isinstance(inputs, dict) else [inputs]  # in the order of the views
        maps = [[_float32(m) for m in tf.nest.flatten(cut.lower(view, training=False))] for view in crops]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(maps)
            logits = cut.logits(maps)
            chosen, scores = {}, {}
            for name in names:
                likeliest = tf.argmax(logits[name], axis=1, output_type=tf.int32)
                chosen[name] = tf.where(classes[name] == TOP, likeliest, classes[name])
                scores[name] = tf.gather(logits[name], chosen[name], batch_dims=1)
        explained = {name: {"probabilities": tf.nn.softmax(values)} for name, values in logits.items()}
        for name in names:
            gradients = tape.gradient(scores[name], maps, unconnected_gradients="zero")
            explained[name] |= {
                "class": chosen[name],
                "map": tf.stack([cut.speaks(*view) for view in zip(maps, gradients, strict=True)], axis=1),
                "sees": tf.stack([_any(view) for view in gradients], axis=1),
            }
        return explained

    signature = {name: tf.TensorSpec((None,), tf.int32) for name in names}
    spec = pixels_spec(len(model.inputs))
    return tf.function(explain, input_signature=[spec, signature], autograph=False)


@dataclass(frozen=True)
class _CutNetwork:
    """A network in pieces: up to the map that is explained, from there to the last map, and from there to the heads."""

    lower: keras.Model  # image to [the map that is explained, *the finer pyramid maps]
    upper: keras.Model | None  # that map to the last one; None where it is the last
    hidden: keras.Model  # features to {head: what its Dense layer reads}
    heads: dict[str, keras.layers.Dense]  # softmax included

    def logits(self, maps: Maps) -> dict[str, tf.Tensor]:
        """The logits of each head, float32 (n, classes), from the maps of each view."""
        pooled = []
        for first, *finer in maps:
            last = first if self.upper is None else tf.cast(self.upper(first, training=False), tf.float32)
            pooled += [_mean(last), *(_unit(_mean(m)) for m in finer)]
        reads = self.hidden(tf.concat(pooled, axis=1), training=False)
        return {n: tf.cast(reads[n], tf.float32) @ head.kernel + head.bias for n, head in self.heads.items()}

    def speaks(self, maps: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the maps of a view say for a class, (n, h, w), by the gradients of its logit."""
        (first, *finer), (gradient, *finer_gradients) = maps, gradients
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True) if self.upper is None else gradient
        total = tf.reduce_sum(first * weights, axis=-1, keepdims=True)
        for values, slopes in zip(finer, finer_gradients, strict=True):
            total += _gathered(tf.reduce_sum(values * slopes, axis=-1, keepdims=True), tf.shape(first)[1:3])
        return tf.nn.relu(total[..., 0])


def _cut(model: keras.Model, names: Sequence[str], layer: str) -> _CutNetwork:
    lower, upper = _split(fold_batchnorm(backbone_of(model), inference=True), layer)
    calls = {name: producing_node(model.output[name]) for name in names}
    hidden = keras.Model(named_tensors(model)[FEATURES], {n: call.input_tensors[0] for n, call in calls.items()})
    return _CutNetwork(lower, upper, hidden, {name: call.operation for name, call in calls.items()})


def _split(backbone: keras.Model, layer: str) -> tuple[keras.Model, keras.Model | None]:
    """The backbone up to the map that is explained, with the pyramid maps beside it, and the rest of it or None."""
    last, *pyramid = backbone.outputs
    if layer == "last":
        return backbone, None
    if layer != "finer":
        raise ValueError(f'layer must be "last" or "finer". Received: {layer!r}')
    passed = block_outputs(backbone)
    *shapes, end = map_shapes(backbone, [*passed, last])
    finer = [cut for cut, shape in zip(passed, shapes, strict=True) if len(shape) == 4 and shape[1] > end[1]]
    if not finer:
        raise ValueError(f"{backbone.name} has no feature map that is finer than the last one")
    return keras.Model(backbone.inputs, [finer[-1], *pyramid]), keras.Model(finer[-1], last)


def _gathered(shares: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Shares (n, h, w, 1) of a sum in the cells of a coarser map (n, *size, 1): what each cell covers, added up."""
    cells = tf.cast(tf.reduce_prod(tf.shape(shares)[1:3]) / tf.reduce_prod(size), tf.float32)
    return tf.image.resize(shares, size, "area") * cells


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=(1, 2))


def _unit(mean: tf.Tensor) -> tf.Tensor:
    """A map's mean at length 1, as the heads read it; the length counts as a constant, for else nothing could speak.

    (Made larger as a whole, a map says the same: all that its cells say would add up to 0.)
    """
    return mean / tf.stop_gradient(tf.maximum(tf.norm(mean, axis=1, keepdims=True), 1e-6))


def _float32(values: tf.Tensor) -> tf.Tensor:
    """A map in float32, with a gradient of its own: the one that is explained may be one of the pyramid maps too."""
    return tf.identity(tf.cast(values, tf.float32))


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
