"""What a server has stored of one delivery: kept between tries, so that only the rest is sent."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from fhir.progress import Progress
from storage.sent_objects import RECEIPT_KEY, UNCONFIRMED_KEY, SentObject, told

_STORED: Final = "stored"
_FORM: Final = "form"
_NOT_NAMED: Final = "the server's answer names no objects"


@dataclass
class StoredSoFar:
    """SOP Instance UIDs with their status; `form` is the one in which segmentations are there."""

    progress: Progress
    form: str = ""
    statuses: dict[str, str] = field(default_factory=dict)
    is_proved: bool = True

    @classmethod
    def of(cls, progress: Progress) -> StoredSoFar:
        """Take up what an earlier try has reached."""
        receipt = progress.receipt
        return cls(
            progress,
            receipt.get(_FORM, ""),
            json.loads(receipt.get(_STORED, "{}")),
            UNCONFIRMED_KEY not in receipt,
        )

    def add(self, statuses: Mapping[str, str], *, is_proved: bool) -> None:
        """Note, and keep, what one exchange has brought."""
        self.statuses.update(statuses)
        self.is_proved &= is_proved
        self._keep()

    def settle_on(self, form: str) -> None:
        """All segmentations are there in this form: later tries go on with it."""
        self.form = form
        self._keep()

    def lacks(self, sop_instance_uid: str) -> bool:
        """Whether it is still to be sent."""
        return sop_instance_uid not in self.statuses

    def receipt(self, sent: Collection[SentObject]) -> Mapping[str, str]:
        """What stands in the delivery when all of `sent` is there."""
        statuses = {each.sop_instance_uid: self.statuses[each.sop_instance_uid] for each in sent}
        return {**statuses, RECEIPT_KEY: told(tuple(sent)), **self._doubt()}

    def _keep(self) -> None:
        kept = {**self.progress.receipt, _STORED: json.dumps(self.statuses), **self._doubt()}
        self.progress.receipt = kept | ({_FORM: self.form} if self.form else {})
        self.progress.keep(self.progress.receipt)

    def _doubt(self) -> Mapping[str, str]:
        return {} if self.is_proved else {UNCONFIRMED_KEY: _NOT_NAMED}
