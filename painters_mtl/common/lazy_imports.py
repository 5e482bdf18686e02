"""Packages that are imported only where they are needed: optional ones, with the line that installs them.

Its own file because each runtime, export format and engine asks for its package here.
"""

import importlib
from typing import Any

from painters_mtl.common.errors import UserError


def import_extra(module: str, extra: str) -> Any:
    """A module of an optional package. Raises `UserError` with the line that installs it.

    Args:
        module: its full name, such as "ray.data".
        extra: the extra of this package that brings it, as in pyproject.toml.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise UserError(f'{package} is not installed ({error}): pip install "painters-mtl[{extra}]"') from error
