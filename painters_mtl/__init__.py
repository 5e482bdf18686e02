"""Painter, style and genre of a painting, from one network with three softmax heads."""

import os

# Before TensorFlow is imported, and only where the user has not decided otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.4.0"
