"""What waits for its row, and what of it is recorded next, in one transaction.

Calls have threads that wait for them, and senders behind those; rows of what is acknowledged
already have nobody. So calls go first, unless that could change what comes of them.
"""

from __future__ import annotations

import threading
from collections import deque

from storage.dicom_records import IncomingInstance, StoreOutcome
from storage.late_rows import LateRow

LARGEST_BATCH = 128


class Call:
    """One call of `record`, and the lock on which its thread waits for its end or for the lead.

    Without an instance it waits for the rows of all that came before.
    """

    __slots__ = ("incoming", "result", "waiting")

    def __init__(self, incoming: IncomingInstance | None) -> None:
        self.incoming = incoming
        self.result: StoreOutcome | Exception | None = None
        self.waiting = threading.Lock()
        self.waiting.acquire()


Queued = Call | LateRow


def next_batch(queue: deque[Queued], *, may_rows_wait: bool) -> list[Queued]:
    """Take off the queue what is recorded next.

    What came later under the same UID waits for the batch after. `may_rows_wait`: there is room
    for more of them.
    """
    calls = [one for one in queue if isinstance(one, Call)]
    is_batch = 0 < len(calls) <= LARGEST_BATCH
    if not (may_rows_wait and is_batch and _may_calls_go_first(queue)):
        return _in_order(queue)
    rows = [one for one in queue if not isinstance(one, Call)]
    queue.clear()
    queue.extend(rows)
    return list(calls)


def _may_calls_go_first(queue: deque[Queued]) -> bool:
    """Whether none of the calls has to wait for a row, be it of an older version.

    Rows that were tried in vain have nobody else who tries them soon.
    """
    if any(isinstance(one, LateRow) and one.has_failed for one in queue):
        return False
    uids = {one.incoming.sop_instance_uid for one in queue if one.incoming is not None}
    # It is less, too, where a call without an instance waits for all of them.
    return len(uids) == len(queue)


def _in_order(queue: deque[Queued]) -> list[Queued]:
    batch: list[Queued] = []
    uids: set[str] = set()
    while queue and len(batch) < LARGEST_BATCH:
        incoming = queue[0].incoming
        if incoming is not None:
            if incoming.sop_instance_uid in uids:
                break
            uids.add(incoming.sop_instance_uid)
        batch.append(queue.popleft())
    return batch
