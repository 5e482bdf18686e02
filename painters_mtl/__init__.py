"""Painter, style and genre of a painting, from one network with three softmax heads."""

import os

# Before TensorFlow is imported, and only where the user has not decided otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before Keras is imported, whatever the user's keras.json or environment says: the networks are TensorFlow's. The other
# settings that matter are made in `common.lazy_imports.import_tensorflow`.
os.environ["KERAS_BACKEND"] = "tensorflow"

__version__ = "0.5.0"
