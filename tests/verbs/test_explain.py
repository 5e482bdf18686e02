"""Grad-CAM: equal to CAM where they must be, in the corner that decides, over the right part of the picture."""

import dataclasses
import itertools
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import small_network
from PIL import Image
from scipy.stats import spearmanr

from painters_mtl import explain
from painters_mtl.data.tasks import Task
from painters_mtl.images import files as images
from painters_mtl.images.decode import cached_image
from painters_mtl.network.forward import center_crops, forward_function, whole_crops
from painters_mtl.network.gradcam import explainer, gradcam, likeness, overlay, scaled, stretched
from painters_mtl.network.multitask import backbone_of, features_model
from painters_mtl.reports.sheets_explanation import (
    FOOT,
    GAP,
    Panel,
    PanelRow,
    explanation_sheet,
    panel_rows,
    panel_size,
)
from painters_mtl.reports.sheets_explanation import SIDE as PANEL_SIDE
from painters_mtl.runs import run as runs

VIEWS = ("whole", "detail")
TASKS = {name: Task(name, classes) for name, classes in (("painter", tuple("abcd")), ("style", tuple("xyz")))}
SIDE = 128  # of the drawn pictures: maps of 8 x 8 cells
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40))
CORNERS = list(itertools.product((0, 1), (0, 1)))  # (bottom, right)


def network(seed: int = 0, backbone: str = "small_convnet", **options: object) -> keras.Model:
    keras.utils.set_random_seed(seed)
    multi_scale = bool(options.pop("multi_scale", "views" not in options))
    model = small_network(TASKS, backbone, multi_scale, dropout=0.0, **options)
    _stir(model, seed)
    return model


def _stir(model: keras.Model, seed: int) -> None:
    """Biases and statistics that are not zero and one, so that to leave them out shows."""
    rng = np.random.default_rng(seed)
    for layer in [*backbone_of(model).layers, *model.layers]:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (w.shape for w in layer.get_weights())
            layer.set_weights(
                [rng.uniform(0.5, 1.5, gamma), rng.normal(0, 0.3, beta), rng.normal(0, 0.1, mean), np.ones(variance)]
            )
        elif isinstance(layer, keras.layers.Dense) and layer.use_bias and layer.name != "preprocess":
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])


def noise(n: int, side: int = 64, seed: int = 0, views: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n * views, 8, 8, 3), dtype=np.uint8)
    fine = coarse.repeat(side // 8, 1).repeat(side // 8, 2)
    return fine if views == 1 else fine.reshape(n, views, side, side, 3)


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
        speaks = np.maximum(cam(levels, model.get_layer(task).get_weights()[0], classes), 0)
        wanted = speaks / np.maximum(speaks.max(axis=(1, 2), keepdims=True), 1e-30)
        found = gradcam(model, copies, task, classes)
        assert found.dtype == np.float32 and found.shape == speaks.shape
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_the_cells_add_up_to_the_logit() -> None:
    """Behind means and one layer nothing is lost: where all speaks for a class, its map holds all of its logit."""
    model, copies = network(), noise(3, side=96)
    kernel, bias = model.get_layer("style").get_weights()
    model.get_layer("style").set_weights([np.abs(kernel), bias])  # the maps are behind ReLUs
    found = explainer(model, 80)(copies, {"painter": np.zeros(3, np.int32), "style": np.ones(3, np.int32)})["style"]
    logits = features_model(model)(whole_crops(tf.constant(copies), 80), training=False).numpy() @ np.abs(kernel)
    np.testing.assert_allclose(found["map"].numpy().sum(axis=(1, 2, 3)), logits[:, 1], rtol=1e-4)


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

    found = gradcam(model, copies, "style", classes)
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
    model, copies = network(backbone=backbone), noise(3)
    last, finer = (explainer(model, 64, layer=layer) for layer in ("last", "finer"))
    wanted = {name: np.full(3, -1, np.int32) for name in TASKS}
    one, two, said = last(copies, wanted), finer(copies, wanted), forward_function(model, 64)(copies)
    for name in TASKS:
        assert two[name]["map"].shape[2] == 2 * one[name]["map"].shape[2]
        for found in (one[name], two[name]):
            np.testing.assert_allclose(found["probabilities"], said[name], atol=1e-5)
            np.testing.assert_array_equal(found["class"], said[name].numpy().argmax(axis=1))


def test_the_finer_map_is_gradient_times_input() -> None:
    """By the gradient of Keras's own layers, called one after the other."""
    model, copies = network(), noise(2)
    layers = {layer.name: layer for layer in backbone_of(model).layers}
    kernel, bias = (w.numpy() for w in model.get_layer("style").weights)
    ends = np.cumsum([level.shape[-1] for level in backbone_of(model).outputs])
    of_last, *of_levels = np.split(kernel, ends[:-1])
    x, beside = whole_crops(tf.constant(copies), 64), []
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
    np.testing.assert_allclose(gradcam(model, copies, "style", [1, 1], layer="finer"), scaled(wanted), atol=2e-5)


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
    np.testing.assert_allclose(gradcam(model, copies, "painter", classes, 48), wanted, atol=2e-5)
    loaded = runs.open_run(tmp_path).model()
    said = forward_function(loaded, 48)(copies)
    found = explainer(loaded, 48)(copies, {"painter": np.int32(classes), "style": np.full(4, -1, np.int32)})
    np.testing.assert_allclose(scaled(found["painter"]["map"].numpy()), wanted, atol=2e-5)
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
        gradcam(model, copies, "style", layer="first")


# ------------------------------------------------------------------------------------------------- a corner decides


def drawn(n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Grey noise with a coloured square in one corner, which alone tells the painter, and stripes or dots in another,
    which alone tell the style: pictures, labels, and the two corners (n, 2), as places in CORNERS."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(90, 166, (n, 16, 16, 1)).repeat(8, 1).repeat(8, 2).repeat(3, 3).astype(np.uint8)
    labels = {"painter": rng.integers(0, 4, n), "style": rng.integers(0, 3, n)}
    corners = np.array([rng.permutation(4)[:2] for _ in range(n)])
    square = np.indices((40, 40))
    marks = [square[0] // 5 % 2, square[1] // 5 % 2, (square[0] // 5 + square[1] // 5) % 2]
    for picture, painter, style, pair in zip(pictures, *labels.values(), corners, strict=True):
        patches = np.broadcast_to(np.uint8(COLOURS[painter]), (40, 40, 3)), marks[style][..., None] * np.uint8(255)
        for patch, corner in zip(patches, pair, strict=True):
            (bottom, right), jitter = CORNERS[corner], rng.integers(2, 10, 2)
            top, left = (SIDE - 40 - j if far else j for far, j in zip((bottom, right), jitter, strict=True))
            picture[top : top + 40, left : left + 40] = patch
    return pictures, labels, corners


@pytest.fixture(scope="module")
def taught() -> keras.Model:
    """A small network that reads both marks."""
    keras.utils.set_random_seed(1)
    model = small_network(TASKS, image_size=SIDE, dropout=0.0)
    for layer in backbone_of(model).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # over some hundred steps a longer mean would lag behind
    pictures, labels, _ = drawn(384, 0)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 12 * 10)
    model.compile(keras.optimizers.Adam(rate), {name: "sparse_categorical_crossentropy" for name in TASKS})
    model.fit(pictures, labels, batch_size=32, epochs=10, verbose=0)
    return model


def test_the_map_lies_in_the_corner_that_decides(taught: keras.Model) -> None:
    pictures, labels, corners = drawn(160, 1)
    said = forward_function(taught, SIDE)(pictures)
    for k, name in enumerate(TASKS):
        assert np.mean(said[name].numpy().argmax(axis=1) == labels[name]) > 0.97, name
        for layer in ("last", "finer"):
            maps = gradcam(taught, pictures, name, labels[name], layer=layer)
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


def test_maps_of_different_pictures_are_less_alike_than_maps_of_one_place() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((6, 2, 3, 3)).astype(np.float32)
    flat = maps.reshape(6, -1)
    pairs = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(flat, 2)]
    assert likeness(maps) == pytest.approx(np.mean(pairs), abs=1e-6)
    assert likeness(maps[:1].repeat(5, 0) * np.arange(1, 6)[:, None, None, None]) == pytest.approx(1)
    assert np.isnan(likeness(maps[:1])) and likeness(np.eye(9).reshape(9, 3, 3)) == pytest.approx(0)


# ------------------------------------------------------------------------------------------------- drawing


def test_a_map_is_stretched_over_the_whole_picture() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 3] = 1
    large = stretched(heat, 800, 100)
    assert large.shape == (100, 800) and large.min() >= 0 and large.max() <= 1
    rows, columns = np.indices(large.shape) + 0.5
    assert (large * rows).sum() / large.sum() == pytest.approx(37.5, abs=3)  # the middle of the second of four rows
    assert (large * columns).sum() / large.sum() == pytest.approx(700, abs=30)
    np.testing.assert_allclose(stretched(np.full((3, 3), 0.4, np.float32), 50, 70), 0.4, atol=1e-6)
    np.testing.assert_allclose(stretched(heat[:, ::-1], 80, 60), stretched(heat, 80, 60)[:, ::-1], atol=1e-6)


def test_the_overlay_is_half_picture_and_half_map() -> None:
    pixels = np.full((2, 2, 3), 100, np.uint8)
    shown = overlay(pixels, np.array([[0, 1], [0, 1]], np.float32))
    from matplotlib import colormaps

    for column, value in enumerate((0.0, 1.0)):
        wanted = 50 + 0.5 * 255 * np.array(colormaps["inferno"](value)[:3])
        np.testing.assert_allclose(shown[:, column], [wanted, wanted], atol=0.51)
    grey = overlay(np.uint8([[[255, 0, 0]]]), np.zeros((1, 1)), strength=0)
    np.testing.assert_array_equal(grey, [[[76, 76, 76]]])  # 0.299 x 255


@pytest.fixture
def folder(taught: keras.Model, tmp_path: Path) -> Path:
    """A run folder of the taught network, with temperatures of its own."""
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, SIDE, SIDE, False, temperatures={"painter": 2.0, "style": 0.5})
    runs.save_model(taught, run)
    return run


def coloured(file: Path, width: int, height: int, box: tuple[int, int, int, int], colour: int = 0) -> Path:
    """A grey picture with one coloured box (left, top, right, bottom)."""
    pixels = np.full((height, width, 3), 128, np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = COLOURS[colour]
    Image.fromarray(pixels).save(file)
    return file


def run_verb(folder: Path, output: Path, *words: object, status: int = 0) -> list[Path]:
    assert explain.main([*map(str, words), "--model", str(folder), "--output", str(output)]) == status
    return sorted(output.iterdir())


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [(600, 150, (400, 20, 600, 130)), (600, 150, (0, 20, 200, 130)), (150, 600, (20, 400, 130, 600))],
)
def test_the_bright_part_of_the_drawn_map_is_over_the_box(
    folder: Path, tmp_path: Path, width: int, height: int, box: tuple[int, int, int, int]
) -> None:
    """Of a picture far from square, on the PNG as it is written: the colours of inferno lie where the box lies."""
    picture = coloured(tmp_path / "wide.png", width, height, box)
    (file,) = run_verb(folder, tmp_path / "out", picture, "--tasks", "painter")
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    panel_width, panel_height = panel_size(width, height)
    assert panel_width / panel_height == pytest.approx(width / height, rel=0.02)
    column = max(PANEL_SIDE * 3 // 4, panel_width)
    left = 2 * GAP + column
    top = pixels.shape[0] - FOOT - panel_height
    panel = pixels[top : top + panel_height, left : left + panel_width]
    bright = np.maximum(panel[..., 0] - panel[..., 2], 0)  # inferno is redder than blue only in its upper half
    rows, columns = np.indices(bright.shape)
    x = (bright * columns).sum() / bright.sum() / panel_width * width
    y = (bright * rows).sum() / bright.sum() / panel_height * height
    assert box[0] < x < box[2] and box[1] < y < box[3]
    original = pixels[top : top + panel_height, GAP : GAP + panel_width]
    inside = original[int(y / height * panel_height), int(x / width * panel_width)]
    np.testing.assert_allclose(inside, COLOURS[0], atol=2)


def test_the_figure_of_two_views_has_a_row_for_each() -> None:
    rng = np.random.default_rng(0)
    whole, detail = rng.integers(0, 256, (60, 90, 3), dtype=np.uint8), rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    heat = rng.random((3, 3)).astype(np.float32)
    rows = [
        PanelRow(whole, [Panel("painter\na $x$ 50.0 %", None), Panel("style\nx 50.0 %", heat)]),
        PanelRow(detail, [Panel("painter\na $x$ 50.0 %", heat), Panel("style\nx 50.0 %", None)]),
    ]
    drawn_figure = explanation_sheet(rows, "b.png")
    boxes = [axis.get_position() for axis in drawn_figure.axes]
    assert len(boxes) == 4  # two pictures, two maps
    assert boxes[0].y0 > boxes[2].y1 and boxes[0].x0 == boxes[2].x0 and boxes[1].x0 > boxes[3].x0 > boxes[0].x1 - 0.1
    texts = [t.get_text() for t in drawn_figure.texts]
    assert texts.count("this head does not see this view") == 2 and texts.count("a $x$ 50.0 %") == 2
    assert "b.png" in texts and any("3 x 3 cells" in t for t in texts)


# ------------------------------------------------------------------------------------------------- the command line


def test_titles_say_what_predict_says(folder: Path, tmp_path: Path) -> None:
    """Class and calibrated confidence of both verbs are the same; a class that was asked for has its own confidence."""
    from helpers import read_rows

    from painters_mtl import predict
    from painters_mtl.images.stream import stream_images

    picture = coloured(tmp_path / "a.png", 200, 100, (120, 30, 180, 80), colour=2)
    out = tmp_path / "p.csv"
    assert predict.main([str(picture), "--model", str(folder), "--output", str(out), "--top-k", "4"]) == 0
    (row,) = read_rows(out)
    run = runs.open_run(folder)
    look = explainer(run.model(), run.image_size)

    def titles(**classes: int) -> list[str]:
        def forward(copies: np.ndarray) -> dict[str, np.ndarray]:
            found = look(copies, {name: np.full(len(copies), classes.get(name, -1), np.int32) for name in TASKS})
            return {f"{name} {key}": v.numpy() for name, values in found.items() for key, v in values.items()}

        (seen,) = stream_images([images.ImageFile(str(picture))], forward, run.copy_side, run.views)
        (row,) = panel_rows(run, TASKS, seen, np.zeros((4, 8, 3), np.uint8))
        return [panel.title for panel in row.panels]

    assert not any("unknown" in title for title in titles())
    best = {name: f"{row[name]}  {100 * float(row[f'{name}_confidence']):.1f} %" for name in TASKS}
    assert titles() == [f"{name}\n{best[name]}" for name in TASKS]
    other = next(c for c in TASKS["painter"].classes if c != row["painter"])
    confidence = next(float(row[f"painter_{k}_confidence"]) for k in (2, 3, 4) if row[f"painter_{k}"] == other)
    found = titles(painter=TASKS["painter"].classes.index(other))[0].split("\n")
    assert found == ["painter", f"{other}  {100 * confidence:.1f} %", f"likeliest: {best['painter']}"]
    known = float(row["painter_known"])
    for limit, unknown in ((known - 1e-3, False), (known + 1e-3, True)):
        run = dataclasses.replace(run, thresholds={"painter": limit})
        assert [title.endswith("\npredict says: unknown") for title in titles()] == [unknown, False]


def test_names_do_not_collide_and_nothing_is_explained_twice(folder: Path, tmp_path: Path) -> None:
    box = (10, 10, 50, 50)
    for name in ("a/lily.png", "b/lily.png", "b/Lily.bmp", "b/x.y, z'.png", "b/.png.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        coloured(tmp_path / "in" / name, 80, 60, box)
    with zipfile.ZipFile(tmp_path / "in" / "c.zip", "w") as archive:
        archive.write(tmp_path / "in" / "a" / "lily.png", "deep/lily.png")
    out = tmp_path / "in" / "explanations"
    found = run_verb(folder, out, tmp_path / "in")
    names = [f.name for f in found]
    assert len(names) == 5 and len({n.casefold() for n in names}) == 5  # .png.png is hidden
    assert sum(n.lower().startswith("lily") for n in names) == 4 and "x_y, z_-explained.png" in names
    assert [f.name for f in run_verb(folder, out, tmp_path / "in")] == names
    many = [images.ImageFile(f"{k}/{'é' * 200}.jpg") for k in range(3)]
    names = explain.output_names([*many, images.ImageFile(os.fsdecode(b"caf\xe9\n.png"))])
    assert len(set(names)) == 4 and all(len(n.encode()) < 200 and n.isprintable() for n in names)


def test_an_unreadable_picture_is_a_sentence_and_the_others_go_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coloured(tmp_path / "a.png", 80, 60, (10, 10, 50, 50))
    (tmp_path / "b.jpg").write_bytes(b"<html>404</html>")
    coloured(tmp_path / "c.png", 80, 60, (10, 10, 50, 50))
    found = run_verb(folder, tmp_path / "out", *(tmp_path / n for n in ("a.png", "b.jpg", "c.png")), status=1)
    assert [f.name for f in found] == ["a-explained.png", "c-explained.png"]
    error = capsys.readouterr().err
    assert "b.jpg cannot be read: not an image (a web page" in error and "1 pictures could not be read" in error
    with Image.open(found[0]) as one, Image.open(found[1]) as two:
        assert one.size == two.size and one.format == "PNG"


def test_a_larger_size_gives_more_cells(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice the side: the cells are twice as many, and the map in the PNG is no longer the same."""
    picture = coloured(tmp_path / "a.png", 300, 300, (180, 20, 280, 120))
    found = [run_verb(folder, tmp_path / str(size), picture, "--size", size)[0] for size in (128, 256)]
    small, large = (np.asarray(Image.open(file)) for file in found)
    assert "looking at 256 pixels, not the 128 of the training" in capsys.readouterr().out
    assert small.shape == large.shape
    middle = small.shape[0] // 2
    assert np.abs(small[middle, 420:].astype(int) - large[middle, 420:]).max() > 10
    np.testing.assert_array_equal(small[middle, :400], large[middle, :400])  # the original


def test_misuse_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = coloured(tmp_path / "a.png", 80, 60, (10, 10, 50, 50))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    model, out = ("--model", folder), ("--output", tmp_path / "out")

    def refused(*words: object) -> str:
        capsys.readouterr()
        assert explain.main([str(w) for w in words]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("error: "), lines
        return lines[0]

    assert "nowhere" in refused(picture, "--model", tmp_path / "nowhere", *out)
    assert "lacks model.keras" in refused(picture, "--model", tmp_path / "empty", *out)
    assert "nowhere.jpg" in refused(tmp_path / "nowhere.jpg", *model, *out)
    assert "no picture" in refused(tmp_path / "empty", *model, *out)
    assert "nothing to explain" in refused(*model, *out)
    assert "--threads -1" in refused(picture, *model, *out, "--threads", -1)
    unknown = refused(picture, *model, *out, "--classes", "painter=Claude Monet")
    assert "--classes painter=Claude Monet" in unknown and "a, b, c, d" in unknown
    assert "painter, style" in refused(picture, *model, *out, "--classes", "school=x")
    assert "(style)" in refused(picture, *model, *out, "--tasks", "style", "--classes", "painter=a")
    assert "--tasks school" in refused(picture, *model, *out, "--tasks", "painter,school")
    assert "--size 20" in refused(picture, *model, *out, "--size", 20)
    assert "--batch-size 0" in refused(picture, *model, *out, "--batch-size", 0)
    assert "is a file" in refused(picture, *model, "--output", tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_a_network_that_looks_at_one_place_is_told(
    taught: keras.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same picture eight times: maps that do not depend on the picture. Boxes in eight places: they do."""
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, SIDE, SIDE, False)
    runs.save_model(taught, run)
    for k in range(8):
        (tmp_path / "one").mkdir(exist_ok=True)
        (tmp_path / "many").mkdir(exist_ok=True)
        coloured(tmp_path / "one" / f"{k}.png", 128, 128, (10, 10, 50, 50))
        left, top = 32 * (k % 4), 60 * (k // 4)
        coloured(tmp_path / "many" / f"{k}.png", 128, 128, (left, top, left + 30, top + 30), k % 4)
    for name, told in (("one", True), ("many", False)):
        run_verb(run, tmp_path / f"out-{name}", tmp_path / name, "--tasks", "painter")
        assert ("much alike" in capsys.readouterr().out) == told


@pytest.mark.slow
def test_two_views_on_the_command_line(tmp_path: Path) -> None:
    model = network(views=VIEWS, merge="none", view_of={"painter": "detail"})
    run = tmp_path / "run"
    run.mkdir()
    runs.save_labels(run, TASKS, 48, 60, False, VIEWS)
    runs.save_model(model, run)
    picture = coloured(tmp_path / "a.png", 200, 120, (60, 40, 120, 100))
    (file,) = run_verb(run, tmp_path / "out", picture)
    data = picture.read_bytes()
    _, copy = cached_image(data, 60, VIEWS)
    detail = center_crops(tf.constant(copy[None, 1]), 48).numpy()[0]
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    side = PANEL_SIDE
    column = panel_size(200, 120)[0]
    shown = pixels[
        -FOOT - side : -FOOT,
        GAP : GAP + side,
    ]
    np.testing.assert_allclose(shown[::38, ::38].mean((0, 1)), detail[::5, ::5].mean((0, 1)), atol=12)
    map_of_painter = pixels[-FOOT - side : -FOOT, 2 * GAP + column :][:, :side]
    beside = pixels[-FOOT - side : -FOOT, 3 * GAP + 2 * column :][60:]
    assert map_of_painter.std() > 5 and (beside == 255).all()  # the style does not see the detail


@pytest.mark.real
@pytest.mark.slow
def test_real_paintings(paintings: Path, folder: Path, tmp_path: Path) -> None:
    files = sorted((paintings / "originals").glob("*"))[::8]
    good = [f for f in files if not f.name.startswith("lfspointer")]
    found = run_verb(folder, tmp_path / "out", *files, status=int(len(good) < len(files)))
    assert len(found) == len(good)
    for file, original in zip(found, good, strict=True):
        picture = images.load_image(original)
        width, _ = panel_size(picture.width, picture.height)
        columns = GAP + 3 * (max(PANEL_SIDE * 3 // 4, width) + GAP)
        with Image.open(file) as png:
            assert abs(png.size[0] - columns) <= 4  # the sides of the picture that is drawn are rounded
