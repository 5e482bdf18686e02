"""A network that is asked about covered pictures; the maps that come of it, and the check of a map."""

import keras
import numpy as np
import pytest
from marked_pictures import SIDE, TASKS, VIEWS, drawn, network, noise, taught_network

from painters_mtl.evaluation.faithfulness import random_region
from painters_mtl.network.covering import BY_COVERING, maps_exceed_controls, masked_predictor
from painters_mtl.network.forward import forward_function
from painters_mtl.network.gradcam import explainer


@pytest.fixture(scope="module")
def taught() -> keras.Model:
    """A small network that reads both marks."""
    return taught_network()


@pytest.mark.parametrize("cover", ["blur", "mean"])
def test_what_is_not_covered_is_what_the_network_sees(cover: str) -> None:
    model, pictures = network(), noise(2)
    predict_masked, said = masked_predictor(model, 64, cover=cover), forward_function(model, 64)(pictures)
    masks = np.ones((3, 12, 12))
    masks[1] = 0
    masks[2, :6] = 0
    blue, same = pictures.copy(), pictures.copy()
    blue[:, :16] = (0, 0, 255)  # well inside of what is covered, but the blurred picture knows of it
    same[:, :, 32:], same[:, :, :32] = pictures[:, :, :32], pictures[:, :, 32:]  # halves change places: the same mean
    for k in range(2):
        found = predict_masked(pictures[k], masks)
        for name in TASKS:
            assert found[name].shape == (3, len(TASKS[name].classes))
            np.testing.assert_allclose(found[name][0], said[name][k], atol=1e-5)
            assert np.abs(found[name][1:] - found[name][0]).max() > 1e-4
            if cover == "mean":
                np.testing.assert_allclose(predict_masked(same[k], masks)[name][1], found[name][1], atol=1e-5)
        assert np.abs(predict_masked(blue[k], masks)["painter"][1] - found["painter"][1]).max() > 1e-4


def test_two_views_are_covered_each_by_its_own_mask() -> None:
    model, pictures = network(views=VIEWS, merge="none", view_of={"painter": "detail"}), noise(1, views=2)
    predict_masked = masked_predictor(model, 48)
    masks = np.ones((3, 2, 12, 12))
    masks[1, 0] = masks[2, 1] = 0
    found = predict_masked(pictures[0], masks)
    for name, covered in (("style", 1), ("painter", 2)):
        assert np.abs(found[name][covered] - found[name][0]).max() > 1e-4
        np.testing.assert_allclose(found[name][3 - covered], found[name][0], atol=1e-6)
    maps = BY_COVERING["occlusion"](predict_masked, pictures[0], {"painter": 0, "style": 1}, cells=4, views=2)
    assert maps["style"].shape == (2, 4, 4) and maps["style"][0].any() and np.abs(maps["style"][1]).max() < 1e-4


@pytest.mark.parametrize("method", list(BY_COVERING))
def test_the_map_lies_in_the_corner_that_decides(taught: keras.Model, method: str) -> None:
    pictures, labels, corners = drawn(6, 1)
    predict_masked, right = masked_predictor(taught, SIDE), 0
    for k, picture in enumerate(pictures):
        maps = BY_COVERING[method](predict_masked, picture, {name: int(labels[name][k]) for name in TASKS})
        for place, name in enumerate(TASKS):
            assert maps[name].shape == (1, 12, 12) and maps[name].dtype == np.float32
            quarters = np.maximum(maps[name][0], 0).reshape(2, 6, 2, 6).sum(axis=(1, 3))
            right += quarters.argmax() == corners[k, place]
    assert right >= 10  # of 12


def test_maps_stand_out_and_random_ones_do_not(taught: keras.Model) -> None:
    pictures, labels, _ = drawn(12, 5)
    predict_masked, rng = masked_predictor(taught, SIDE), np.random.default_rng(0)
    numbers = {name: labels[name].astype(np.int32) for name in TASKS}
    explained = explainer(taught, SIDE)(pictures, numbers)
    own, none = [], []
    for k, picture in enumerate(pictures):
        chosen = {name: int(labels[name][k]) for name in TASKS}
        own += maps_exceed_controls(
            predict_masked, picture, chosen, {n: explained[n]["map"][k].numpy() for n in TASKS}
        ).values()
        none += maps_exceed_controls(
            predict_masked, picture, chosen, {n: random_region(rng)[None] for n in TASKS}, seed=k
        ).values()
    assert sum(own) >= 18 and sum(none) <= 5, (sum(own), sum(none))  # of 24
