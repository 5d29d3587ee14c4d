from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.process_tree import PeakMemory, comes_to_rest, cpu_s, rss_bytes, tree

_MIB = 1 << 20
_CHILD_THAT_EATS = """
import sys
print("ready", flush=True)
sys.stdin.readline()
eaten = bytearray(64 << 20)
eaten[::4096] = b"x" * len(eaten[::4096])
del eaten
sum(range(10 ** 7))
print("done", flush=True)
sys.stdin.readline()
"""
_PARENT = (
    f"import subprocess, sys; subprocess.run([sys.executable, '-c', '''{_CHILD_THAT_EATS}'''])"
)

_PARENT_OF_A_CHILD_THAT_NEVER_RESTS = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
)


@contextmanager
def _family() -> Iterator[subprocess.Popen[str]]:
    """A process that has one child, both speaking on the parent's streams."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=pipe, stdout=pipe, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        yield parent
        _go_on(parent)


def _go_on(parent: subprocess.Popen[str]) -> None:
    assert parent.stdin is not None
    parent.stdin.write("\n")
    parent.stdin.flush()


def test_cpu_and_peak_memory_of_a_child_count() -> None:
    with _family() as parent:
        roots = (parent.pid,)
        before_s = cpu_s(roots)
        with PeakMemory(roots) as peak:
            _go_on(parent)
            assert parent.stdout is not None
            assert parent.stdout.readline() == "done\n"

        assert len(tree(roots)) == 2
        assert cpu_s(roots) > before_s
        assert 60 * _MIB < peak.growth_bytes < 200 * _MIB


def test_a_process_that_has_ended_counts_as_nothing() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()

    assert rss_bytes((ended.pid,)) == 0
    assert cpu_s((ended.pid,)) == 0
    assert rss_bytes((os.getpid(),)) > 0


def test_a_family_that_waits_is_at_rest() -> None:
    with _family() as parent:
        assert comes_to_rest((parent.pid,), within_s=60)
        _go_on(parent)


def test_a_family_that_goes_on_working_does_not_come_to_rest() -> None:
    command = [sys.executable, "-c", _PARENT_OF_A_CHILD_THAT_NEVER_RESTS]
    with subprocess.Popen(command, start_new_session=True) as parent:
        try:
            assert not comes_to_rest((parent.pid,), within_s=0.3)
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
