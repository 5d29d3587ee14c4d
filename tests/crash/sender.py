"""A sender that remembers what was acknowledged, and sends again what was not."""

from __future__ import annotations

import random
import threading
from collections import Counter

from tests.crash.known_instances import SOP_CLASS_UID, KnownInstance
from tests.peers.raw_scu import Ended, Proposal, RawAssociation

SUCCESS = 0x0000
_LONGEST_ASSOCIATION = 40
_PAUSE_S = 0.05
_SHARE_OF_REPEATS = 0.05


class Sender:
    """Sends its instances one after another, over many associations.

    An instance counts as acknowledged at the moment its answer 0x0000 was read, never before.
    Now and then one that was acknowledged is sent once more, as a PACS does.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.acknowledged: list[KnownInstance] = []
        self.sent_again = 0
        self.interruptions = 0
        self.other_answers: Counter[int] = Counter()
        self._seed, self._number = seed, number
        self._chance = random.Random(f"{seed} {number}")
        self._next = KnownInstance(seed, number, 0)
        self._was_tried = False

    def known(self) -> list[KnownInstance]:
        """Return all that the node may have: the acknowledged ones and the one under way."""
        return [*self.acknowledged, self._next]

    def work(self, port: int, stop: threading.Event) -> None:
        """Send until told to stop; an association that breaks is followed by another."""
        while not stop.is_set():
            try:
                with RawAssociation(port, [Proposal(SOP_CLASS_UID)]) as association:
                    self._send_some(association, stop)
            except Ended:
                self.interruptions += 1
                stop.wait(_PAUSE_S)

    def _send_some(self, association: RawAssociation, stop: threading.Event) -> None:
        for _ in range(self._chance.randint(1, _LONGEST_ASSOCIATION)):
            if stop.is_set():
                return
            if self.acknowledged and self._chance.random() < _SHARE_OF_REPEATS:
                self._repeat(association, self._chance.choice(self.acknowledged))
            self._send_next(association)

    def _send_next(self, association: RawAssociation) -> None:
        self.sent_again += self._was_tried
        self._was_tried = True
        if self._store(association, self._next) == SUCCESS:
            self.acknowledged.append(self._next)
            self._next = KnownInstance(self._seed, self._number, len(self.acknowledged))
            self._was_tried = False

    def _repeat(self, association: RawAssociation, instance: KnownInstance) -> None:
        self.sent_again += 1
        self._store(association, instance)

    def _store(self, association: RawAssociation, instance: KnownInstance) -> int:
        answer = association.store(0, SOP_CLASS_UID, instance.sop_instance_uid, instance.data_set())
        if answer.status != SUCCESS:
            self.other_answers[answer.status] += 1
        return answer.status
