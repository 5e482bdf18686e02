"""The demo: 2,000 paintings by eight invented painters, drawn by code from a seed."""
