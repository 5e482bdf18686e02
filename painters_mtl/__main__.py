"""`python -m painters_mtl VERB` and `painters-mtl VERB`: the same as `python -m painters_mtl.VERB`."""

import importlib
import sys

VERBS = {
    "train": "train one network with three heads, and one for each task alone, and write the report",
    "compare": "one network against three over several seeds, with confidence intervals",
    "describe": "draw a network, and count what the tasks share",
    "app": "a page to drop a painting on: its labels, what speaks for them, works like it",
    "predict": "label a folder of paintings",
    "explain": "show where the network looks, for each of its answers",
    "pairs": "same painter or not: a score for each pair of paintings, as a submission",
    "embed": "write a vector for each painting of a folder, and draw a map of it",
    "similar": "find the paintings of a folder that are most like one",
    "export": "take a network out of Python: SavedModel, LiteRT, ONNX, OpenVINO",
    "download": "fetch the competition's tables and images from Kaggle",
    "check": "say which pictures of a folder can be read, and why others cannot",
}


def main(argv: list[str] | None = None) -> int:
    """Hand the arguments to the verb."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in VERBS:
        return importlib.import_module(f"painters_mtl.{arguments[0]}").main(arguments[1:])
    lines = ["usage: painters-mtl VERB [options]; --help after a verb explains it", ""]
    lines += [f"  {verb:<8}  {purpose}" for verb, purpose in VERBS.items()]
    asked = arguments in ([], ["-h"], ["--help"])
    if not asked:
        lines.insert(0, f"error: {arguments[0]!r} is not a verb")
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
