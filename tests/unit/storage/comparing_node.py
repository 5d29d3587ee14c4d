"""A node that receives real files, with whatever digest a test wants them to have."""

from __future__ import annotations

from hashlib import sha256

import pytest

from node.routing import input_digest
from storage.database import Database
from storage.dicom_records import IncomingInstance, InstanceRecord, StoreOutcome
from storage.errors import Quarantined
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series, record_instance
from storage.job_inputs import InputInstance, JobInput
from tests.unit.storage.kept_files import HEAD, written
from tests.unit.storage.samples import SERIES, digest_of, incoming

FORGED = "xxh3:" + "ab" * 16
"""What data sets have that were made to share it."""


def sure_digest_of(data_set: bytes) -> str:
    return f"sha256:{sha256(data_set).hexdigest()}"


def earlier_digests_of(data_set: bytes) -> list[str]:
    """What earlier versions had; nobody makes the second kind any more, or looks into it."""
    digits = sha256(data_set).hexdigest()
    return [digits, f"blake3:{digits}"]


class ComparingNode:
    """Rows and files of one node; `digest`, where it is given, is what is said of a data set."""

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self.db, self.files = db, files
        self._recorder = InstanceRecorder(db, files)

    def on_disk(self, data_set: bytes, digest: str = "", **changed: object) -> IncomingInstance:
        """Return an instance with its file; `number` or any other field `changed`."""
        one = incoming(int(str(changed.pop("number", 1))))
        one = one._replace(**changed)  # type: ignore[arg-type]
        one = one._replace(dataset_digest=digest or digest_of(data_set))
        return written(self.files, one, data_set)

    def had(self, data_set: bytes, digest: str = "", **changed: object) -> IncomingInstance:
        """Record an instance as an earlier version did: by its digest alone."""
        one = self.on_disk(data_set, digest, **changed)
        record_instance(self.db, one)
        return one

    def receives(self, data_set: bytes, digest: str = "", **changed: object) -> StoreOutcome:
        return self._recorder.record(self.on_disk(data_set, digest, **changed))

    def sets_aside(self, data_set: bytes, digest: str = "", **changed: object) -> int:
        """Receive one that contradicts what is known; the number that it gets."""
        with pytest.raises(Quarantined) as caught:
            self.receives(data_set, digest, **changed)
        return caught.value.quarantine_id

    @property
    def row(self) -> InstanceRecord:
        """The only one of the series."""
        (row,) = instances_of_series(self.db, SERIES)
        return row

    @property
    def input_digest(self) -> str:
        """What a job is pinned to that reads it."""
        one = InputInstance(self.row.sop_instance_uid, self.row.path, self.row.dataset_digest)
        return input_digest((JobInput("t1", SERIES, "the only one", (one,)),))

    def data_sets(self, folder: str = "instances") -> list[bytes]:
        """Return what all files below a folder hold."""
        paths = (path for path in (self.files.data_dir / folder).rglob("*") if path.is_file())
        return sorted(path.read_bytes().removeprefix(HEAD) for path in paths)
