"""TensorFlow, Keras and Matplotlib as this program needs them, whatever the user's own settings of them are."""

import json
from pathlib import Path

import pytest
from helpers import python, read_rows, trained

# ------------------------------------------------------------------------------------------------- extras

IDENTITY = """
import sys
from painters_mtl.common.lazy_imports import import_extra
onnx, runtime = import_extra("onnx", "onnx"), import_extra("onnxruntime", "onnx")
value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "ab"]
graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["a"], ["b"])], "same", value[:1], value[1:])
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
print(runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).get_inputs()[0].name)
"""


def test_onnx_runtime_reports_nothing_and_keeps_no_number_in_the_home_folder(tmp_path: Path) -> None:
    """By default it keeps one there, and sends it to a host of its maker with what was computed."""
    pytest.importorskip("onnxruntime")
    done = python("-c", IDENTITY, HOME=str(tmp_path))
    assert done.stdout == "a\n", done.stderr
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------- TensorFlow, Keras


def test_two_threads_that_silence_standard_error_give_it_back() -> None:
    """The one that began first ends first; the other must not take its silence for standard error."""
    code = """
import sys, threading
from painters_mtl.common.lazy_imports import quiet
began, ended = threading.Event(), threading.Event()
def other():
    with quiet():
        began.set()
        ended.wait()
        print('not to be seen', file=sys.stderr, flush=True)
thread = threading.Thread(target=other)
with quiet():
    thread.start()
    began.wait()
ended.set()
thread.join()
print('after', file=sys.stderr)
"""
    assert python("-c", code).stderr == "after\n"


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True])
def test_tensorflow_does_not_bring_what_keras_only_tries_and_that_can_be_had_afterwards(before: bool) -> None:
    code = "import sys\n" + "import pandas as first\n" * before
    code += "from painters_mtl.common.lazy_imports import import_tensorflow\nimport_tensorflow()\n"
    code += "print('tensorflow' in sys.modules, 'after the import', file=sys.stderr)\n"
    code += "print([name in sys.modules for name in ('pandas', 'sklearn', 'matplotlib', 'scipy.stats')])\n"
    code += "import matplotlib.pyplot\nimport sklearn.manifold\nimport keras\nimport pandas\n"
    code += "print(keras.layers.Dense(2)(pandas.DataFrame([[1.0]]).to_numpy()).shape)\n"
    code += "assert first is pandas\n" * before
    done = python("-c", code)
    assert done.stdout.splitlines() == [f"[{before}, False, False, False]", "(1, 2)"], done.stderr
    assert done.stderr.splitlines()[0] == "True after the import"  # TensorFlow came in silence, and the stream is back


def keras_home(folder: Path, **settings: object) -> Path:
    """A home folder with a keras.json."""
    (folder / ".keras").mkdir(parents=True)
    (folder / ".keras" / "keras.json").write_text(json.dumps(settings))
    return folder


LIBRARY_USE = """
import painters_mtl.network.forward
import keras, numpy as np
layer = keras.layers.Conv2D(2, 3)
out = layer(np.zeros((1, 8, 6, 3)))
print(keras.backend.backend(), keras.config.epsilon(), layer.data_format, layer.compute_dtype)
print(out.shape, out.dtype.name)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "backend"),
    [
        ({"backend": "torch", "floatx": "float64", "image_data_format": "channels_first", "epsilon": 0.001}, ""),
        ({"epsilon": 0.001}, "no such backend"),
    ],
)
def test_a_module_of_the_networks_has_the_keras_it_needs(settings: dict, backend: str, tmp_path: Path) -> None:
    """Its backend, data format and float type; the user's epsilon and the file itself stay."""
    home = keras_home(tmp_path, **settings)
    environment = {"KERAS_BACKEND": backend} if backend else {}
    done = python("-c", LIBRARY_USE, HOME=str(home), **environment)
    assert done.stdout == "tensorflow 0.001 channels_last float32\n(1, 6, 4, 2) float32\n", done.stderr
    assert json.loads((home / ".keras" / "keras.json").read_text()) == settings


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"floatx": "bfloat16"}, {"image_data_format": "th"}, {"epsilon": 1}])
def test_settings_that_keras_refuses_are_named(settings: dict, tmp_path: Path) -> None:
    code = "from painters_mtl.common.errors import UserError\n"
    code += "from painters_mtl.common.lazy_imports import import_tensorflow\n"
    code += "try:\n    import_tensorflow()\nexcept UserError as error:\n    print(error)\n"  # as every verb does
    done = python("-c", code, HOME=str(keras_home(tmp_path, **settings)))
    assert done.stdout.startswith(f"Keras cannot use the settings in {tmp_path}/.keras/keras.json"), done.stderr
    assert done.stdout.endswith(": correct or remove the file\n")


@pytest.mark.slow
def test_keras_with_another_backend_is_refused_by_name() -> None:
    pytest.importorskip("openvino")
    code = "import os\nos.environ['KERAS_BACKEND'] = 'openvino'\nimport keras\n"
    code += "from painters_mtl.common.errors import UserError\ntry:\n    import painters_mtl.network.forward\n"
    code += "except UserError as error:\n    print(error)\n"
    done = python("-c", code)
    assert "the backend openvino" in done.stdout and "import painters_mtl before keras" in done.stdout, done.stderr


@pytest.mark.slow
def test_predictions_do_not_depend_on_keras_json(
    cases: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run, _ = trained(tmp_path_factory)
    rows = {}
    for name in ("", "torch", "theano", "channels_first"):
        home = cases / "keras_json" / name if name else tmp_path
        output = tmp_path / f"of-{name}.csv"
        words = [cases / "icc", "--model", run, "--runtime", "keras", "--output", output]
        done = python("-m", "painters_mtl.predict", *words, HOME=str(home))
        assert done.returncode == 0, done.stderr
        rows[name] = read_rows(output)
    assert len(rows[""]) == 12 and all(found == rows[""] for found in rows.values())
