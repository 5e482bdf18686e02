"""Packages that are imported when they are needed: TensorFlow, Keras and Matplotlib as this program needs them, extras.

The user's own settings of these libraries (keras.json, matplotlibrc, KERAS_BACKEND, MPLBACKEND, the rest of the
environment) may be made for other programs. They do not reach the networks made here, and stay as they are.
"""

import contextlib
import ctypes
import importlib
import importlib.util
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from painters_mtl.common.errors import UserError, shorten

# What Keras looks for when it is imported, for parts that nobody calls here: a third of the time to the first label.
ONLY_TRIED = ("matplotlib", "pandas", "sklearn")


def import_extra(module: str, extra: str) -> Any:
    """A module of an optional package. Raises `UserError` with the line that installs it.

    OpenVINO and ONNX Runtime come without their telemetry: they would report to hosts of their makers that they are
    used, and keep a number in the home folder. OpenVINO reports nothing where its package for that is missing, and so
    that package looks as if it were not installed, for as long as the process lives; ONNX Runtime asks a variable.

    Args:
        module: its full name, such as "ray.data".
        extra: the extra of this package that brings it, as in pyproject.toml.
    """
    if module.split(".")[0] == "openvino":
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if extra == "onnx":  # tf2onnx and onnx may import ONNX Runtime
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(f'{package} is not installed ({error}): pip install "painters-mtl[{extra}]"') from error


# ------------------------------------------------------------------------------------------------- TensorFlow, Keras


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, without the lines that TensorFlow's C++ parts print while they look for GPUs.

    Keras then has the backend, data format and float type that the networks here are written for, whatever the user's
    keras.json says. Any thread may call it. Raises `UserError` where Keras is loaded already with another backend, or
    cannot read its settings.
    """
    with _importing:
        _import_tensorflow()


_importing = threading.RLock()  # a thread that meets what another one is importing may be given half of it


def _import_tensorflow() -> None:
    if "tensorflow" not in sys.modules:
        _keep_freed_memory()
        with quiet(), _hide_modules(ONLY_TRIED), _name_keras_settings():
            importlib.import_module("tensorflow")
        # Each network has a compiled function of its own; TensorFlow takes that for one that is compiled repeatedly.
        logging.getLogger("tensorflow").addFilter(lambda record: "tf.function retracing" not in record.getMessage())
    with _hide_modules(ONLY_TRIED), _name_keras_settings():
        keras = importlib.import_module("keras")
    if (backend := keras.config.backend()) != "tensorflow":
        raise UserError(
            f"Keras was loaded with the backend {backend}, and this program needs tensorflow: import painters_mtl "
            "before keras"
        )
    if keras.config.image_data_format() != "channels_last":
        keras.config.set_image_data_format("channels_last")
    if keras.config.floatx() != "float32":
        keras.config.set_floatx("float32")


@contextlib.contextmanager
def _name_keras_settings() -> Iterator[None]:
    """Turn what Keras raises about its settings file into a `UserError` that names the file."""
    try:
        yield
    except Exception as error:
        readers = ("backend", "config.py"), ("keras", "backend.py")  # Keras, and a copy of the old one in TensorFlow
        if Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts[-2:] not in readers:
            raise
        file = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
        detail = f" ({shorten(error)})" if str(error) else ""
        raise UserError(f"Keras cannot use the settings in {file}{detail}: correct or remove the file") from error


@contextlib.contextmanager
def _hide_modules(packages: Iterable[str]) -> Iterator[None]:
    """Make those that are not loaded yet look as if they were not installed.

    Keras then takes them for missing as long as the process lives; everybody else can import them afterwards.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep off standard error what C++ libraries print there about themselves; their errors are exceptions.

    Several threads may be in such a block: standard error is back when the last of them leaves it.
    """
    global _silencers, _standard_error
    with _silencing:
        if not _silencers:
            sys.stderr.flush()
            _standard_error, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        _silencers += 1
    try:
        yield
    finally:
        with _silencing:
            _silencers -= 1
            if not _silencers:
                os.dup2(_standard_error, 2)
                os.close(_standard_error)


_silencing = threading.Lock()
_silencers = 0  # blocks of `quiet` that are open
_standard_error = -1  # as it was before the first of them


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed instead of giving it back to the system and asking for it again at the next step.

    A training step frees and takes some hundred megabytes; the page faults of that were a third of its time.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another libc
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**26)


# ------------------------------------------------------------------------------------------------- Matplotlib


def import_matplotlib() -> Any:
    """The package matplotlib, also where the user's settings keep it from being imported.

    An MPLBACKEND that is no backend and a matplotlibrc that is no text do that. All other settings of the user are
    read, for figures of the user's own; `figure_style` keeps them out of the figures that are drawn here.
    """
    with muted("matplotlib"):
        try:
            return importlib.import_module("matplotlib")
        except Exception:
            spec = importlib.util.find_spec("matplotlib")
            if spec is None or not spec.submodule_search_locations:
                raise
            for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
                del sys.modules[name]  # they belong to the package that failed
            defaults = Path(spec.submodule_search_locations[0]) / "mpl-data"
            # A matplotlibrc in the working folder comes before the one that MATPLOTLIBRC names.
            with environment(MPLBACKEND="agg", MATPLOTLIBRC=str(defaults)), contextlib.chdir(defaults):
                return importlib.import_module("matplotlib")


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for the time of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def muted(logger: str) -> Iterator[None]:
    """Keep off standard error what a library logs below an error."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
