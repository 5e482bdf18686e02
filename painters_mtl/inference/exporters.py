"""A trained network as one graph that needs nothing of this project: uint8 pictures in, named probabilities out.

The picture's way to the network's size is part of the graph, by the same crops as in prediction (`network.forward`).
Weights are constants in it. Every format is made from the same graph: TensorFlow's SavedModel.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.common import lazy_imports
from painters_mtl.common.files import full_disk_is_an_os_error
from painters_mtl.common.lazy_imports import import_extra
from painters_mtl.inference.runtimes import FILES, named_inputs
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.forward import center_crops, whole_crops
from painters_mtl.network.multitask import backbone_of
from painters_mtl.runs.run import Run

SIGNATURE = "serving_default"


def save_graph(run: Run, network: keras.Model, folder: Path, calibrated: bool) -> None:
    """Write the network as a SavedModel with the signature `serving_default`.

    Inputs: `image`, uint8 (n, cache_side, cache_side, 3), any n; with two views also `detail`, of the same shape.
    Outputs: those of the network by name, float32 (n, ...).

    Args:
        calibrated: divide the logits by the run's temperatures, as `calibration.apply_temperature` does.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # The logits' own inputs: dividing logits keeps the small probabilities that the log of a softmax would lose in
    # 8 bits. A head that is no Dense softmax is softened by the logarithm.
    heads = {name: network.get_layer(name) for name in run.tasks if calibrated and run.temperatures[name] != 1}
    dense = {n: h for n, h in heads.items() if isinstance(h, keras.layers.Dense) and h.activation.__name__ == "softmax"}
    outputs = dict(network.output)
    for name, head in dense.items():
        outputs[name] = head.input
    folded = fold_batchnorm(keras.Model(network.input, outputs), inference=True)
    views = {"image": whole_crops, "detail": center_crops}
    wanted = list(views)[: len(network.inputs)]

    def serve(*pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        seen = {name: views[name](x, run.image_size) for name, x in zip(wanted, pictures, strict=True)}
        tensors = dict(folded(seen if len(wanted) > 1 else seen["image"], training=False))
        for name, head in heads.items():
            if name in dense:
                logits = tf.matmul(tf.cast(tensors[name], tf.float32), head.kernel)
                logits = logits if head.bias is None else logits + head.bias
            else:
                logits = tf.math.log(tf.maximum(tensors[name], 1e-12))
            tensors[name] = tf.nn.softmax(logits / run.temperatures[name])
        return {name: tf.cast(tensors[name], tf.float32) for name in sorted(tensors)}

    shape = (None, run.cache_side, run.cache_side, 3)
    signature = [tf.TensorSpec(shape, tf.uint8, name=name) for name in wanted]
    with lazy_imports.quiet():
        traced = tf.function(serve, input_signature=signature, autograph=False).get_concrete_function()
        frozen = convert_variables_to_constants_v2(traced)
        named = tf.function(
            lambda *pictures: dict(zip(sorted(outputs), frozen(*pictures), strict=True)),
            input_signature=signature,
            autograph=False,
        )
        module = tf.Module()
        module.serve = named
        with full_disk_is_an_os_error(folder):
            tf.saved_model.save(module, str(folder), signatures={SIGNATURE: named})


def export_network(
    run: Run,
    network: keras.Model,
    file_format: str,
    folder: Path,
    calibrated: bool,
    training: np.ndarray | None = None,
) -> Path:
    """Write the network in a format of `runtimes.FILES` into `folder`; returns what its runtime opens.

    Args:
        calibrated: as for `save_graph`.
        training: for "litert-int8": cached images of training paintings, from which the ranges of 8 bits are measured.

    Raises `UserError` for a package that is missing.
    """
    file = folder / FILES[file_format]
    if file_format == "saved_model":
        save_graph(run, network, file, calibrated)
        return file
    with TemporaryDirectory(dir=folder, prefix=".graph-") as temporary:
        graph = Path(temporary)
        save_graph(run, network, graph, calibrated)
        if file_format == "openvino":
            openvino = import_extra("openvino", "openvino")
            openvino.save_model(openvino.Core().read_model(graph), file, compress_to_fp16=False)
        elif file_format == "onnx":
            file.write_bytes(_onnx(graph))
        else:
            training_images = training if file_format == "litert-int8" else None
            file.write_bytes(_litert(graph, training_images, backbone_of(network).name))
    return file


def _litert(graph: Path, training: np.ndarray | None, backbone: str) -> bytes:
    """A LiteRT model; with training images, the backbone's weights and activations in 8 bits, float32 behind it.

    Behind it the means of the pyramid maps stand beside those of the last map: small, and far apart among themselves.
    One range for all of them would leave nothing of most.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(str(graph))
    with lazy_imports.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls its own interpreter outdated
        content = converter.convert()
        if training is None:
            return content
        interpreter = tf.lite.Interpreter(model_content=content)
        tensors = {tensor["index"]: tensor["name"] for tensor in interpreter.get_tensor_details()}
        nodes = [tensors[i] for operation in interpreter._get_ops_details() for i in operation["outputs"]]
        behind = [node for node in nodes if f"/{backbone}" not in node]

        def examples() -> Iterator[dict[str, np.ndarray]]:
            for copy in training:
                yield named_inputs(copy[None])

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = examples
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=behind)
        chooser = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
        return chooser.get_nondebug_quantized_model()


def _onnx(graph: Path) -> bytes:
    """An ONNX model, by tf2onnx."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    import_extra("onnx", "onnx")
    convert = import_extra("tf2onnx.convert", "onnx")
    served = tf.saved_model.load(str(graph)).signatures[SIGNATURE]
    frozen = convert_variables_to_constants_v2(served)
    ins = {tensor.name: tensor.name.split(":")[0] for tensor in frozen.inputs}
    outs = dict(zip((tensor.name for tensor in frozen.outputs), sorted(served.structured_outputs), strict=True))
    with lazy_imports.quiet():
        model, _ = convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=list(ins),
            output_names=list(outs),
            tensors_to_rename=ins | outs,
            opset=17,
        )
    return model.SerializeToString()
