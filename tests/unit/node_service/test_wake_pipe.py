from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from node.supervisor import Supervisor
from node.wake_pipe import make_unblocking, send_wake, set_when_woken
from tests.peers.ports import wait_until

READER = """
import sys, threading
from pathlib import Path
from node.wake_pipe import STANDARD_INPUT, set_when_woken
woken = threading.Event()
set_when_woken(STANDARD_INPUT, woken)
Path(sys.argv[1]).with_suffix(".ready").touch()
woken.wait()
Path(sys.argv[1]).touch()
threading.Event().wait()
"""


def test_a_byte_wakes_the_reader() -> None:
    reading, writing = os.pipe()
    woken = threading.Event()
    set_when_woken(reading, woken)

    with os.fdopen(writing, "wb", buffering=0) as pipe:
        send_wake(pipe)
        assert woken.wait(10)
        woken.clear()
        send_wake(pipe)
        assert woken.wait(10)


def test_a_full_or_broken_pipe_does_not_hold_up_the_writer() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        make_unblocking(pipe)
        for _ in range(100_000):
            send_wake(pipe)
        os.close(reading)
        send_wake(pipe)
    send_wake(pipe)


def test_a_supervisor_wakes_its_child(tmp_path: Path) -> None:
    mark = tmp_path / "woken"
    supervisor = Supervisor([sys.executable, "-c", READER, str(mark)], on_death=lambda: None)
    supervisor.wake()
    supervisor.start()
    wait_until(mark.with_suffix(".ready").exists, what="the child")
    assert not mark.exists()

    supervisor.wake()

    wait_until(mark.exists, what="the child to wake")
    supervisor.stop(grace_s=0)
    supervisor.wake()
