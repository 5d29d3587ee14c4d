"""A recorder with receipts, as a receiver process has one."""

from __future__ import annotations

from collections import Counter

from storage.associations import open_association
from storage.database import Database
from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.instances import instances_of_series
from storage.late_rows import LateRow
from storage.receipts import Receipts
from tests.unit.storage.kept_files import kept, undigested
from tests.unit.storage.samples import (
    NOW,
    SERIES,
    incoming,
)


class ReceivingNode:
    """A recorder with receipts, one association, and what it was told."""

    def __init__(self, db: Database, files: InstanceFiles) -> None:
        self.db, self.files = db, files
        self.recorder = InstanceRecorder(db, files, Receipts(files.data_dir))
        self.told: Counter[str] = Counter()
        self.association_id = open_association(
            db, calling_ae_title="PACS", called_ae_title="RADNODE", address="", now=NOW
        )

    def tell(self, outcome: str) -> None:
        self.told[outcome] += 1

    def send(self, number: int) -> StoreOutcome:
        one = kept(self.files, incoming(number, association_id=self.association_id))
        return self.recorder.record(one, self.tell)

    def record(self, number: int, content: str = "", **changed: object) -> IncomingInstance:
        one = incoming(number, content=content, association_id=self.association_id)
        one = kept(self.files, one._replace(**changed))  # type: ignore[arg-type]
        assert self.recorder.record(one, self.tell) is StoreOutcome.STORED
        return one

    def acknowledge(self, number: int, data_set: bytes = b"data set") -> LateRow:
        """Receive one whose digest is not taken yet."""
        one = incoming(number, association_id=self.association_id)
        row = self.recorder.acknowledged(undigested(self.files, one, data_set), self.tell)
        assert row is not None
        return row

    def digests(self) -> list[str]:
        return [one.dataset_digest for one in instances_of_series(self.db, SERIES)]

    def numbers(self) -> list[int | None]:
        return [one.instance_number for one in instances_of_series(self.db, SERIES)]
