"""What one sender may send and how fast: asked at negotiation, and for each instance.

No socket, no database, no clock of its own. A sender that sends faster than it may is not
refused but slowed down: who asks sleeps for as long as it is told before it reads on, or answers,
and TCP holds the sender back. All associations of a sender share one allowance, over all receiver
processes of the node.
"""

from __future__ import annotations

from config.settings import ReceiveSettings, SenderSettings
from config.sop_classes import is_among
from node.receive.allowance import Allowance
from node.receive.association_slots import AssociationSlots
from node.receive.sender_places import SenderPlace
from node.receive.shared_file import SharedFile

MIB = 2**20


class _Usage:
    """What all associations of one sender use together."""

    def __init__(self, sender: SenderSettings, file: SharedFile) -> None:
        place = SenderPlace(file, sender.ae_title)
        mib_per_s, most = sender.max_mib_per_s, sender.max_associations
        self.instances = Allowance(sender.max_instances_per_s, place.instances_paid)
        self.data_bytes = Allowance(
            None if mib_per_s is None else mib_per_s * MIB, place.bytes_paid
        )
        self.slots = None if most is None else AssociationSlots(most, file, place.first_slot)


class SenderPolicy:
    """The limits of all senders; safe to ask from many threads.

    They are kept in `file`, which the receiver processes of a node share.
    """

    def __init__(self, receive: ReceiveSettings, file: SharedFile) -> None:
        self._senders = {sender.ae_title: sender for sender in reversed(receive.senders)}
        self._usage = {title: _Usage(item, file) for title, item in self._senders.items()}

    def begin(self, calling_ae_title: str) -> AssociationPolicy | None:
        """Count an association of an admitted sender; None where it has too many already.

        Who is not listed (`allow_any_sender`) has no limits of its own.
        """
        usage = self._usage.get(calling_ae_title)
        if usage is None:
            return AssociationPolicy(None, None)
        if usage.slots is not None and not usage.slots.take():
            return None
        return AssociationPolicy(self._senders[calling_ae_title], usage)


class AssociationPolicy:
    """What one association may bring, and how fast; `end` it when it is over.

    For the thread of that association.
    """

    def __init__(self, sender: SenderSettings | None, usage: _Usage | None) -> None:
        self._sender = sender
        self._usage = usage
        self._unbooked_bytes = 0

    @property
    def is_paced(self) -> bool:
        """Whether there is any limit of speed."""
        usage = self._usage
        return usage is not None and (usage.instances.is_limited or usage.data_bytes.is_limited)

    @property
    def max_instance_bytes(self) -> int | None:
        """Size of a data set, as it comes, above which it is refused (0x0124); None: no limit."""
        return None if self._sender is None else self._sender.max_instance_mib * MIB

    def allows(self, sop_class_uid: str) -> bool:
        """Whether instances of this SOP Class are taken: else its contexts are not accepted."""
        sender = self._sender
        if sender is None or not sender.sop_classes:
            return True
        return is_among(sop_class_uid, sender.sop_classes)

    def delay_after_bytes(self, count: int, now_s: float) -> float:
        """Book bytes of a data set; return the seconds to wait before reading on.

        What is not worth a booking is booked with what comes next.
        """
        usage = self._usage
        if usage is None:
            return 0.0
        self._unbooked_bytes += count
        if self._unbooked_bytes < usage.data_bytes.worth_booking:
            return 0.0
        return self._book_bytes(usage, now_s)

    def delay_after_instance(self, now_s: float) -> float:
        """Book one instance; return the seconds to wait before it is answered."""
        return 0.0 if self._usage is None else self._usage.instances.take(1, now_s)

    def end(self, now_s: float) -> None:
        """Count the association no longer; doing it again changes nothing."""
        usage, self._usage = self._usage, None
        if usage is None:
            return
        # Else many short associations would be a way around the limit.
        self._book_bytes(usage, now_s)
        if usage.slots is not None:
            usage.slots.give_back()

    def _book_bytes(self, usage: _Usage, now_s: float) -> float:
        count, self._unbooked_bytes = self._unbooked_bytes, 0
        return usage.data_bytes.take(count, now_s)
