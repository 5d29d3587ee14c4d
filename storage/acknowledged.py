"""What becomes of an instance that was acknowledged before its row was written."""

from __future__ import annotations

from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.errors import IdentityConflict, Quarantined, StorageError
from storage.instance_files import InstanceFiles
from storage.instances import is_kept
from storage.quarantine import quarantine


def acknowledged(
    files: InstanceFiles, incoming: IncomingInstance, dataset_digest: str = ""
) -> IncomingInstance:
    """Return what the row of an instance says that was acknowledged before.

    A receipt does not tell the digest; where nobody does, it is taken of the file at its place.

    Raises:
        StorageError: the file cannot be read, or is not whole.
    """
    if not dataset_digest:
        files.check_size(incoming.path, incoming.size_bytes)
        dataset_digest = files.dataset_digest(incoming.path)
    return incoming._replace(dataset_digest=dataset_digest, is_late=True)


def settled(
    db: Database,
    files: InstanceFiles,
    incoming: IncomingInstance,
    result: StoreOutcome | StorageError,
) -> StoreOutcome | Quarantined:
    """See to the file, and return what it came to; a contradiction goes into the quarantine.

    Raises:
        StorageError: there is no row yet; file and receipt stay.
    """
    if isinstance(result, IdentityConflict):
        return quarantine(db, files, incoming, result)
    if isinstance(result, StorageError):
        raise result
    # A commit of which no answer came may have been one: then the row names this very file.
    if result is StoreOutcome.DUPLICATE and not is_kept(db, incoming.path):
        files.discard(incoming.path)
    return result
