"""The gate of a listener: who comes in, how many at once, and what is negotiated with them."""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from pynetdicom.presentation import PresentationContext

from config.settings import Settings
from node.receive.admission import Caller, Rejection, rejection
from node.receive.association_slots import AssociationSlots
from node.receive.association_tracking import record_audit
from node.receive.services import Service
from node.receive.transfer_syntaxes import supported_contexts
from storage.database import Database
from storage.instance_files import InstanceFiles

_log = structlog.get_logger()


class AdmissionGate:
    """Applies the settings to every caller; one object serves all association threads."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        files: InstanceFiles,
        services: Mapping[str, Service],
        slots: AssociationSlots,
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._services = services
        self._slots = slots

    def enter(self, caller: Caller) -> Rejection | None:
        """Admit a caller and count it, or tell why not."""
        settings = self._settings
        disk_is_low = self._files.is_low(settings.storage.disk_low_mib)
        reason = rejection(
            caller, settings.receive, settings.node.ae_title, disk_is_low=disk_is_low
        )
        if reason is None and not self._slots.take():
            return Rejection.TOO_MANY_ASSOCIATIONS
        return reason

    def leave(self, caller: Caller) -> None:
        """Count an admitted caller no longer."""
        self._slots.give_back()

    def rejected(self, caller: Caller, reason: Rejection) -> None:
        """Tell it in log and audit trail."""
        _log.warning(
            "association_rejected",
            reason=reason.code,
            calling_ae_title=caller.calling_ae_title,
            called_ae_title=caller.called_ae_title,
            address=caller.address,
        )
        record_audit(
            self._db,
            event="association_rejected",
            outcome="failure",
            caller=caller,
            detail={"reason": reason.code},
        )

    def supported(
        self, caller: Caller, abstract_syntaxes: tuple[str, ...]
    ) -> list[PresentationContext]:
        """Return what is supported of what a caller proposes."""
        return supported_contexts(abstract_syntaxes, self._services)
