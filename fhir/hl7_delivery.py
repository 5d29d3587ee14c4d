"""Delivering a finished job as HL7 v2 message, for sites whose reports still travel by ORU."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from config.settings import Hl7Destination
from fhir.bundle import finished_at
from fhir.errors import PermanentFhirError
from fhir.hl7_acknowledgement import check_acknowledgement
from fhir.hl7_report import build_oru
from fhir.mllp import exchange
from storage.records import FinishedJob

_CODECS: Mapping[str, str] = {"UNICODE UTF-8": "utf-8", "8859/1": "latin-1"}


class Hl7Client:
    """One receiver of ORU^R01, such as a RIS or a reporting system; connects for each message."""

    def __init__(self, destination: Hl7Destination, timezone: str) -> None:
        """Read the certificates.

        Raises:
            PermanentFhirError: they cannot be used.
        """
        self._destination = destination
        self._timezone = timezone
        self._tls = _tls_context(destination)

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
            tls=self._tls,
        )
        code = check_acknowledgement(answer.decode("utf-8", "replace"), message.control_id)
        return {"control_id": message.control_id, "ack": code}


def _tls_context(destination: Hl7Destination) -> ssl.SSLContext | None:
    """Verifies always; shows a certificate of our own where the site asks for one."""
    if not destination.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=destination.ca_file)
        if destination.certificate_file:
            context.load_cert_chain(destination.certificate_file, destination.key_file)
    except OSError as error:
        text = f"certificates cannot be used: {type(error).__name__}"
        raise PermanentFhirError("certificates", text) from None
    return context
