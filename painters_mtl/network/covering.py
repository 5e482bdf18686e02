"""A network that is asked about a picture again and again, with parts of it covered.

    predict_masked = masked_predictor(model, 128)
    probabilities = predict_masked(cached_image, masks)["style"]    # float32 (masks, classes)

What is covered is blurred, not black: black squares are edges and colours of their own, which may speak for a class.
Two maps come of it: occlusion (Zeiler & Fergus 2014, arXiv 1311.2901) and RISE (Petsiuk et al. 2018, arXiv 1806.07421).
They take hundreds of passes through the network for a picture, and need to know nothing of what is inside.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.common.iteration import in_batches
from painters_mtl.evaluation.faithfulness import CELLS, control_masks, exceeds_controls, log_odds, resample
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import input_crops

BLURRED = 6  # cells a side that what is covered keeps of the picture: where it is light, and its colours
MASKS_AT_ONCE, USUAL_SIDE = 64, 224  # fewer of larger pictures, in proportion: they take the same memory
RISE_MASKS, RISE_CELLS, RISE_KEPT = 300, 6, 0.5

Cover = Literal["blur", "mean"]
MaskedPredictor = Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def masked_predictor(
    model: keras.Model, image_size: int, tasks: Sequence[str] | None = None, cover: Cover = "blur"
) -> MaskedPredictor:
    """A function from a cached image and masks to the probabilities of each head: {name: float32 (masks, classes)}.

    The image is uint8 (side, side, 3), or of a network with two views (2, side, side, 3). The masks are float (m, h, w)
    or for two views (m, 2, h, w): 1 where the picture is seen, 0 where it is covered. They are stretched over the
    picture smoothly, so that a covered cell has no edge.

    Args:
        tasks: the heads to ask; all, without it.
        cover: by what: "blur", the picture on 6 x 6 cells; "mean", its mean colour.
    """
    views = len(model.inputs)
    names = list(tasks or model.output)
    heads = keras.Model(model.input, {name: model.output[name] for name in names})
    network = fold_batchnorm(heads, inference=True)

    def predict_masked(image: tf.Tensor, masks: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = input_crops(image[None], image_size, views)
        crops = inputs if isinstance(inputs, dict) else {"image": inputs}
        mixed = {}
        for k, (name, crop) in enumerate(crops.items()):
            cells = BLURRED if cover == "blur" else 1
            covered = tf.image.resize(tf.image.resize(crop, (cells, cells), "area"), (image_size, image_size))
            seen = tf.image.resize(masks[:, k, ..., None], (image_size, image_size))
            mixed[name] = covered + seen * (crop - covered)
        return network(mixed if views > 1 else mixed["image"], training=False)

    shape = (None, None, 3) if views == 1 else (views, None, None, 3)
    spec = [tf.TensorSpec(shape, tf.uint8), tf.TensorSpec((None, views, None, None), tf.float32)]
    compiled = tf.function(predict_masked, input_signature=spec, autograph=False)

    def in_parts(image: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
        masks = np.asarray(masks, np.float32)
        masks = masks if masks.ndim == 4 else masks[:, None]
        at_once = min(MASKS_AT_ONCE, max(1, MASKS_AT_ONCE * USUAL_SIDE**2 // image_size**2))
        parts = [compiled(image, masks[rows]) for rows in in_batches(len(masks), at_once)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in names}

    return in_parts


def occlusion(
    predict_masked: MaskedPredictor, image: np.ndarray, chosen: Mapping[str, int], cells: int = CELLS, views: int = 1
) -> dict[str, np.ndarray]:
    """How much the log odds of a class fall when a cell is covered: {task: float32 (views, cells, cells)}.

    Args:
        chosen: {task: the class}.
    """
    count = views * cells * cells
    masks = np.concatenate([np.ones((1, count)), 1 - np.eye(count)]).reshape(-1, views, cells, cells)
    said = predict_masked(image, masks)
    scores = {name: log_odds(said[name], number) for name, number in chosen.items()}
    return {name: (of[0] - of[1:]).reshape(views, cells, cells).astype(np.float32) for name, of in scores.items()}


def rise(
    predict_masked: MaskedPredictor,
    image: np.ndarray,
    chosen: Mapping[str, int],
    cells: int = CELLS,
    views: int = 1,
    masks: int = RISE_MASKS,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """How high a class's log odds are when a cell is seen, over random masks: {task: float32 (views, cells, cells)}.

    It is the covariance of both, so that a cell which changes nothing has 0. A mask shows half of a 6 x 6 grid.
    """
    rng = np.random.default_rng(seed)
    coarse = (rng.random((masks, views, RISE_CELLS, RISE_CELLS)) < RISE_KEPT).astype(np.float64)
    seen = resample(coarse, cells) * (cells / RISE_CELLS) ** 2
    said = predict_masked(image, seen)
    maps = {}
    for name, number in chosen.items():
        scores = log_odds(said[name], number)
        maps[name] = np.tensordot(scores - scores.mean(), seen, 1).astype(np.float32) / masks
    return maps


BY_COVERING = {"occlusion": occlusion, "rise": rise}


def maps_exceed_controls(
    predict_masked: MaskedPredictor,
    image: np.ndarray,
    chosen: Mapping[str, int],
    maps: Mapping[str, np.ndarray],
    seed: int = 0,
) -> dict[str, bool]:
    """Whether covering the bright cells of a map changes the answer more than covering others: {task: bool}.

    It takes 20 passes through the network for each task; see `faithfulness.exceeds_controls`.

    Args:
        maps: {task: (views, h, w)}.
    """
    masks = {n: control_masks(resample(maps[n].astype(np.float64)), np.random.default_rng(seed)) for n in chosen}
    said = predict_masked(image, np.concatenate(list(masks.values())))
    proven, start = {}, 0
    for name, number in chosen.items():
        end = start + len(masks[name])
        proven[name] = exceeds_controls(log_odds(said[name][start:end], number))
        start = end
    return proven
