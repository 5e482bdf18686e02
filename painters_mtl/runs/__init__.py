"""The run folder: open, check, load, save, find its paintings again."""
