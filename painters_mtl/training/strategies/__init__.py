"""How the losses of several tasks become one step: `--strategy`. A strategy is a class and a line in `by_name`."""
