from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from node.supervisor import Supervisor
from node.wake_pipe import WakePipe, WakeReader, WakeWriter
from tests.peers.ports import wait_until

READER = """
import sys, threading
from pathlib import Path
from node.wake_pipe import STANDARD_INPUT, WakeReader
woken = threading.Event()
WakeReader(STANDARD_INPUT, woken.set)
Path(sys.argv[1]).with_suffix(".ready").touch()
woken.wait()
Path(sys.argv[1]).touch()
threading.Event().wait()
"""


def test_a_byte_wakes_the_reader() -> None:
    reading, writing = os.pipe()
    woken = threading.Event()
    reader = WakeReader(reading, woken.set)

    writer = WakeWriter(writing)
    for _ in range(2):
        writer.wake()
        assert woken.wait(10)
        woken.clear()
    os.close(writing)
    reader.join()
    os.close(reading)


def test_a_full_or_broken_pipe_does_not_hold_up_the_writer() -> None:
    reading, writing = os.pipe()
    writer = WakeWriter(writing)
    for _ in range(100_000):
        writer.wake()
    os.close(reading)
    writer.wake()
    os.close(writing)
    writer.wake()


def test_a_pipe_tells_who_is_ready_and_what_has_changed_until_it_is_closed() -> None:
    woken = threading.Event()
    pipe = WakePipe(woken.set)
    writer = WakeWriter(pipe.writer)
    assert not pipe.wait_ready(0)

    writer.ready()
    assert pipe.wait_ready(10)
    assert not woken.is_set()
    writer.wake()
    assert woken.wait(10)

    pipe.close()


def test_a_supervisor_wakes_its_child(tmp_path: Path) -> None:
    mark = tmp_path / "woken"
    supervisor = Supervisor([sys.executable, "-c", READER, str(mark)], on_death=lambda _: None)
    supervisor.wake()
    supervisor.start()
    wait_until(mark.with_suffix(".ready").exists, what="the child")
    assert not mark.exists()

    supervisor.wake()

    wait_until(mark.exists, what="the child to wake")
    supervisor.stop(grace_s=0)
    supervisor.wake()
