"""Delivering to a folder: the Bundle as a JSON file, for sites without a FHIR server.

References are logical, since nobody was asked; whoever carries the file on resolves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

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

    The name comes from the result's identifier alone, so a repeat writes the same file again, and a
    withdrawal its successor.

    Raises:
        TransientFhirError: the folder cannot be written to now.
        PermanentFhirError: the job cannot be told in FHIR.
    """
    identity = result_identity(finished, destination.identifier_system)
    name = f"report-{report_identifier(identity).value}.json"
    build = partial(
        build_bundle,
        finished,
        content=destination,
        organization_name=organization_name,
        timezone=timezone,
        references=logical_references(finished, destination),
        issued=finished_at(finished),
        is_repeatable=True,
    )
    told = bundle_json(build()).encode()
    try:
        if finished.withdrawn_at is not None or _says_else(destination.folder / name, told):
            told = bundle_json(build(is_update=True)).encode()
        durable_write(destination.folder / name, told)
    except (StorageError, OSError) as error:
        text = f"the folder cannot be written to: {_kind(error)}"
        raise TransientFhirError("folder", text) from None
    return {"file": name}


def _kind(error: Exception) -> str:
    return str(error) if isinstance(error, StorageError) else type(error).__name__


def _says_else(file: Path, told: bytes) -> bool:
    """Whether an earlier end of the same job was told in this file."""
    return file.exists() and file.read_bytes() != told
