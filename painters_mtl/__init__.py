"""Painter, style and genre of a painting, from one network with three softmax heads."""

import os

# Before TensorFlow is imported, and only where the user has not decided otherwise. Without oneDNN the training of
# depthwise networks is faster on a CPU (benchmarks/pointwise.py) and sums are added in one order in every run.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
