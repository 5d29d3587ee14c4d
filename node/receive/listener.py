"""The listener: pynetdicom's events, bound to what this node does with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import A_P_ABORT

from config.settings import Settings
from node.dimse_policy import apply_dimse_policy, receive_into
from node.errors import ListenerFailed
from node.receive.admission import Caller, Rejection, rejection
from node.receive.association_server import ReceivingServer, bound_reads, give_up_waiting
from node.receive.association_tracking import AssociationTracker, record_audit
from node.receive.store_handler import StoreHandler
from node.receive.transfer_syntaxes import VERIFICATION, supported_contexts
from storage.database import Database
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder

_HOUSEKEEPING_INTERVAL_S = 0.5
_ACCEPT_POLL_S = 0.1
_GRACE_S = 2.0

_log = structlog.get_logger()


class Listener:
    """The C-STORE and C-ECHO provider of one node.

    `on_change` is called, from any thread, when an association that brought instances has
    ended: then completeness is worth a look.
    """

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._tracker = AssociationTracker(db, on_change)
        self._recorder = InstanceRecorder(db, files)
        self._store = StoreHandler(settings, db, files, self._tracker, self._recorder)
        self._server: Any = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> int:
        """Take the address, begin to accept associations, and return the TCP port.

        Raises:
            ListenerFailed: the address cannot be taken.
        """
        apply_dimse_policy()
        receive_into(self._files.incoming_dir)
        self._server = self._bind()
        for name, target in (
            ("receive-accept", partial(self._server.serve_forever, _ACCEPT_POLL_S)),
            ("receive-housekeeping", self._keep_house),
        ):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        port = int(self._server.server_address[1])
        _log.info("listening", host=self._settings.receive.host, port=port)
        return port

    def stop(self) -> None:
        """Accept nothing more, let running associations end shortly, abort the rest."""
        if self._server is None:
            return
        self._server.shutdown()
        deadline = time.monotonic() + _GRACE_S
        while self._tracker.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        for assoc in self._server.active_associations:
            assoc.abort()
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._tracker.tick()
        self._recorder.close()
        self._server = None

    def _bind(self) -> Any:
        receive = self._settings.receive
        ae = AE(ae_title=self._settings.node.ae_title)
        ae.maximum_pdu_size = receive.max_pdu_bytes
        ae.maximum_associations = receive.max_associations
        ae.network_timeout = receive.network_timeout_s
        ae.acse_timeout = receive.network_timeout_s
        ae.dimse_timeout = receive.dimse_timeout_s
        ae.add_supported_context(VERIFICATION)
        try:
            return ae.make_server(
                (receive.host, receive.port),
                evt_handlers=self._handlers(),
                server_class=ReceivingServer,
            )
        except OSError as error:
            text = f"cannot listen on {receive.host}:{receive.port}: {error.strerror}"
            raise ListenerFailed(text) from error

    def _handlers(self) -> list[tuple[Any, Callable[..., Any]]]:
        receive = self._settings.receive
        bounded = partial(
            bound_reads,
            max_pdu_bytes=receive.max_pdu_bytes,
            timeout_s=receive.network_timeout_s,
        )
        return [
            (evt.EVT_CONN_OPEN, bounded),
            (evt.EVT_CONN_CLOSE, give_up_waiting),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected_by_library),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_ACSE_RECV, self._on_acse),
            (evt.EVT_RELEASED, lambda event: self._tracker.ended(event.assoc, "released")),
            (evt.EVT_ABORTED, lambda event: self._tracker.aborted(event.assoc)),
            (evt.EVT_C_STORE, self._store.handle),
        ]

    def _on_requested(self, event: Any) -> None:
        """Reject, or tell pynetdicom what is supported of what is proposed."""
        caller = _caller(event.assoc)
        disk_is_low = self._files.is_low(self._settings.storage.disk_low_mib)
        reason = rejection(
            caller,
            self._settings.receive,
            self._settings.node.ae_title,
            disk_is_low=disk_is_low,
        )
        if reason is None:
            proposed = event.assoc.requestor.primitive.presentation_context_definition_list
            uids = [str(context.abstract_syntax) for context in proposed]
            event.assoc.acceptor.supported_contexts = supported_contexts(uids)
            return
        event.assoc.acse.send_reject(*reason.primitive)
        event.assoc.kill()
        self._rejected(caller, reason)

    def _on_rejected_by_library(self, event: Any) -> None:
        """pynetdicom itself rejects only for the number of associations."""
        self._rejected(_caller(event.assoc), Rejection.TOO_MANY_ASSOCIATIONS)

    def _rejected(self, caller: Caller, reason: Rejection) -> None:
        _log.warning(
            "association_rejected",
            reason=reason.code,
            calling_ae_title=caller.calling_ae_title,
            called_ae_title=caller.called_ae_title,
            address=caller.address,
        )
        detail = {"reason": reason.code}
        record_audit(
            self._db,
            event="association_rejected",
            outcome="failure",
            caller=caller,
            detail=detail,
        )

    def _on_established(self, event: Any) -> None:
        self._tracker.established(event.assoc, _caller(event.assoc))

    def _on_acse(self, event: Any) -> None:
        if isinstance(event.primitive, A_P_ABORT):
            self._tracker.connection_lost(event.assoc)

    def _keep_house(self) -> None:
        while not self._stop.wait(_HOUSEKEEPING_INTERVAL_S):
            try:
                self._tracker.tick()
                self._recorder.settle()
            except StorageError as error:
                _log.debug("housekeeping_postponed", reason=type(error).__name__)
            except Exception:  # noqa: BLE001 -- the thread's edge; the next round tries again
                _log.error("housekeeping_failed", exc_info=True)


def _caller(assoc: Any) -> Caller:
    primitive = assoc.requestor.primitive
    return Caller(
        calling_ae_title=str(primitive.calling_ae_title).strip(),
        called_ae_title=str(primitive.called_ae_title).strip(),
        address=str(assoc.requestor.address),
    )
