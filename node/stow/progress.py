"""What a server has stored of one delivery: kept between tries, so that only the rest is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fhir.progress import Progress
from node.settled_form import settle_on, settled_form
from node.superseding import carried_over
from storage.sent_objects import RECEIPT_KEY, UNCONFIRMED_KEY, SentObject, told

_STORED: Final = "stored"
_NOT_NAMED: Final = "the server's answer names no objects"


@dataclass
class StoredSoFar:
    """SOP Instance UIDs with their status; `form` is the one in which segmentations are there."""

    progress: Progress
    form: str = ""
    statuses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, progress: Progress) -> StoredSoFar:
        """Take up what an earlier try has reached."""
        receipt = progress.receipt
        return cls(progress, settled_form(progress), json.loads(receipt.get(_STORED, "{}")))

    def add(self, statuses: Mapping[str, str], *, is_proved: bool) -> None:
        """Note, and keep, what one exchange has brought."""
        self.statuses.update(statuses)
        doubt = {} if is_proved else {UNCONFIRMED_KEY: _NOT_NAMED}
        self._keep({_STORED: json.dumps(self.statuses), **doubt})

    def settle_on(self, form: str) -> None:
        """All segmentations are there in this form: later tries go on with it."""
        self.form = form
        settle_on(self.progress, form)

    def lacks(self, sop_instance_uid: str) -> bool:
        """Whether it is still to be sent."""
        return sop_instance_uid not in self.statuses

    def receipt(self, sent: Sequence[SentObject]) -> Mapping[str, str]:
        """What stands in the delivery when all of `sent` is there."""
        before = self.progress.receipt
        doubt = {key: before[key] for key in (UNCONFIRMED_KEY,) if key in before}
        statuses = {each.sop_instance_uid: self.statuses[each.sop_instance_uid] for each in sent}
        return {**carried_over(before), **statuses, RECEIPT_KEY: told(sent), **doubt}

    def _keep(self, more: Mapping[str, str]) -> None:
        self.progress.receipt = {**self.progress.receipt, **more}
        self.progress.keep(self.progress.receipt)
