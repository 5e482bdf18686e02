"""Folding changes neither what a network computes, nor its gradients, nor whose weights they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from painters_mtl.data.tasks import Task
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.multitask import build_model, features_model
from painters_mtl.network.settings import NetworkSettings

TASKS = {"style": Task("style", ("a", "b", "c")), "genre": Task("genre", ("d", "e"))}


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model(TASKS, NetworkSettings(shared_layers=(8,), dropout=0.0, fine_tune="top"))
    return model


def pictures(side: int) -> np.ndarray:
    return np.random.default_rng(side).uniform(0, 255, (3, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("side", [64, 57])
def test_the_same_probabilities_and_gradients(network: keras.Model, side: int) -> None:
    folded = fold_batchnorm(network)
    assert len(folded.get_layer("efficientnet_lite0").layers) == len(network.get_layer("efficientnet_lite0").layers)
    variables = [v.value for v in network.trainable_variables]
    assert {id(v) for v in folded.trainable_variables} == {id(v) for v in network.trainable_variables}
    found = []
    for model in (network, folded):
        with tf.GradientTape() as tape:
            outputs = model(pictures(side), training=True)
            loss = sum(tf.reduce_mean(tf.math.log(p[:, 0])) for p in outputs.values())
        found.append((outputs, tape.gradient(loss, variables)))
    for name in TASKS:
        np.testing.assert_allclose(found[1][0][name], found[0][0][name], rtol=1e-4, atol=1e-6)
    for variable, mine, its in zip(network.trainable_variables, found[1][1], found[0][1], strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-3 * float(tf.reduce_max(tf.abs(its))), err_msg=variable.path)


def test_training_one_trains_the_other(network: keras.Model) -> None:
    folded = fold_batchnorm(network)
    kernel = network.get_layer("efficientnet_lite0").get_layer("top_conv").kernel
    before, start = folded(pictures(64))["style"].numpy(), kernel.numpy()
    kernel.assign(1.5 * start)
    changed = folded(pictures(64))["style"].numpy()
    assert np.abs(changed - before).max() > 1e-3
    np.testing.assert_allclose(changed, network(pictures(64))["style"], rtol=1e-4, atol=1e-6)
    kernel.assign(start)


def test_a_network_that_learns_its_statistics_is_folded_for_inference_only() -> None:
    model = build_model(TASKS, NetworkSettings(weights="none", fine_tune="all"))
    assert fold_batchnorm(model) is model
    folded = fold_batchnorm(model, inference=True)
    assert folded is not model
    np.testing.assert_allclose(folded(pictures(64))["style"], model(pictures(64))["style"], rtol=1e-4, atol=1e-6)


def test_other_networks_come_back_as_they_are_and_encoders_fold(network: keras.Model) -> None:
    other = build_model(TASKS, NetworkSettings(backbone="small_convnet", weights="none"))
    assert fold_batchnorm(other, inference=True) is other
    encoder = features_model(network)
    folded = fold_batchnorm(encoder, inference=True)
    assert folded is not encoder
    np.testing.assert_allclose(folded(pictures(64)), encoder(pictures(64)), rtol=1e-3, atol=1e-4)
