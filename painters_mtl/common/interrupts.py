"""Ctrl-C in a training: the first is noted, and the training ends after its step; the second ends it at once.

An exception in the middle of a step would leave a network that has moved and a loss that is lost.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Kaggle, SLURM and Docker send SIGTERM some seconds before they kill


@contextmanager
def interrupt_requested() -> Iterator[Callable[[], bool]]:
    """Within the block, a first SIGINT or SIGTERM only makes the function that it gives answer True.

    A second one has the system's own effect, which waits for nothing: the process is gone.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield lambda: asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        os.write(2, b"\nending after this step; once more ends at once\n")

    before = [signal.signal(each, note) for each in SIGNALS]
    try:
        yield lambda: asked
    finally:
        for each, handler in zip(SIGNALS, before, strict=True):
            signal.signal(each, handler)
