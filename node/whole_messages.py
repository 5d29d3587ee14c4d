"""One message at a time on an association: the fragments of two must not mix (PS3.7 6.3.1).

pynetdicom (3.0.4) answers an N-EVENT-REPORT in a thread of its own, which may come between command
and data set of a request that is being sent.
"""

from __future__ import annotations

import threading
from typing import Any


def send_whole_messages(event: Any) -> None:
    """Have each message sent as a whole, of whatever thread (handler of `evt.EVT_CONN_OPEN`)."""
    provider = event.assoc.dimse
    turn, send = threading.Lock(), provider.send_msg

    def send_msg(primitive: Any, context_id: int) -> None:
        with turn:
            send(primitive, context_id)

    provider.send_msg = send_msg
