"""The layouts: a reader each, from a `Collection` to a `Reading`. `data/layouts.py` says which reader a folder gets."""
