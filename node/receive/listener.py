"""The listener of one process: its parts, wired to each other, and their start and stop."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from config.settings import Settings
from node.dimse_policy import apply_dimse_policy
from node.receive.acceptor import Acceptor, listening_socket
from node.receive.admission_gate import AdmissionGate
from node.receive.association import Association, Parts
from node.receive.association_tracking import AssociationTracker
from node.receive.service_messages import ServiceDesk
from node.receive.services import Service, VerificationService, by_sop_class
from node.receive.store_handler import StoreHandler
from node.receive.unsettled_files import UnsettledFiles
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles

_HOUSEKEEPING_INTERVAL_S = 0.5
_SPARE_CONNECTIONS = 16
_GRACE_S = 2.0
_LAST_INSTANCE_S = 5.0

_log = structlog.get_logger()


class Listener:
    """The C-STORE provider of one process, and of the `services` beside it.

    `on_change` is called, from any thread, when an association that brought instances has
    ended: then completeness is worth a look. `tls` wraps every connection.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        on_change: Callable[[], None],
        *,
        services: tuple[Service, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._tracker = AssociationTracker(db, on_change)
        self._unsettled = UnsettledFiles(db, files)
        served = by_sop_class((VerificationService(), *services))
        self._parts = Parts(
            receive=settings.receive,
            gate=AdmissionGate(settings, db, files, served),
            tracker=self._tracker,
            store=StoreHandler(settings, db, files, self._tracker, self._unsettled),
            desk=ServiceDesk(served),
            tls=tls,
        )
        self._acceptor: Acceptor | None = None
        self._stop = threading.Event()
        self._housekeeping = threading.Thread(
            target=self._keep_house, name="receive-housekeeping", daemon=True
        )

    def start(self, listening: socket.socket | None = None) -> int:
        """Begin to accept associations, and return the TCP port.

        The address is taken, unless a socket that listens on it is given.

        Raises:
            ListenerFailed: the address cannot be taken.
        """
        apply_dimse_policy()
        listening = listening or listening_socket(self._settings.receive)
        port = int(listening.getsockname()[1])
        most = self._settings.receive.max_associations + _SPARE_CONNECTIONS
        serve = partial(Association, parts=self._parts)
        self._acceptor = Acceptor(listening, serve, most_connections=most)
        self._acceptor.start()
        self._housekeeping.start()
        _log.info("listening", host=self._settings.receive.host, port=port)
        return port

    def stop(self) -> None:
        """Accept nothing more, let running associations end shortly, abort the rest."""
        acceptor, self._acceptor = self._acceptor, None
        if acceptor is None:
            return
        acceptor.stop_accepting()
        deadline = time.monotonic() + _GRACE_S
        while self._tracker.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        acceptor.stop_serving(_LAST_INSTANCE_S)
        self._stop.set()
        self._housekeeping.join()
        self._tracker.tick()

    def _keep_house(self) -> None:
        while not self._stop.wait(_HOUSEKEEPING_INTERVAL_S):
            try:
                self._tracker.tick()
                self._unsettled.settle()
            except StorageError as error:
                _log.debug("housekeeping_postponed", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 -- the thread's edge; the next round tries again
                _log.error("housekeeping_failed", exc_info=True)
