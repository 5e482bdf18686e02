"""The weights of a network by name, the same in every process and every version of Keras."""

import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from painters_mtl.common.errors import UserError


def named_variables(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Variable]]:
    """The variables of a network with their names, "layer/weight" or "backbone/layer/weight", in its layers' order.

    Keras numbers layers without a name differently in each network of a process; here they are numbered within the
    network.

    Args:
        prefix: stands before each name, such as "backbone/".
    """
    counts: dict[str, int] = {}
    for layer in model.layers:
        name, kind = layer.name, type(layer).__name__.lower()
        if re.sub(r"_\d+$", "", name).replace("_", "") == kind:  # a name by Keras
            counts[kind] = counts.get(kind, -1) + 1
            name = f"{kind}.{counts[kind]}"
        if isinstance(layer, keras.Model):
            yield from named_variables(layer, f"{prefix}{name}/")
            continue
        names: dict[str, int] = {}
        for variable in layer.weights:  # a layer of layers may have several of one name
            own_name = re.sub(r"^variable_\d+$", "variable", variable.name)  # numbered by Keras: it was given none
            names[own_name] = names.get(own_name, 0) + 1
            again = f".{names[own_name]}" if names[own_name] > 1 else ""
            yield f"{prefix}{name}/{own_name}{again}", variable


def set_arrays(network: keras.Model, arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
    """Give every variable of a network its array. Raises `UserError` that names what does not fit.

    Args:
        prefix: as for `named_variables`.
    """
    variables = dict(named_variables(network, prefix))
    if odd := sorted(variables.keys() ^ arrays.keys()):
        what = "is not stored" if odd[0] in variables else "has no place in the network"
        raise UserError(f"{len(odd)} of the network's arrays do not fit: {odd[0]} {what}")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise UserError(f"the array {name} is {arrays[name].shape}, and the network has {tuple(variable.shape)}")
        variable.assign(arrays[name])
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):  # it computes with something made from its weights
            layer.finalize_state()
