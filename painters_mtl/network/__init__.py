"""Build, split, fold, run and explain keras.Models. Reads no painting."""
