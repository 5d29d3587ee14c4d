"""The gate of a listener: who comes in, how many at once, and what is negotiated with them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pynetdicom.presentation import PresentationContext

from config.settings import Settings
from config.tls_failure import TlsFailure
from node.receive.admission import Caller, Rejection, rejection
from node.receive.association_slots import AssociationSlots
from node.receive.rejection_book import RejectionBook
from node.receive.sender_policy import AssociationPolicy, SenderPolicy
from node.receive.services import Service
from node.receive.transfer_syntaxes import supported_contexts
from storage.instance_files import InstanceFiles


class AdmissionGate:
    """Applies the settings to every caller; one object serves all association threads."""

    def __init__(
        self,
        settings: Settings,
        book: RejectionBook,
        files: InstanceFiles,
        services: Mapping[str, Service],
        slots: AssociationSlots,
        senders: SenderPolicy,
    ) -> None:
        self._settings = settings
        self._files = files
        self._services = services
        self._book = book
        self._senders = senders
        self._slots = slots

    def enter(self, caller: Caller) -> AssociationPolicy | Rejection:
        """Admit a caller and count it, or tell why not."""
        settings = self._settings
        disk_is_low = self._files.is_low(settings.storage.disk_low_mib)
        reason = rejection(
            caller, settings.receive, settings.node.ae_title, disk_is_low=disk_is_low
        )
        if reason is not None:
            return reason
        policy = self._senders.begin(caller.calling_ae_title)
        if policy is None:
            return Rejection.TOO_MANY_OF_SENDER
        if not self._slots.take():
            policy.end(time.monotonic())
            return Rejection.TOO_MANY_ASSOCIATIONS
        return policy

    def leave(self, policy: AssociationPolicy) -> None:
        """Count an admitted caller no longer."""
        policy.end(time.monotonic())
        self._slots.give_back()

    def not_secured(self, address: str, failure: TlsFailure) -> None:
        """Count a failed TLS handshake; log and audit trail are told at a bearable rate."""
        self._book.note(failure.value, Caller("", "", address))

    def rejected(self, caller: Caller, reason: Rejection) -> None:
        """Count a rejection; log and audit trail are told at a bearable rate."""
        self._book.note(reason.code, caller)

    def supported(
        self, policy: AssociationPolicy, abstract_syntaxes: tuple[str, ...]
    ) -> list[PresentationContext]:
        """Return what is supported of what a caller proposes, and may send."""
        allowed = [uid for uid in abstract_syntaxes if uid in self._services or policy.allows(uid)]
        return supported_contexts(allowed, self._services)
