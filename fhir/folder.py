"""Delivering to a folder: the Bundle as a JSON file, for sites without a FHIR server.

References are logical, since nobody was asked; whoever carries the file on resolves them.
"""

from __future__ import annotations

from collections.abc import Mapping

from config.settings import FolderDestination
from fhir.bundle import build_bundle, bundle_json, finished_at
from fhir.diagnostic_report import report_identifier
from fhir.errors import TransientFhirError
from fhir.identifiers import result_identity
from fhir.references import logical_references
from storage.durable import durable_write
from storage.errors import StorageError
from storage.records import FinishedJob


def deliver_to_folder(
    finished: FinishedJob,
    destination: FolderDestination,
    organization_name: str,
    timezone: str,
) -> Mapping[str, str]:
    """Write the report durably and return its file name (`file`).

    The name comes from the result's identifier alone, so a repeat writes the same file again.

    Raises:
        TransientFhirError: the folder cannot be written to now.
        PermanentFhirError: the job cannot be told in FHIR.
    """
    bundle = build_bundle(
        finished,
        content=destination,
        organization_name=organization_name,
        timezone=timezone,
        references=logical_references(finished, destination),
        issued=finished_at(finished),
        is_repeatable=True,
    )
    identity = result_identity(finished, destination.identifier_system)
    name = f"report-{report_identifier(identity).value}.json"
    try:
        durable_write(destination.folder / name, bundle_json(bundle).encode())
    except StorageError as error:
        text = f"the folder cannot be written to: {error}"
        raise TransientFhirError("folder", text) from None
    return {"file": name}
