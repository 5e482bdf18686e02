"""`painters-mtl VERB` and `python -m painters_mtl VERB`: the same as `python -m painters_mtl.VERB`."""

import importlib
import sys

VERBS = {
    "predict": "label a folder of paintings: painter, style and genre of each",
    "app": "open a page to drop a painting on: its labels, what speaks for them, works like it",
    "explain": "show what in a painting speaks for its labels",
    "similar": "find the paintings of a folder that are most like one",
    "embed": "write a vector for each painting of a folder, and draw a map of it",
    "pairs": "say whether two paintings are by the same painter: a score for each pair, as a submission",
    "check": "say what a folder of paintings holds, which pictures cannot be read, and why",
    "train": "train one network with three heads, and one for each task alone, and write the report",
    "compare": "train one network and three with several seeds, and compare them with intervals",
    "describe": "draw a network, and count what the tasks share",
    "export": "convert a network for use outside of Python: SavedModel, LiteRT, ONNX, OpenVINO",
    "download": "fetch the competition's tables and images from Kaggle",
}


def main(argv: list[str] | None = None) -> int:
    """Hand the arguments to the verb."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in VERBS:
        return importlib.import_module(f"painters_mtl.{arguments[0]}").main(arguments[1:])
    if arguments == ["--version"]:
        from painters_mtl import __version__

        print(f"painters_mtl {__version__}")
        return 0
    lines = ["usage: painters-mtl VERB [options]; --help after a verb explains it, --quiet prints only its results", ""]
    lines += [f"  {verb:<8}  {purpose}" for verb, purpose in VERBS.items()]
    asked = arguments in ([], ["-h"], ["--help"])
    if not asked:
        lines.insert(0, f"error: {arguments[0]!r} is not a verb")
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
