"""Painter, style and genre of a painting, from one network with three softmax heads."""

__version__ = "0.1.0"
