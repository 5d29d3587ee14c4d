"""Delivering to a folder: the Bundle as a JSON file, for sites without a FHIR server.

References are logical, since nobody was asked; whoever carries the file on resolves them. Where the
site limits the entries of a Bundle there are several files, to be posted in the order of their
names: what one of them says of another is a conditional reference (R4 http.html#transaction).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from config.settings import FolderDestination
from fhir.bundle import build_bundle, bundle_json, finished_at
from fhir.diagnostic_report import report_identifier
from fhir.errors import TransientFhirError
from fhir.identifiers import result_identity
from fhir.json_reading import objects
from fhir.parts import self_contained_parts
from fhir.references import logical_references
from fhir.report_pdf import told_left_out
from storage.durable import durable_write
from storage.errors import StorageError
from storage.records import FinishedJob

Files = Mapping[str, bytes]
"""Contents by name, in the order in which they are to be posted."""


def deliver_to_folder(
    finished: FinishedJob,
    destination: FolderDestination,
    organization_name: str,
    timezone: str,
) -> Mapping[str, str]:
    """Write the report durably and return its file names (`file`, one or more with spaces between).

    The names come from the result's identifier alone, so a repeat writes the same files again, and
    a withdrawal their successors. A PDF that is too large for an EHR stays away (`left_out`).

    Raises:
        TransientFhirError: the folder cannot be written to now.
        PermanentFhirError: the job cannot be told in FHIR.
    """
    identity = result_identity(finished, destination.identifier_system)
    stem = f"report-{report_identifier(identity).value}"
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
    files = _files(stem, bundle_json(build()), destination.most_entries)
    try:
        before = _files_before(destination.folder, stem)
        if finished.withdrawn_at is not None or not before.items() <= files.items():
            update = bundle_json(build(is_update=True))
            files = _files(stem, update, destination.most_entries)
        _write(destination.folder, files, before.keys() - files.keys())
    except (StorageError, OSError) as error:
        text = f"the folder cannot be written to: {_kind(error)}"
        raise TransientFhirError("folder", text) from None
    return {"file": " ".join(files), **told_left_out(finished)}


def _files(stem: str, bundle: str, most_entries: int | None) -> Files:
    told = json.loads(bundle)
    parts = self_contained_parts(objects(told["entry"]), most_entries)
    if len(parts) == 1:
        return {f"{stem}.json": bundle.encode()}
    width = len(str(len(parts)))
    return {
        f"{stem}-{number:0{width}}-of-{len(parts)}.json": json.dumps(
            {**told, "entry": part}, ensure_ascii=False
        ).encode()
        for number, part in enumerate(parts, 1)
    }


def _files_before(folder: Path, stem: str) -> Files:
    """What an earlier try, or an earlier end of the same job, has written."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(f"{stem}*.json"))}


def _write(folder: Path, files: Files, stale: Iterable[str]) -> None:
    for name, content in files.items():
        durable_write(folder / name, content)
    # Last: an earlier end must not be gone before the later one is there, nor be posted after it.
    for name in stale:
        (folder / name).unlink(missing_ok=True)


def _kind(error: Exception) -> str:
    return str(error) if isinstance(error, StorageError) else type(error).__name__
