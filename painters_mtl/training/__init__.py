"""One training, from data to a finished run folder."""
