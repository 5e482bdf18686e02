"""Pictures through a trained network: labels, vectors, pair scores, exports."""
