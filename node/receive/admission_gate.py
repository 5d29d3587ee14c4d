"""The gate of a listener: who comes in, how many at once, and what is negotiated with them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import structlog
from pynetdicom.presentation import PresentationContext

from config.settings import Settings
from node.receive.admission import Caller, Rejection, rejection
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
    ) -> None:
        self._settings = settings
        self._db = db
        self._files = files
        self._services = services
        self._lock = threading.Lock()
        self._inside = 0

    def enter(self, caller: Caller) -> Rejection | None:
        """Admit a caller and count it, or tell why not."""
        settings = self._settings
        disk_is_low = self._files.is_low(settings.storage.disk_low_mib)
        reason = rejection(
            caller, settings.receive, settings.node.ae_title, disk_is_low=disk_is_low
        )
        if reason is not None:
            return reason
        with self._lock:
            if self._inside >= settings.receive.max_associations:
                return Rejection.TOO_MANY_ASSOCIATIONS
            self._inside += 1
        return None

    def leave(self, caller: Caller) -> None:
        """Count an admitted caller no longer."""
        with self._lock:
            self._inside -= 1

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
