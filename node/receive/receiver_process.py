"""One receiver process: a listener on sockets that its parent has opened (see node.receivers).

    python -m node.receive --parent PID --run ID --descriptors FD,FD,... [--config FILE]

It imports no model code and little else, so it starts quickly and stays small.
"""

from __future__ import annotations

import gc
import os
import socket
from dataclasses import astuple, dataclass
from typing import Self

import structlog

from config.settings import Settings
from node.data_directory import kept_data, make_private
from node.offered_services import offered_services
from node.parent_watch import die_with_parent
from node.receive.listener import Listener
from node.receive.listening_sockets import ListeningSockets
from node.receive.shared_file import SharedFile
from node.stop_signals import stop_signals
from node.wake_pipe import WakeWriter
from storage.instance_files import InstanceFiles

NONE = -1
_MOST_BY_DEFAULT = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The open files that a receiver is born with; `NONE` for a socket that is not there."""

    plain: int
    tls: int
    wake: int
    limits: int

    def __str__(self) -> str:
        return ",".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; raises `ValueError`."""
        plain, tls, wake, limits = map(int, text.split(","))
        return cls(plain, tls, wake, limits)

    def all(self) -> tuple[int, ...]:
        """Return those that are there."""
        return tuple(each for each in astuple(self) if each != NONE)

    def sockets(self) -> ListeningSockets:
        """Return the listening sockets."""
        return ListeningSockets(_socket(self.plain), _socket(self.tls))


def process_count(settings: Settings) -> int:
    """Return how many receiver processes are to run: as configured, else one a core, up to 4."""
    return settings.receive.processes or min(_MOST_BY_DEFAULT, os.cpu_count() or 1)


def receiver_id(run_id: str, pid: int) -> str:
    """Return how the associations of one receiver process are marked as its own."""
    return f"{run_id}/{pid}"


def run_receiver(
    settings: Settings, *, parent_pid: int, run_id: str, descriptors: Descriptors
) -> None:
    """Receive until SIGTERM; `run_id` is of this run of the node.

    Raises what `kept_data` and `Listener.start` raise.
    """
    die_with_parent(parent_pid)
    make_private(settings.node.data_dir)
    wake = WakeWriter(descriptors.wake)
    with stop_signals(ignore_interrupt=True) as arrived, kept_data(settings) as db:
        listener = Listener(
            settings,
            db,
            InstanceFiles(settings.node.data_dir, settings.storage.durability),
            on_change=wake.wake,
            services=offered_services(settings, db, wake.wake),
            limits=SharedFile(descriptors.limits),
            receiver=receiver_id(run_id, os.getpid()),
        )
        listener.start(descriptors.sockets())
        # What is there by now stays: the collector need not go through it again and again.
        gc.freeze()
        wake.ready()
        log.info("receiver_stopping", signal=arrived.wait())
        listener.stop()


def _socket(descriptor: int) -> socket.socket | None:
    return None if descriptor == NONE else socket.socket(fileno=descriptor)
