"""What in a picture speaks for an answer: maps of class activation for any head of `multitask.build_model`.

    maps = gradcam(model, cached_images, "painter", [3])      # float32 (1, h, w): what speaks for class 3
    heat = upsampled(maps[0], picture.width, picture.height)  # `evaluation.heatmaps`: over the whole painting
    overlay(pixels, heat)                                     # uint8, to be shown

The heads read means of feature maps A of the backbone: of the last one, and of finer pyramid maps (`pyramid`). What
is explained is the class *against the others*: the difference y of its logit and theirs, these weighted by their
probabilities. (The logit alone may be small for a class that is named for want of others.)

levels: what each cell of these maps adds to y, sum_k dy / dA_k x A_k, which is CAM (Zhou et al. 2016, arXiv 1512.04150)
for each of them, all resampled to one grid of 12 x 12 cells or more. Behind the maps all is linear, unless there are
hidden layers, so cells and bias add up to y. But a cell of the last map may know of the whole picture, and nothing
keeps training from gathering there what was seen elsewhere.

finer: the last map is not taken as it is: the last one of 12 x 12 cells or more on the way to it is, and each of its
cells has its own gradient, as in HiResCAM (Draelos & Carin 2020, arXiv 2011.08891). The pyramid maps are added.
layercam: the same with the positive gradients only (LayerCAM, Jiang et al. 2021, doi 10.1109/TIP.2021.3089943).
last: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391), on the cells of the last map.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.common.iteration import in_batches
from painters_mtl.data.tasks import known_output
from painters_mtl.evaluation.faithfulness import CELLS, resampling_matrix
from painters_mtl.evaluation.heatmaps import normalized
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import input_crops, pixels_spec
from painters_mtl.network.graph import FEATURES, PROBE, block_outputs, map_shapes, named_tensors, producing_node
from painters_mtl.network.multitask import backbone_of

TOP = -1  # as a class to explain: the likeliest one
METHODS = ("finer", "levels", "layercam", "last")  # the first is the best of them (benchmarks/explanations.py)
AGAINST = ("others", "mean", "nothing")

Maps = list[list[tf.Tensor]]  # for each view the map that is explained, then its pyramid maps; (n, h, w, channels)


def gradcam(
    model: keras.Model,
    cached_images: np.ndarray,
    task: str,
    classes: Sequence[int] | np.ndarray | None = None,
    image_size: int | None = None,
    method: str = "finer",
    against: str = "others",
) -> np.ndarray:
    """What speaks for a class of one head: float32 (n, h, w) in 0 to 1, the largest of each picture 1.

    Args:
        model: of `build_model`, or of a run folder.
        cached_images: uint8 (n, side, side, 3), whole pictures squashed to squares (`decode.cached_image`); of a
            network with two views (n, 2, side, side, 3).
        task: the head.
        classes: int (n,), which class of it to explain; without it the likeliest of each picture.
        image_size: the side at which the network looks at them; without it the side of the cached images.
        method: one of `METHODS`; see above.
        against: what is explained: the class against the "others", against their "mean", or its logit alone, "nothing".

    With two views the maps are (n, 2, h, w), to one scale; that of a view which the head does not see is 0. A map is 0
    everywhere when nothing in the picture speaks for the class.
    Raises `ValueError` for a task, class or method that the model does not have.
    """
    if task not in model.output:
        raise ValueError(f"the model has no head {task!r}, but {', '.join(model.output)}")
    n, count = len(cached_images), model.output[task].shape[-1]
    chosen = np.full(n, TOP, np.int32) if classes is None else np.asarray(classes, np.int32)
    if chosen.shape != (n,) or (classes is not None and not ((chosen >= 0) & (chosen < count)).all()):
        raise ValueError(f"give a class of 0 to {count - 1} for each of {n} pictures. Received: {classes}")
    explain = explainer(model, image_size or cached_images.shape[-2], [task], method, against)
    parts = [explain(cached_images[rows], {task: chosen[rows]})[task]["map"].numpy() for rows in in_batches(n)]
    maps = normalized(np.concatenate(parts))
    return maps[:, 0] if maps.shape[1] == 1 else maps


def explainer(
    model: keras.Model,
    image_size: int,
    tasks: Sequence[str] | None = None,
    method: str = "finer",
    against: str = "others",
) -> Callable[[np.ndarray, Mapping[str, np.ndarray]], dict[str, dict[str, tf.Tensor]]]:
    """A compiled function from cached images, as in `gradcam`, and classes {task: int32 (n,)} to what explains them.

    A class of -1 is the likeliest. For each of `tasks` (all, without it) it returns a dict of "probabilities"
    (n, classes), "class" int32 (n,), "score" (n,), the logit or difference of logits that is explained, "map" float32
    (n, views, h, w), what each cell adds to it, for `normalized` to bring to 0 to 1, and "sees" bool (n, views):
    whether the view has any influence on the class. Of a head `{task}_known` beside one of `tasks` it returns the
    "probabilities" only.

    Raises `ValueError` for a method that the model does not have.
    """
    if against not in AGAINST:
        raise ValueError(f"against must be one of {', '.join(AGAINST)}. Received: {against!r}")
    names = list(tasks or model.output)
    beside = [known_output(name) for name in names if known_output(name) in model.output]
    cut = _cut(model, image_size, list(dict.fromkeys([*names, *beside])), method)

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
                scores[name] = _score(logits[name], chosen[name], against)
        explained = {name: {"probabilities": tf.nn.softmax(values)} for name, values in logits.items()}
        for name in names:
            gradients = tape.gradient(scores[name], maps, unconnected_gradients="zero")
            explained[name] |= {
                "class": chosen[name],
                "score": scores[name],
                "map": tf.stack([cut.contributions(*view) for view in zip(maps, gradients, strict=True)], axis=1),
                "sees": tf.stack([_any(view) for view in gradients], axis=1),
            }
        return explained

    signature = {name: tf.TensorSpec((None,), tf.int32) for name in names}
    spec = pixels_spec(len(model.inputs))
    return tf.function(explain, input_signature=[spec, signature], autograph=False)


def _score(logits: tf.Tensor, chosen: tf.Tensor, against: str) -> tf.Tensor:
    """What is explained of the logits (n, classes): the chosen one, less what stands against it; float32 (n,).

    The "others" count by their probabilities, which are held still. The gradient is then that of the log odds of the
    class, log p / (1 - p), and it does not vanish where p is 1.
    """
    one = tf.one_hot(chosen, logits.shape[-1])
    score = tf.reduce_sum(one * logits, axis=1)
    if against == "nothing" or logits.shape[-1] < 2:
        return score
    weights = 1 - one if against == "mean" else tf.nn.softmax(logits - 1e9 * one) * (1 - one)
    weights = tf.stop_gradient(weights / tf.reduce_sum(weights, axis=1, keepdims=True))
    return score - tf.reduce_sum(weights * logits, axis=1)


@dataclass(frozen=True)
class _CutNetwork:
    """A network in pieces: up to the map that is explained, from there to the last map, and from there to the heads."""

    lower: keras.Model  # image to [the map that is explained, *the pyramid maps]
    upper: keras.Model | None  # that map to the last one; None where it is the last
    hidden: keras.Model  # features to {head: what its Dense layer reads}
    heads: dict[str, keras.layers.Dense]  # softmax included
    method: str

    def logits(self, maps: Maps) -> dict[str, tf.Tensor]:
        """The logits of each head, float32 (n, classes), from the maps of each view."""
        pooled = []
        for first, *finer in maps:
            last = first if self.upper is None else tf.cast(self.upper(first, training=False), tf.float32)
            pooled += [_mean(last), *(_unit_length(_mean(m)) for m in finer)]
        reads = self.hidden(tf.concat(pooled, axis=1), training=False)
        return {n: tf.cast(reads[n], tf.float32) @ head.kernel + head.bias for n, head in self.heads.items()}

    def contributions(self, maps: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the cells of a view's maps add to a score, (n, h, w), by its gradients, on the grid of the method."""
        slopes = list(gradients)
        if self.method == "last":
            slopes[0] = tf.reduce_mean(slopes[0], axis=(1, 2), keepdims=True)
        elif self.method == "layercam":
            slopes[0] = tf.nn.relu(slopes[0])
        shares = [tf.reduce_sum(m * slope, axis=-1) for m, slope in zip(maps, slopes, strict=True)]
        sizes = [tuple(share.shape[1:3]) for share in shares]
        enough = [size for size in sizes if min(size) >= CELLS]
        size = sizes[0] if self.method != "levels" else min(enough) if enough else max(sizes)
        return tf.add_n([_resampled(share, size) for share in shares])


def _cut(model: keras.Model, image_size: int, names: Sequence[str], method: str) -> _CutNetwork:
    lower, upper = _split(fold_batchnorm(backbone_of(model), inference=True), image_size, method)
    calls = {name: producing_node(model.output[name]) for name in names}
    hidden = keras.Model(named_tensors(model)[FEATURES], {n: call.input_tensors[0] for n, call in calls.items()})
    return _CutNetwork(lower, upper, hidden, {name: call.operation for name, call in calls.items()}, method)


def _split(backbone: keras.Model, image_size: int, method: str) -> tuple[keras.Model, keras.Model | None]:
    """The backbone up to the map that is explained, with the pyramid maps beside it, and the rest of it or None.

    The map of "finer" and "layercam" is the last one that has 12 x 12 cells, if any has, and more than the last of all.
    """
    last, *pyramid = backbone.outputs
    if method in ("levels", "last"):
        return backbone, None
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Received: {method!r}")
    passed = block_outputs(backbone)
    *shapes, end = map_shapes(backbone, [*passed, last])
    finer = [(t, shape[1]) for t, shape in zip(passed, shapes, strict=True) if len(shape) == 4 and shape[1] > end[1]]
    if not finer:  # as in networks whose blocks have several ways around them
        return backbone, None
    enough = [tensor for tensor, side in finer if side * image_size >= CELLS * PROBE]
    explained = enough[-1] if enough else finer[0][0]
    return keras.Model(backbone.inputs, [explained, *pyramid]), keras.Model(explained, last)


def _resampled(shares: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Shares (n, h, w) of a sum in the cells of another map, (n, *size): gathered or spread, the sum kept."""
    down, across = (
        resampling_matrix(cells, to).astype(np.float32) for cells, to in zip(shares.shape[1:3], size, strict=True)
    )
    return tf.einsum("Hh,nhw,Ww->nHW", down, shares, across)


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=(1, 2))


def _unit_length(mean: tf.Tensor) -> tf.Tensor:
    """A map's mean at length 1, as the heads read it; the length counts as a constant.

    Scaling a whole map changes nothing that a head reads: with a gradient through the length, the contributions of its
    cells would sum to 0.
    """
    return mean / tf.stop_gradient(tf.maximum(tf.norm(mean, axis=1, keepdims=True), 1e-6))


def _float32(values: tf.Tensor) -> tf.Tensor:
    """A map in float32, with a gradient of its own: the one that is explained may be one of the pyramid maps too."""
    return tf.identity(tf.cast(values, tf.float32))


def _any(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Of which pictures any gradient, (n, h, w, channels) each, is not 0: bool (n,)."""
    return tf.reduce_any([tf.reduce_any(g != 0, axis=(1, 2, 3)) for g in gradients], axis=0)
