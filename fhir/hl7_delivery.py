"""Delivering a finished job as HL7 v2 message, for sites whose reports still travel by ORU."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from config.certificates import UnusableFile
from config.settings import Hl7Destination
from config.tls_context import client_context
from fhir.bundle import finished_at
from fhir.errors import TransientFhirError
from fhir.hl7_acknowledgement import check_acknowledgement
from fhir.hl7_report import build_oru
from fhir.mllp import exchange
from storage.records import FinishedJob

_CODECS: Mapping[str, str] = {"UNICODE UTF-8": "utf-8", "8859/1": "latin-1"}


class Hl7Client:
    """One receiver of ORU^R01, such as a RIS or a reporting system; connects for each message."""

    def __init__(self, destination: Hl7Destination, timezone: str) -> None:
        self._destination = destination
        self._timezone = timezone

    def check(self) -> None:
        """Read the certificates.

        Raises:
            TransientFhirError: they cannot be used; the reports wait until they can.
        """
        self._tls()

    def deliver(self, finished: FinishedJob) -> Mapping[str, str]:
        """Send the report and return what the receiver acknowledged (`control_id`, `ack`).

        A repeat carries the same control id.

        Raises:
            TransientFhirError: try again later.
            PermanentFhirError: the receiver refused it (AE, AR), or it cannot be told.
            PatientNotResolved: nothing was sent: it cannot be said whose the result is.
        """
        destination = self._destination
        message = build_oru(
            finished,
            destination=destination,
            timezone=self._timezone,
            issued=finished_at(finished),
        )
        answer = exchange(
            (destination.host, destination.port),
            # A receiver of Latin-1 cannot hold other letters: it reads a question mark.
            message.content.encode(_CODECS[destination.character_set], "replace"),
            timeout_s=destination.timeout_s,
            tls=self._tls(),
            host_name=destination.tls.host_name,
        )
        code = check_acknowledgement(answer.decode("utf-8", "replace"), message.control_id)
        return {"control_id": message.control_id, "ack": code}

    def _tls(self) -> ssl.SSLContext | None:
        """Made for each message, so that renewed certificates are used without a restart."""
        if not self._destination.tls.enabled:
            return None
        try:
            return client_context(self._destination.tls)
        except UnusableFile as error:
            text = f"certificates cannot be used: {error}"
            raise TransientFhirError("certificates", text) from None
