"""Notes the A-ASSOCIATE-RJ that a requestor gets, closing another race of pynetdicom (3.0.4).

Where the answer and the end of the connection are both there before pynetdicom looks whether it
is connected, it calls the association aborted, and forgets why it was rejected.
"""

from __future__ import annotations

from typing import Any

from pynetdicom import evt
from pynetdicom.pdu import A_ASSOCIATE_RJ

_REJECTED_TRANSIENT = 2


class RejectionWatch:
    """Keeps the rejection; `handler` goes to pynetdicom's `AE.associate`."""

    def __init__(self) -> None:
        self.rejection: A_ASSOCIATE_RJ | None = None

    @property
    def is_transient(self) -> bool:
        """Whether the peer rejected for now only (PS3.8 9.3.4, Result 2)."""
        return self.rejection is not None and self.rejection.result == _REJECTED_TRANSIENT

    @property
    def handler(self) -> tuple[Any, Any]:
        """The event and what is to be called on it."""
        return evt.EVT_PDU_RECV, self._note

    def _note(self, event: Any) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu
