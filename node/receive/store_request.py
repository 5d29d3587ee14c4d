"""A C-STORE request, and its data set on the way from the wire to a file.

Nothing is decoded but the identity; the data set's bytes stay as they came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from node.receive.arriving_instance import ArrivingInstance
from node.receive.association_tracking import TrackedAssociation
from node.receive.command_set import Command
from node.receive.dimse_status import StoreFailure, StoreRefused
from node.receive.file_meta import file_head
from node.receive.gathered_blocks import ReadInto, gathered
from node.receive.header_memory import HeaderMemory
from node.receive.instance_header import InstanceHeader
from node.receive.negotiation import AcceptedContext
from node.receive.slow_arrival import SlowArrival
from storage.dicom_records import IncomingInstance
from storage.instance_files import IncomingFile, SpareFile


class StoreRequest(NamedTuple):
    """A C-STORE request, the context it came on, and what reads the data set that is yet to come.

    `max_bytes` is the largest data set that is taken; None: any. `spare` is a file for it that is
    made already, `buffer` the memory that it is gathered in, `memory` what the association's
    instances before were like. `acknowledged` hears of one for which a receipt was written.
    """

    command: Command
    context: AcceptedContext
    read_into: ReadInto
    tracked: TrackedAssociation
    max_bytes: int | None
    spare: SpareFile
    buffer: memoryview
    memory: HeaderMemory
    acknowledged: Callable[[IncomingInstance], None]

    def pass_over_the_rest(self) -> None:
        """Read the data set to its end; what the buffer holds of it is lost."""
        while self.read_into(self.buffer):
            pass


class Handled(NamedTuple):
    """Why an instance was not taken, or None; and what is to be done when that is answered."""

    failure: StoreFailure | None = None
    after: Callable[[], None] | None = None


def check_command(request: StoreRequest) -> None:
    """Command set and presentation context must name the same SOP Class (PS3.4 B.2.3).

    Raises:
        StoreRefused: they do not, or no instance is named.
    """
    command = request.command
    if command.sop_class_uid != request.context.abstract_syntax.encode("ascii"):
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if not command.sop_instance_uid:
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)


def receive(
    incoming: IncomingFile, request: StoreRequest, slow: SlowArrival
) -> tuple[InstanceHeader, ArrivingInstance]:
    """Write what comes; return whose it is, and what is known of it.

    Raises:
        StoreRefused: it is too large, unreadable, or not what the command says.
        AssociationOver: the association ended before the data set did. OSError: a write failed.
    """
    command, transfer_syntax_uid = request.command, request.context.transfer_syntax
    head = file_head(command.sop_class_uid, command.sop_instance_uid, transfer_syntax_uid)
    arriving = ArrivingInstance(transfer_syntax_uid, request.memory)
    most = request.max_bytes
    read_into = request.read_into if most is None else _limited(request.read_into, most)
    blocks = gathered(head, read_into, request.buffer, slow.is_due, arriving.digest)
    for content, data_set in blocks:
        incoming.write(content)
        arriving.take(data_set)
        slow.look(arriving)
        if most is not None and arriving.inflated_bytes > most:
            raise StoreRefused(StoreFailure.TOO_LARGE)
    header = arriving.finish()
    _check_against_command(header, command)
    return header, arriving


def _limited(read_into: ReadInto, most: int) -> ReadInto:
    """Read no more than that; whoever sends more is refused at once, not when a block is full."""
    left = most

    def limited(memory: memoryview) -> int:
        nonlocal left
        size = read_into(memory[: left + 1])
        left -= size
        if left < 0:
            raise StoreRefused(StoreFailure.TOO_LARGE)
        return size

    return limited


def _check_against_command(header: InstanceHeader, command: Command) -> None:
    """Command set and data set must name the same SOP (PS3.4 B.2.3)."""
    if header.sop_class_uid.encode("ascii") != command.sop_class_uid:
        raise StoreRefused(StoreFailure.SOP_CLASS_MISMATCH)
    if header.sop_instance_uid.encode("ascii") != command.sop_instance_uid:
        raise StoreRefused(StoreFailure.SOP_INSTANCE_MISMATCH)
