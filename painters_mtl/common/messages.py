"""What this program says while it works: through `logging`, and with bars on a terminal.

Library code calls `say` and `warn`, never `print`, so that whoever calls it can have it silent:
`logging.getLogger("painters_mtl").setLevel("WARNING")`, which is what --quiet does. Verbs print their results.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

LOGGER = logging.getLogger("painters_mtl")
TENTHS_FROM = 2.0  # seconds: what is done sooner needs no lines of its progress


class _Printed(logging.Handler):
    """Messages on standard output, warnings on standard error: whatever stands for these at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout, flush=True)


if not LOGGER.handlers:
    LOGGER.addHandler(_Printed())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def say(text: str) -> None:
    """Print what is going on, unless --quiet was asked for."""
    LOGGER.info("%s", text)


def warn(text: str) -> None:
    """Print what should be known in any case, on standard error."""
    LOGGER.warning("%s", text)


def counted(number: int, noun: str) -> str:
    """A number of things as in a sentence: "1 picture", "2,000 pictures"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


ONE = re.compile(r"^1 ((?:\w+ )?)(\w+?)s ((?:of \S+ )?)(are|have|were|lie|name|hold|had|cannot)\b")
ONE_OF = re.compile(r"^(1 of (?:the )?[\d,]+ \w+(?: of \S+)?) (are|have|name)\b")
SINGULAR = {"are": "is", "have": "has", "were": "was", "lie": "lies", "name": "names", "hold": "holds"}


def in_singular(note: str) -> str:
    """A note whose count turned out to be one: "1 picture is left out", where "1 pictures are left out" came in.

    Notes that begin with another count stay as they are.
    """
    changed = ONE.sub(lambda m: f"1 {m[1]}{m[2]} {m[3]}{SINGULAR.get(m[4], m[4])}", note)
    changed = ONE_OF.sub(lambda m: f"{m[1]} {SINGULAR[m[2]]}", changed)
    if changed == note:
        return note
    return (
        changed.replace(" and are ", " and is ")
        .replace(" and get ", " and gets ")
        .replace(" and count ", " and counts ")
    )


def is_quiet() -> bool:
    """Whether only warnings and results are wanted."""
    return not LOGGER.isEnabledFor(logging.INFO)


@contextlib.contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """No message and no bar for as long as the block lasts; nothing changes where that is not `wanted`."""
    before = LOGGER.level
    if wanted:
        LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(before)


class ProgressBar(tqdm):
    """A bar on one line of a terminal; elsewhere (a file, a pipe) a line for each tenth, with the time that is left."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As tqdm's; hidden where it is quiet, and where the environment has TQDM_DISABLE."""
        self.in_lines = not (options.get("file") or sys.stderr).isatty()
        self.tenths_shown: int | None = None
        self.begun = time.perf_counter()
        # tqdm looks at the environment once, when it is imported; verbs set it later.
        hidden = is_quiet() or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
        options["disable"] = bool(options.get("disable")) or hidden
        super().__init__(*arguments, **{"mininterval": 0.5, "dynamic_ncols": True, **options})

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar, or print a line where another tenth is done."""
        if not self.in_lines:
            super().display(msg, pos)
            return
        tenths = int(10 * self.n / self.total) if self.total else 0
        if self.tenths_shown is None:  # where the bar begins, which is not always 0
            self.tenths_shown = tenths
        elif tenths > self.tenths_shown and time.perf_counter() - self.begun >= TENTHS_FROM:
            self.tenths_shown = tenths
            print(self._line(), file=self.fp, flush=True)

    def _line(self) -> str:
        state = self.format_dict
        done = state["n"] - state["initial"]
        rate = done / max(state["elapsed"], 1e-9)
        left = tqdm.format_interval((state["total"] - state["n"]) / rate) if rate else "?"
        unit = state["unit"] if state["unit"].startswith(" ") else f" {state['unit']}"
        of = "" if state["unit_scale"] else f" of {state['total']:,}{unit}"
        title = f"{self.desc.rstrip(': ')}: " if self.desc else ""
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
        return f"{title}{100 * state['n'] / state['total']:.0f} %{of}, {speed}{unit}/s, {left} left"

    def clear(self, nolock: bool = False) -> None:
        """Take the bar away for a moment; lines stay."""
        if not self.in_lines:
            super().clear(nolock)

    def close(self) -> None:
        """End the bar; lines end without a mark of their own."""
        if not self.in_lines or self.disable:
            super().close()
            return
        self.display()
        self.disable = True
        self._decr_instances(self)  # type: ignore[attr-defined]
