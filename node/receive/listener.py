"""The listener of one process: its parts, wired to each other, and their start and stop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from config.settings import Settings
from node.dimse_policy import apply_dimse_policy
from node.errors import ListenerFailed
from node.receive.acceptor import Acceptor, listening_socket
from node.receive.admission_gate import AdmissionGate
from node.receive.association import Association, Parts
from node.receive.association_tracking import AssociationTracker
from node.receive.rejection_book import RejectionBook
from node.receive.service_messages import ServiceDesk
from node.receive.services import Service, VerificationService, by_sop_class
from node.receive.store_handler import StoreHandler
from node.receive.tls_port import TlsPort
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder

_HOUSEKEEPING_INTERVAL_S = 0.5
_SPARE_CONNECTIONS = 16
_GRACE_S = 2.0
_LAST_INSTANCE_S = 5.0

_log = structlog.get_logger()


class Listener:
    """The C-STORE provider of one process, and of the `services` beside it.

    `on_change` is called, from any thread, when an association that brought instances has
    ended: then completeness is worth a look.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        on_change: Callable[[], None],
        *,
        services: tuple[Service, ...] = (),
    ) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._book = RejectionBook(db)
        self._tracker = AssociationTracker(db, on_change)
        self._recorder = InstanceRecorder(db, files)
        served = by_sop_class((VerificationService(), *services))
        self._parts = Parts(
            receive=settings.receive,
            gate=AdmissionGate(settings, self._book, files, served),
            tracker=self._tracker,
            store=StoreHandler(settings, db, files, self._tracker, self._recorder),
            desk=ServiceDesk(served),
            pause=self._stopping.wait,
        )
        self._acceptors: list[Acceptor] = []
        self.tls_port = 0
        self._stop = threading.Event()
        self._housekeeping = threading.Thread(
            target=self._keep_house, name="receive-housekeeping", daemon=True
        )

    def start(
        self, listening: socket.socket | None = None, tls_listening: socket.socket | None = None
    ) -> int:
        """Begin to accept associations; return the TCP port without TLS, 0 if there is none.

        `tls_port` is then the one with TLS, or 0. The addresses are taken, unless sockets that
        listen on them are given.

        Raises:
            ListenerFailed: an address cannot be taken, or the TLS files cannot be used.
        """
        apply_dimse_policy()
        receive, port = self._settings.receive, 0
        if receive.port is not None:
            listening = listening or listening_socket(receive.host, receive.port)
            port = self._accept(listening, None)
        if receive.tls.enabled:
            try:
                secured = TlsPort(receive.tls)
                tls_listening = tls_listening or listening_socket(receive.host, receive.tls.port)
            except ListenerFailed:
                self._stop_acceptors()
                raise
            self.tls_port = self._accept(tls_listening, secured)
        self._housekeeping.start()
        _log.info("listening", host=receive.host, port=port, tls_port=self.tls_port)
        return port

    def _accept(self, listening: socket.socket, tls: TlsPort | None) -> int:
        most = self._settings.receive.max_associations + _SPARE_CONNECTIONS
        serve = partial(Association, parts=self._parts, tls=tls)
        acceptor = Acceptor(listening, serve, most_connections=most)
        acceptor.start()
        self._acceptors.append(acceptor)
        return int(listening.getsockname()[1])

    def stop(self) -> None:
        """Accept nothing more, let running associations end shortly, abort the rest."""
        if not self._acceptors:
            return
        self._stop_acceptors()
        self._stop.set()
        self._housekeeping.join()
        self._tracker.tick()
        self._recorder.close()
        self._write_rejections()

    def _stop_acceptors(self) -> None:
        acceptors, self._acceptors = self._acceptors, []
        for acceptor in acceptors:
            acceptor.stop_accepting()
        deadline = time.monotonic() + _GRACE_S
        while self._tracker.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        for acceptor in acceptors:
            acceptor.stop_serving(_LAST_INSTANCE_S)

    def _write_rejections(self) -> None:
        try:
            self._book.write()
        except StorageError as error:
            _log.warning("rejections_not_written", reason=type(error).__name__)

    def _keep_house(self) -> None:
        while not self._stop.wait(_HOUSEKEEPING_INTERVAL_S):
            try:
                self._tracker.tick()
                self._recorder.settle()
                self._book.write()
            except StorageError as error:
                _log.debug("housekeeping_postponed", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 -- the thread's edge; the next round tries again
                _log.error("housekeeping_failed", exc_info=True)
