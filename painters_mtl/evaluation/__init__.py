"""Numbers about predictions: arrays in, numbers out. Imports nothing of this package."""
