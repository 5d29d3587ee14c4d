"""One connection from its first byte to its last: request, negotiation, messages, end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from pynetdicom.presentation import PresentationContext

from config.settings import ReceiveSettings
from config.tls_failure import TlsFailure
from node.receive.admission import Caller, Rejection
from node.receive.agreements import Agreements
from node.receive.association_ends import AssociationOver, Rejected
from node.receive.association_tracking import AssociationTracker
from node.receive.conversation import Conversation
from node.receive.message_stream import MessageStream
from node.receive.negotiation import Agreement, AssociationRequest, Proposal, read_request
from node.receive.pacing import Pace
from node.receive.sender_policy import AssociationPolicy
from node.receive.service_messages import ServiceDesk
from node.receive.store_handler import StoreHandler
from node.receive.tls_port import HandshakeFailed, TlsPort, handshake, peer_certificate
from node.receive.upper_layer import UpperLayer

_HANDSHAKE_S = 15.0
_VERSION_NOT_SUPPORTED = (1, 2, 2)
_APPLICATION_CONTEXT_NOT_SUPPORTED = (1, 1, 2)
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

_log = structlog.get_logger()


class Gate(Protocol):
    """Decides who may come in, and what is negotiated with whom."""

    def enter(self, caller: Caller) -> AssociationPolicy | Rejection:
        """Admit a caller and count it, or tell why not; an admitted one leaves in any case."""

    def rejected(self, caller: Caller, reason: Rejection) -> None:
        """Put on record that a caller was told `reason`."""

    def not_secured(self, address: str, failure: TlsFailure) -> None:
        """Put on record that a TLS handshake failed."""

    def leave(self, policy: AssociationPolicy) -> None:
        """The association of an admitted caller is over."""

    def supported(
        self, policy: AssociationPolicy, abstract_syntaxes: tuple[str, ...]
    ) -> list[PresentationContext]:
        """Return what is supported of what this caller proposes."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What all associations of a listener have in common.

    `pause` waits, and returns early when the listener stops.
    """

    receive: ReceiveSettings
    gate: Gate
    tracker: AssociationTracker
    store: StoreHandler
    desk: ServiceDesk
    agreements: Agreements
    pause: Callable[[float], object]


class Association:
    """Serves one connection, in the thread that calls `run`; `stop` may come from another.

    With `tls` a handshake comes first, in that thread, too. It `is_idle` while the caller is not
    admitted: before that, and after its association.
    """

    def __init__(
        self, connection: socket.socket, address: str, parts: Parts, tls: TlsPort | None = None
    ) -> None:
        self._connection = connection
        self._tls = tls
        self._address = address
        self._parts = parts
        self._layer: UpperLayer | None = None
        self._is_stopped = False
        self.is_idle = True

    def drop(self) -> None:
        """Close the connection under the thread that serves it; from another one."""
        self.is_idle = False
        with suppress(OSError):
            # Not the method of an SSLSocket, which would take its keys from under the reader.
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def stop(self) -> None:
        """Abort the association as soon as the instance in hand is answered."""
        self._is_stopped = True
        if self._layer is not None:
            self._layer.stop()

    def run(self) -> None:
        """Serve the connection until it is over, and close it; never raises."""
        try:
            self._connection.settimeout(self._parts.receive.network_timeout_s)
            if self._tls is not None:
                self._secure(self._tls)
            self._serve()
        except HandshakeFailed as error:
            self._parts.gate.not_secured(self._address, error.failure)
        except OSError as error:
            _log.debug("connection_lost", reason=type(error).__name__)
        except Exception:  # noqa: BLE001 -- the thread's edge; others receive on
            _log.error("association_failed", exc_info=True)
        finally:
            self._connection.close()

    def _secure(self, tls: TlsPort) -> None:
        timeout_s = self._parts.receive.network_timeout_s
        secured = tls.wrap(self._connection)
        self._connection = secured
        handshake(secured, min(timeout_s, _HANDSHAKE_S))
        secured.settimeout(timeout_s)

    def _serve(self) -> None:
        receive = self._parts.receive
        layer = self._layer = UpperLayer(
            self._connection,
            max_pdu_bytes=receive.max_pdu_bytes,
            timeout_s=receive.network_timeout_s,
        )
        if self._is_stopped:
            layer.stop()
        try:
            request = read_request(layer.associate_request())
            self._decide(layer, request)
        except AssociationOver as over:
            layer.say_last_word(over)
            layer.await_close(over)

    def _decide(self, layer: UpperLayer, request: AssociationRequest) -> None:
        """Reject a request, or serve the association."""
        if not request.speaks_our_version:
            layer.reject(*_VERSION_NOT_SUPPORTED)
            raise Rejected
        caller = Caller(
            request.calling_ae_title,
            request.called_ae_title,
            self._address,
            peer_certificate(self._connection),
        )
        gate = self._parts.gate
        answer = gate.enter(caller)
        if isinstance(answer, Rejection):
            layer.reject(*answer.primitive)
            gate.rejected(caller, answer)
            raise Rejected
        self.is_idle = False
        try:
            self._serve_caller(layer, request, caller, answer)
        finally:
            gate.leave(answer)
            self.is_idle = True

    def _serve_caller(
        self,
        layer: UpperLayer,
        request: AssociationRequest,
        caller: Caller,
        policy: AssociationPolicy,
    ) -> None:
        parts = self._parts
        agreement = parts.agreements.known(request)
        if agreement is None:
            agreement = self._agreement(layer, request, policy)
            parts.agreements.keep(request, agreement)
        tracked = parts.tracker.established(caller)
        messages = MessageStream(layer, agreement.contexts, timeout_s=parts.receive.dimse_timeout_s)
        pace = Pace(policy, parts.pause)
        talk = Conversation(
            layer, messages, agreement.contexts, tracked, parts.store, parts.desk, pace
        )
        talk.run(parts.tracker, agreement)

    def _agreement(
        self, layer: UpperLayer, request: AssociationRequest, policy: AssociationPolicy
    ) -> Agreement:
        proposal = Proposal(request)
        if proposal.application_context_name != _APPLICATION_CONTEXT:
            layer.reject(*_APPLICATION_CONTEXT_NOT_SUPPORTED)
            raise Rejected
        supported = self._parts.gate.supported(policy, proposal.abstract_syntaxes)
        return proposal.agree(supported, max_pdu_bytes=self._parts.receive.max_pdu_bytes)
