"""Notes the A-ASSOCIATE-RJ that a requestor gets, closing another race of pynetdicom (3.0.4).

Where the answer and the end of the connection are both there before pynetdicom looks whether it
is connected, it calls the association aborted, and forgets why it was rejected.
"""

from __future__ import annotations

from typing import Any

from pynetdicom.pdu import A_ASSOCIATE_RJ


class RejectionWatch:
    """Keeps the rejection; `handle` is a handler of `evt.EVT_PDU_RECV`."""

    def __init__(self) -> None:
        self.rejection: A_ASSOCIATE_RJ | None = None

    def handle(self, event: Any) -> None:
        """Note the PDU if it is a rejection."""
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            self.rejection = event.pdu
