"""The house: no function and no module grows beyond what is read at one sitting, unless its docstring says why."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import painters_mtl

PACKAGE = Path(painters_mtl.__file__).parent
ROOMS = {"common", "data", "evaluation", "images", "inference", "network"} | {"page", "reports", "runs", "studies"}
ROOMS |= {"training"}
LONGEST_FUNCTION, LONGEST_MODULE = 60, 350  # lines
REASON = "Long because"  # how a docstring begins the sentence that gives the reason
FILES = sorted(PACKAGE.rglob("*.py"))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_is_long_says_why(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    if len(text.splitlines()) > LONGEST_MODULE:
        assert REASON in (ast.get_docstring(tree) or ""), f"{file} has {len(text.splitlines())} lines"
    for function in functions(tree):
        length = (function.end_lineno or 0) - function.lineno + 1
        reason = REASON in (ast.get_docstring(function) or "")
        assert length <= LONGEST_FUNCTION or reason, f"{file}:{function.lineno} {function.name} has {length} lines"


def test_every_room_says_its_job_and_imports_nothing() -> None:
    """What the `__init__.py` of a room does not import, the first label of a prediction need not wait for."""
    assert {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()} == ROOMS
    for file in PACKAGE.glob("*/**/__init__.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{file} has no docstring"
        assert len(tree.body) == 1, f"{file} holds more than its docstring"
