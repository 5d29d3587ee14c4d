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
from node.receive.acceptor import Acceptor
from node.receive.admission_gate import AdmissionGate
from node.receive.agreements import Agreements
from node.receive.association import Association, Parts
from node.receive.association_slots import AssociationSlots
from node.receive.association_tracking import AssociationTracker
from node.receive.listening_sockets import ListeningSockets, listening_sockets
from node.receive.rejection_book import RejectionBook
from node.receive.sender_policy import SenderPolicy
from node.receive.service_messages import ServiceDesk
from node.receive.services import Service, VerificationService, by_sop_class
from node.receive.shared_file import SharedFile
from node.receive.short_way import is_compiled
from node.receive.store_handler import StoreHandler
from node.receive.tls_port import TlsPort
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.receipts import Pages, Receipts
from storage.synced_pages import SyncedPages

_HOUSEKEEPING_INTERVAL_S = 0.5
_SPARE_CONNECTIONS = 16
_GRACE_S = 2.0
_LAST_INSTANCE_S = 5.0

_log = structlog.get_logger()


class Listener:
    """The C-STORE provider of one process, and of the `services` beside it.

    `on_change` is called, from any thread, when an association that brought instances has
    ended: then completeness is worth a look. What is limited is counted in `limits`, which the
    processes of a node share; the rows of associations say `receiver`. Every `housekeeping_s` what
    can wait is written.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        on_change: Callable[[], None],
        *,
        services: tuple[Service, ...] = (),
        limits: SharedFile | None = None,
        receiver: str | None = None,
        housekeeping_s: float = _HOUSEKEEPING_INTERVAL_S,
    ) -> None:
        self._settings = settings
        self._housekeeping_s = housekeeping_s
        self._stopping = threading.Event()
        self._book = RejectionBook(db)
        self._tracker = AssociationTracker(db, on_change, receiver)
        self._recorder = InstanceRecorder(db, files, _receipts(files))
        self._store = StoreHandler(settings, db, files, self._tracker, self._recorder)
        self._limits = limits or SharedFile()
        slots = AssociationSlots(settings.receive.max_associations, self._limits)
        senders = SenderPolicy(settings.receive, self._limits)
        served = by_sop_class((VerificationService(), *services))
        self._parts = Parts(
            receive=settings.receive,
            gate=AdmissionGate(settings, self._book, files, served, slots, senders),
            tracker=self._tracker,
            store=self._store,
            desk=ServiceDesk(served),
            agreements=Agreements(),
            pause=self._stopping.wait,
        )
        self.tls_port = 0
        self._acceptors: list[Acceptor] = []
        self._stop = threading.Event()
        self._housekeeping = threading.Thread(
            target=self._keep_house, name="receive-housekeeping", daemon=True
        )

    def start(self, sockets: ListeningSockets | None = None) -> int:
        """Begin to accept associations, and return the TCP port (without TLS; 0: there is none).

        `tls_port` is then the other one, or 0.

        The addresses are taken, unless sockets that listen on them are given.

        Raises:
            ListenerFailed: an address cannot be taken, or the files of TLS cannot be used.
        """
        apply_dimse_policy()
        receive = self._settings.receive
        tls = TlsPort(receive.tls) if receive.tls.enabled else None
        sockets = sockets or listening_sockets(receive)
        self._accept(sockets.plain, None)
        self._accept(sockets.tls, tls)
        self.tls_port = sockets.tls_port
        self._housekeeping.start()
        _log.info(
            "listening",
            host=receive.host,
            port=sockets.port,
            tls_port=sockets.tls_port,
            short_way="compiled" if is_compiled() else "missing",
        )
        return sockets.port

    def stop(self) -> None:
        """Accept nothing more, let running associations end shortly, abort the rest."""
        acceptors, self._acceptors = self._acceptors, []
        if not acceptors:
            return
        for acceptor in acceptors:
            acceptor.stop_accepting()
        deadline = time.monotonic() + _GRACE_S
        while self._tracker.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stopping.set()
        for acceptor in acceptors:
            acceptor.stop_serving(_LAST_INSTANCE_S)
        self._stop.set()
        self._housekeeping.join()
        # Rows before the ends of the associations that brought them.
        self._store.write_late_rows()
        self._tracker.tick()
        self._recorder.close()
        self._write_rejections()
        self._limits.close()

    def _accept(self, listening: socket.socket | None, tls: TlsPort | None) -> None:
        if listening is None:
            return
        most = self._settings.receive.max_associations + _SPARE_CONNECTIONS
        serve = partial(Association, parts=self._parts, tls=tls)
        acceptor = Acceptor(listening, serve, most_connections=most)
        acceptor.start()
        self._acceptors.append(acceptor)

    def _write_rejections(self) -> None:
        try:
            self._book.write()
        except StorageError as error:
            _log.warning("rejections_not_written", reason=type(error).__name__)

    def _keep_house(self) -> None:
        while not self._stop.wait(self._housekeeping_s):
            try:
                self._store.write_late_rows()
                self._tracker.tick()
                self._recorder.settle()
                self._book.write()
            except StorageError as error:
                _log.debug("housekeeping_postponed", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 -- the thread's edge; the next round tries again
                _log.error("housekeeping_failed", exc_info=True)


def _receipts(files: InstanceFiles) -> Receipts:
    return Receipts(files.data_dir, SyncedPages if files.is_synced else Pages)
