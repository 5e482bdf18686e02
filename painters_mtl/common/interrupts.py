"""Ctrl-C and SIGTERM while a command runs: always noted, raised where that is safe, acted on at the next safe point.

Python's own KeyboardInterrupt can be lost. It is raised between any two instructions, also while Python destroys an
object; there it is printed as "Exception ignored in ... __del__" and the command runs on to its end (seen with
TensorFlow's objects). So the signal handler also sets a flag, and `stop_if_requested` raises the exception again at
points where a command can end in order: between two pictures, two batches, two files.

A training is not interrupted in the middle of a step, which would leave moved weights and a lost loss: within
`deferred` the first signal only sets the flag, and the training loop asks `requested` after each step.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Kaggle, SLURM and Docker send SIGTERM some seconds before they kill

_requested = False
_deferred = 0  # how many `deferred` blocks are open
_watching = False


def requested() -> bool:
    """Whether Ctrl-C or SIGTERM came since the command began, or since the last `acknowledge`."""
    return _requested


def stop_if_requested() -> None:
    """Raise KeyboardInterrupt where a signal came; a safe point. Within `deferred` the block itself decides."""
    if _requested and not _deferred:
        raise KeyboardInterrupt


def acknowledge() -> None:
    """Forget the signal: whoever calls this acts on it, and what follows is not to be interrupted by it once more."""
    global _requested
    _requested = False


@contextmanager
def watched() -> Iterator[None]:
    """Note signals within the block, and raise KeyboardInterrupt as Python does; a block within another does nothing.

    Signals are the main thread's: in another thread nothing is installed.
    """
    global _watching
    if _watching or threading.current_thread() is not threading.main_thread():
        yield
        return
    acknowledge()
    handlers = [signal.signal(number, _note) for number in SIGNALS]
    hook, sys.unraisablehook = sys.unraisablehook, _report_unraisable
    _watching = True
    try:
        yield
    finally:
        _watching = False
        sys.unraisablehook = hook
        for number, handler in zip(SIGNALS, handlers, strict=True):
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block a first signal is only noted; a second has the system's own effect and ends the process."""
    global _deferred
    with watched():
        _deferred += 1
        try:
            yield
        finally:
            _deferred -= 1


def _note(number: int, frame: FrameType | None) -> None:
    global _requested
    again, _requested = _requested, True
    if not _deferred:
        raise KeyboardInterrupt
    if again:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os.write(2, b"\nending after this step; once more ends at once\n")


def _report_unraisable(unraisable: Any) -> None:
    """As Python does, but not for KeyboardInterrupt: it is noted, and `stop_if_requested` raises it again."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
