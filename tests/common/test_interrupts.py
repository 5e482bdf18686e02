"""Ctrl-C: it is noted wherever it comes, raised where that is safe, and never lost."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from painters_mtl.common import interrupts
from painters_mtl.common.iteration import in_batches


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A command with the body `program`, in a process of its own; its settings have no options."""
    code = (
        "import os, signal, sys, threading, time\n"
        "from dataclasses import dataclass\n"
        "from painters_mtl.common import command_line, interrupts\n"
        "def press(): os.kill(os.getpid(), signal.SIGINT)\n"
        "class Object:\n    def __del__(self):\n        press()\n        time.sleep(0)\n"
        "@dataclass\nclass Settings:\n    count: int = 0\n    'A number.'\n"
        "def command(settings):\n" + textwrap.indent(textwrap.dedent(program), "    ") + "\n"
        "sys.exit(command_line.run_command(Settings, command, [], 'test'))\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_a_signal_in_a_destructor_is_not_lost() -> None:
    """Python ignores what is raised in __del__; the command ends at its next safe point all the same."""
    done = run(
        """
        value = Object()
        del value
        print("the destructor is behind us", flush=True)
        interrupts.stop_if_requested()
        print("never here")
        return 0
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "the destructor is behind us\n", "interrupted\n")


def test_other_exceptions_in_a_destructor_are_still_reported() -> None:
    done = run(
        """
        class Broken:
            def __del__(self):
                raise ValueError("a fault of the program")
        value = Broken()
        del value
        return 0
        """
    )
    assert done.returncode == 0 and "a fault of the program" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_outside_a_training_ends_the_command_at_once(number: signal.Signals) -> None:
    done = run(f"os.kill(os.getpid(), {int(number)}); time.sleep(0.1); print('never here'); return 0")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_a_deferred_signal_is_noted_and_the_block_goes_on() -> None:
    done = run(
        """
        with interrupts.deferred():
            press()
            interrupts.stop_if_requested()  # the block decides itself
            print(interrupts.requested(), flush=True)
        interrupts.stop_if_requested()
        print("never here")
        return 0
        """
    )
    assert (done.returncode, done.stdout) == (130, "True\n")
    assert done.stderr == "\nending after this step; once more ends at once\ninterrupted\n"


def test_a_second_deferred_signal_ends_the_process() -> None:
    done = run(
        "with interrupts.deferred():\n    press()\n    press()\n    time.sleep(5)\n    print('never here')\nreturn 0"
    )
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "")


def test_who_acts_on_a_signal_is_not_interrupted_again() -> None:
    done = run(
        """
        with interrupts.deferred():
            press()
        interrupts.acknowledge()
        interrupts.stop_if_requested()
        print("the best network is kept", flush=True)
        return 130
        """
    )
    assert (done.returncode, done.stdout) == (130, "the best network is kept\n")


def test_handlers_are_put_back_and_old_signals_forgotten() -> None:
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with pytest.raises(KeyboardInterrupt), interrupts.watched():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in in_batches(10, 1):
            pass
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before
    assert interrupts.requested()
    with interrupts.watched():
        assert not interrupts.requested()


def test_batches_are_safe_points() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), interrupts.watched():
        for rows in in_batches(10, 4):
            seen.append((rows.start, rows.stop))
            interrupts._requested = rows.stop == 8  # as if it had been raised in a destructor
    interrupts.acknowledge()
    assert seen == [(0, 4), (4, 8)]


def test_another_thread_installs_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interrupts.deferred():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
