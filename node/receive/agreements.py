"""What was agreed before: a sender proposes the very same, association after association.

To decode and to negotiate 128 presentation contexts takes longer than to take an instance, and
there are modalities that open an association for each image. The answer hangs on nothing but the
request, which names the sender, and on settings, which do not change while a process runs.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from node.receive.negotiation import Agreement, AssociationRequest

_MOST = 64
_LONGEST_BYTES = 1 << 16


class Agreements:
    """Remembers the last answers of a listener; one object serves all association threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Agreement] = OrderedDict()

    def known(self, request: AssociationRequest) -> Agreement | None:
        """Return what the very same request was answered with, if that is remembered."""
        with self._lock:
            agreement = self._known.get(request.body)
            if agreement is not None:
                self._known.move_to_end(request.body)
            return agreement

    def keep(self, request: AssociationRequest, agreement: Agreement) -> None:
        """Remember an answer; the one that was asked for longest ago is forgotten for it."""
        if len(request.body) > _LONGEST_BYTES:
            return
        with self._lock:
            self._known[request.body] = agreement
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
