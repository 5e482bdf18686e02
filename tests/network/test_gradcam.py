"""Grad-CAM: equal to CAM where they must be, and in the corner that decides."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from marked_pictures import CORNERS, SIDE, TASKS, VIEWS, drawn, network, noise, taught_network
from scipy.stats import spearmanr

from painters_mtl.evaluation.heatmaps import normalized
from painters_mtl.network.forward import center_crops, forward_function, whole_crops
from painters_mtl.network.gradcam import METHODS, explainer, gradcam
from painters_mtl.network.multitask import backbone_of, features_model
from painters_mtl.runs import run as runs


@pytest.fixture(scope="module")
def taught() -> keras.Model:
    """A small network that reads both marks."""
    return taught_network()


def levels_of(model: keras.Model, view: tf.Tensor) -> list[np.ndarray]:
    """The maps that the heads see of a view, (n, h, w, channels) each: the last one, then the finer levels, each
    divided by the length of its mean."""
    last, *finer = [level.numpy() for level in keras.tree.flatten(backbone_of(model)(view, training=False))]
    lengths = [np.linalg.norm(level.mean(axis=(1, 2)), axis=1) for level in finer]
    return [last, *(level / length[:, None, None, None] for level, length in zip(finer, lengths, strict=True))]


def cam(levels: list[np.ndarray], kernel: np.ndarray, classes: list[int]) -> np.ndarray:
    """sum_k w_kc A_k with the rows of `kernel` that belong to each level, in the mean over what a last cell covers."""
    ends = np.cumsum([level.shape[-1] for level in levels])
    n, h, w, _ = levels[0].shape
    total = np.zeros((n, h, w))
    for level, part in zip(levels, np.split(kernel, ends[:-1]), strict=True):
        shares = np.einsum("nhwk,kn->nhw", level, part[:, classes])
        total += shares.reshape(n, h, level.shape[1] // h, w, level.shape[2] // w).mean(axis=(2, 4))
    return total


# ------------------------------------------------------------------------------------------------- the formula


@pytest.mark.parametrize(
    "backbone",
    ["small_convnet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("MobileNetV3Small", "ResNet50"))],
)
def test_behind_a_global_mean_and_one_layer_it_is_cam(backbone: str) -> None:
    """Zhou et al. 2016 (arXiv 1512.04150): ReLU(sum_k w_kc A_k), with the head's own weights."""
    model, copies = network(backbone=backbone), noise(5)
    for task, classes in (("painter", [0, 1, 2, 3, 1]), ("style", [2, 0, 1, 1, 2])):
        levels = levels_of(model, whole_crops(tf.constant(copies), 64))
        assert len(levels) > 3  # so that what the finer ones say is added up
        contributions = np.maximum(cam(levels, model.get_layer(task).get_weights()[0], classes), 0)
        wanted = contributions / np.maximum(contributions.max(axis=(1, 2), keepdims=True), 1e-30)
        found = gradcam(model, copies, task, classes, method="last", against="nothing")
        assert found.dtype == np.float32 and found.shape == contributions.shape
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_the_cells_add_up_to_the_logit() -> None:
    """Behind means and one layer nothing is lost: a map and its bias hold all of the logit."""
    model, copies = network(), noise(3, side=96)
    kernel, bias = model.get_layer("style").get_weights()
    logits = features_model(model)(whole_crops(tf.constant(copies), 80), training=False).numpy() @ kernel
    chosen = {"painter": np.zeros(3, np.int32), "style": np.ones(3, np.int32)}
    for method in ("levels", "last"):
        found = explainer(model, 80, method=method, against="nothing")(copies, chosen)["style"]
        np.testing.assert_allclose(found["map"].numpy().sum(axis=(1, 2, 3)), logits[:, 1], rtol=1e-4)
        np.testing.assert_allclose(found["score"], logits[:, 1] + bias[1], rtol=1e-4)


@pytest.mark.parametrize("against", ["others", "mean"])
def test_the_cells_add_up_to_the_difference_of_logits(against: str) -> None:
    """Class 1 against the two others, by their probabilities or evenly; also where the network is sure of it."""
    for sure in (1, 60):
        model, copies = network(), noise(3, side=96)
        kernel, bias = model.get_layer("style").get_weights()
        kernel *= sure
        model.get_layer("style").set_weights([kernel, bias])
        logits = features_model(model)(whole_crops(tf.constant(copies), 96), training=False).numpy() @ kernel + bias
        rest = np.exp(logits[:, [0, 2]] - logits[:, [0, 2]].max(axis=1, keepdims=True)) ** (against == "others")
        weights = np.insert(-rest / rest.sum(axis=1, keepdims=True), 1, 1, axis=1)
        found = explainer(model, 96, method="levels", against=against)(
            copies, {"painter": np.zeros(3, np.int32), "style": np.ones(3, np.int32)}
        )["style"]
        assert found["map"].shape == (3, 1, 12, 12)  # the map of every eighth pixel
        np.testing.assert_allclose(found["score"], (weights * logits).sum(axis=1), rtol=1e-3, atol=1e-4)
        added = found["map"].numpy().sum(axis=(1, 2, 3)) + weights @ bias
        np.testing.assert_allclose(added, found["score"], rtol=1e-3, atol=1e-4 * sure)


def test_through_hidden_layers_by_finite_differences() -> None:
    """The weight of channel k is what the logit gains when the whole map A_k is raised, not the gain of the softmax."""
    model = network(shared_layers=(12,), task_layers=(9,), shared_projection=7)
    copies, classes = noise(3), [2, 0, 1]
    levels = [level.astype(np.float64) for level in levels_of(model, whole_crops(tf.constant(copies), 64))]
    names = ("shared_0", "style_0", "projection")
    hidden = [[w.astype(np.float64) for w in model.get_layer(name).get_weights()] for name in names]
    kernel, bias = model.get_layer("style").get_weights()

    def logit(features: np.ndarray, chosen: int) -> float:
        for k, b in hidden:
            features = np.maximum(features @ k + b, 0)
        return float((features @ kernel.astype(np.float64) + bias)[chosen])

    found = gradcam(model, copies, "style", classes, method="last", against="nothing")
    for i, (c, heat) in enumerate(zip(classes, found, strict=True)):
        base, step = np.concatenate([level[i].mean(axis=(0, 1)) for level in levels]), 1e-6
        weights = [[logit(base + step * unit, c) - logit(base - step * unit, c)] for unit in np.eye(len(base))]
        wanted = np.maximum(cam([level[i : i + 1] for level in levels], np.array(weights), [0])[0], 0)
        np.testing.assert_allclose(heat, wanted / max(wanted.max(), 1e-30), atol=1e-3)


@pytest.mark.parametrize(
    "backbone",
    ["small_convnet", pytest.param("efficientnet_lite0", marks=pytest.mark.slow)],
)
def test_the_finer_map_has_more_cells_and_explains_the_same_logit(backbone: str) -> None:
    """Behind the split the maps go to the same logits: what is explained is what the network says."""
    model, copies = network(backbone=backbone), noise(3, side=96)
    last, finer = (explainer(model, 96, method=method) for method in ("last", "finer"))
    wanted = {name: np.full(3, -1, np.int32) for name in TASKS}
    one, two, said = last(copies, wanted), finer(copies, wanted), forward_function(model, 96)(copies)
    for name in TASKS:
        assert two[name]["map"].shape[2] == 12 > one[name]["map"].shape[2]
        for found in (one[name], two[name]):
            np.testing.assert_allclose(found["probabilities"], said[name], atol=1e-5)
            np.testing.assert_array_equal(found["class"], said[name].numpy().argmax(axis=1))


def test_the_finer_map_is_gradient_times_input() -> None:
    """By the gradient of Keras's own layers, called one after the other."""
    model, copies = network(), noise(2, side=96)
    layers = {layer.name: layer for layer in backbone_of(model).layers}
    kernel, bias = (w.numpy() for w in model.get_layer("style").weights)
    ends = np.cumsum([level.shape[-1] for level in backbone_of(model).outputs])
    of_last, *of_levels = np.split(kernel, ends[:-1])
    x, beside = whole_crops(tf.constant(copies), 96), []
    for name in ("rescale", *(f"{part}{i}" for i in range(3) for part in ("conv", "bn", "relu"))):
        x = layers[name](x)
        beside += [x] if name.startswith("relu") else []
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for name in (f"{part}{i}" for i in (3, 4) for part in ("conv", "bn", "relu")):
            y = layers[name](y)
        score = tf.reduce_sum((tf.reduce_mean(y, axis=(1, 2)) @ of_last + bias)[:, 1])
    wanted = tf.reduce_sum(x * tape.gradient(score, x), axis=-1).numpy()
    n, h, w = wanted.shape
    for level, part in zip(beside, of_levels, strict=True):  # what the head sees of each level directly
        length = np.linalg.norm(level.numpy().mean(axis=(1, 2)), axis=1)[:, None, None]
        shares = level.numpy() @ part[:, 1] / length / np.prod(level.shape[1:3])
        wanted += shares.reshape(n, h, level.shape[1] // h, w, level.shape[2] // w).sum(axis=(2, 4))
    wanted = np.maximum(wanted, 0)
    np.testing.assert_allclose(
        gradcam(model, copies, "style", [1, 1], method="finer", against="nothing"), normalized(wanted), atol=2e-5
    )


@pytest.mark.parametrize("merge", ["concatenate", "none"])
def test_two_views(merge: str, tmp_path: Path) -> None:
    """CAM again: each view's map with its own part of the head's weights, to one scale; the view not seen stays 0."""
    view_of = {"painter": "detail"} if merge == "none" else {}
    model, copies = network(views=VIEWS, merge=merge, view_of=view_of), noise(4, views=2)
    runs.save_labels(tmp_path, TASKS, 48, 64, False, VIEWS)
    runs.save_model(model, tmp_path)
    classes = [3, 0, 1, 2]
    seen = [whole_crops(tf.constant(copies[:, 0]), 48), center_crops(tf.constant(copies[:, 1]), 48)]
    kernel, channels = model.get_layer("painter").get_weights()[0], features_model(model).output.shape[-1] // 2
    parts = [kernel[:channels], kernel[channels:]] if merge == "concatenate" else [np.zeros_like(kernel), kernel]
    cams = [cam(levels_of(model, view), part, classes) for view, part in zip(seen, parts, strict=True)]
    wanted = np.maximum(np.stack(cams, axis=1), 0)
    wanted /= np.maximum(wanted.max(axis=(1, 2, 3), keepdims=True), 1e-30)
    plain = {"method": "levels", "against": "nothing"}
    np.testing.assert_allclose(gradcam(model, copies, "painter", classes, 48, **plain), wanted, atol=2e-5)
    loaded = runs.open_run(tmp_path).model()
    said = forward_function(loaded, 48)(copies)
    found = explainer(loaded, 48, **plain)(copies, {"painter": np.int32(classes), "style": np.full(4, -1, np.int32)})
    np.testing.assert_allclose(normalized(found["painter"]["map"].numpy()), wanted, atol=2e-5)
    for name, view in (("painter", [merge != "none", True]), ("style", [True, merge != "none"])):
        np.testing.assert_array_equal(found[name]["sees"], [view] * 4)
        np.testing.assert_allclose(found[name]["probabilities"], said[name], atol=1e-5)


def test_what_cannot_be_asked() -> None:
    model, copies = network(), noise(2)
    for words, arguments in (
        ("no head 'genre', but painter, style", ("genre", [0, 0])),
        ("0 to 3 for each of 2 pictures", ("painter", [0, 4])),
        ("0 to 3 for each of 2 pictures", ("painter", [0, -1])),
        ("0 to 2 for each of 2 pictures", ("style", [0])),
    ):
        with pytest.raises(ValueError, match=words):
            gradcam(model, copies, *arguments)
    with pytest.raises(ValueError, match="first"):
        gradcam(model, copies, "style", method="first")
    with pytest.raises(ValueError, match="everyone"):
        gradcam(model, copies, "style", against="everyone")


# ------------------------------------------------------------------------------------------------- a corner decides


def test_the_map_lies_in_the_corner_that_decides(taught: keras.Model) -> None:
    pictures, labels, corners = drawn(160, 1)
    said = forward_function(taught, SIDE)(pictures)
    for k, name in enumerate(TASKS):
        assert np.mean(said[name].numpy().argmax(axis=1) == labels[name]) > 0.97, name
        for layer in METHODS:
            maps = gradcam(taught, pictures, name, labels[name], method=layer)
            assert maps.shape[1] >= 12 or layer in ("levels", "last")  # this network reads the last map alone
            half = maps.shape[1] // 2
            quarters = maps.reshape(len(maps), 2, half, 2, half).sum(axis=(2, 4)).reshape(len(maps), 4)
            share = quarters / quarters.sum(axis=1, keepdims=True)
            for corner in range(4):
                mine = corners[:, k] == corner
                assert share[mine, corner].mean() > 0.6, (name, layer, CORNERS[corner])
                assert np.mean(share[mine].argmax(axis=1) == corner) > 0.9, (name, layer, CORNERS[corner])


def test_a_randomised_head_changes_the_map(taught: keras.Model) -> None:
    """Adebayo et al. 2018 (arXiv 1810.03292): a map that survives it would show edges and not what the head knows."""
    pictures, labels, _ = drawn(60, 2)
    explain_painter = explainer(taught, SIDE, ["painter"])

    def maps() -> np.ndarray:
        return explain_painter(pictures, {"painter": labels["painter"].astype(np.int32)})["painter"]["map"].numpy()

    before, head = maps(), taught.get_layer("painter")
    kept = head.get_weights()
    correlations = []
    try:
        for seed in range(5):
            rng = np.random.default_rng(seed)
            head.set_weights([rng.normal(0, kept[0].std(), kept[0].shape), kept[1]])
            correlations += [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(before, maps(), strict=True) if b.any()]
    finally:
        head.set_weights(kept)
    assert len(correlations) > 200 and abs(np.mean(correlations)) < 0.3
    np.testing.assert_allclose(maps(), before, rtol=1e-4, atol=1e-6)
