"""The receiver processes of a node: started, watched, and what a dead one leaves behind.

Receiving is the part that must keep up with a PACS, so it has processes to itself: no delivery
and no model holds its interpreter, and several use several cores.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from config.settings import Settings
from node.receive.listening_sockets import ListeningSockets, listening_sockets
from node.receive.receiver_process import NONE, Descriptors, process_count, receiver_id
from node.receive.shared_file import new_shared_file
from node.receive.tls_port import TlsPort
from node.recovery import record_receipts
from node.supervisor import Supervisor
from node.wake_pipe import WakePipe
from storage.associations import lose_associations_of, serving_receivers
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles

_READY_TIMEOUT_S = 60.0

log = structlog.get_logger()


class Receivers:
    """All receiver processes; `on_change` is called when completeness is worth a look."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path | None,
        db: Database,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._config_path = config_path
        self._db = db
        self._files = InstanceFiles(settings.node.data_dir)
        self._on_change = on_change
        # Process ids come back, in a container with every start.
        self._run_id = f"{settings.node.name}/{secrets.token_hex(4)}"
        self._supervisors: list[Supervisor] = []
        self._settling = threading.Lock()
        self._sockets: ListeningSockets | None = None
        self._wake: WakePipe | None = None
        self._limits = NONE

    def start(self) -> ListeningSockets:
        """Take the ports, start the processes, and wait until one of them accepts.

        Raises:
            ListenerFailed: a port is taken, or the files of TLS cannot be used.
        """
        if self._settings.receive.tls.enabled:
            TlsPort(self._settings.receive.tls)  # told here, and not by each child
        sockets = self._sockets = listening_sockets(self._settings.receive)
        self._wake = WakePipe(self._on_change)
        self._limits = new_shared_file()
        descriptors = Descriptors(
            _descriptor(sockets.plain), _descriptor(sockets.tls), self._wake.writer, self._limits
        )
        for _ in range(process_count(self._settings)):
            supervisor = Supervisor(
                self._command(descriptors),
                name="receiver",
                on_death=lambda _: self._try_to_settle(),
                keep_open=descriptors.all(),
            )
            supervisor.start()
            self._supervisors.append(supervisor)
        if not self._wake.wait_ready(_READY_TIMEOUT_S):
            log.error("no_receiver_ready", waited_s=_READY_TIMEOUT_S)
        # Not before: a sender that was cut off can come back from this moment on only.
        self._try_to_settle()
        return sockets

    def pids(self) -> tuple[int, ...]:
        """Return the process ids of those that run."""
        found = (supervisor.child_pid for supervisor in self._supervisors)
        return tuple(pid for pid in found if pid is not None)

    def stop(self, grace_s: float) -> None:
        """Accept nothing more, and end the processes; after `grace_s` they are killed."""
        if self._sockets is not None:
            self._sockets.close()
        for supervisor in self._supervisors:
            supervisor.ask_to_stop()
        until = time.monotonic() + grace_s
        for supervisor in self._supervisors:
            if not supervisor.stop(until - time.monotonic()):
                log.warning("receiver_killed")
        self._supervisors.clear()
        if self._wake is not None:
            self._wake.close()
            os.close(self._limits)
            self._wake = None
            self._try_to_settle()

    def settle(self) -> None:
        """End as lost what dead processes have left open: receivers of this run and before it.

        The rows that they owe are written before.

        Raises:
            DatabaseUnavailable: try again later.
        """
        with self._settling:
            self._settle()

    def _settle(self) -> None:
        # First: what they brought belongs to the studies that their associations held open.
        record_receipts(self._db, self._files)
        serving = serving_receivers(self._db)
        # Only now: whoever begins to serve after this is not among them.
        alive = {receiver_id(self._run_id, pid) for pid in self.pids()}
        for receiver in serving - alive:
            lost = lose_associations_of(self._db, receiver, now=datetime.now(UTC))
            log.warning("associations_lost", associations=lost)
            self._on_change()

    def _try_to_settle(self) -> None:
        with suppress(StorageError):  # the scheduler tries again
            self.settle()

    def _command(self, descriptors: Descriptors) -> list[str]:
        command = [sys.executable, "-m", "node.receive", "--parent", str(os.getpid())]
        # One word: without a plain port it begins with "-", and would be read as an option.
        command += ["--run", self._run_id, f"--descriptors={descriptors}"]
        return [*command, "--config", str(self._config_path)] if self._config_path else command


def _descriptor(listening: socket.socket | None) -> int:
    return NONE if listening is None else listening.fileno()
