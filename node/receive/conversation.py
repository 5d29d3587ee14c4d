"""The messages of one accepted association, one after another, until it is over.

A C-STORE's data set is read by the store handler; everything else is rare, and goes to the
service desk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from node.receive.association_ends import AssociationOver, NodeFailed
from node.receive.association_tracking import AssociationTracker, TrackedAssociation
from node.receive.command_set import RESPONSE, Command, CommandField, response
from node.receive.dimse_status import SUCCESS
from node.receive.gathered_blocks import block_buffer
from node.receive.header_memory import HeaderMemory
from node.receive.message_stream import MessageStream
from node.receive.negotiation import AcceptedContext, Agreement
from node.receive.pacing import Pace
from node.receive.service_messages import ServiceDesk
from node.receive.store_handler import StoreHandler
from node.receive.store_request import Handled, StoreRequest
from node.receive.upper_layer import UpperLayer
from storage.dicom_records import IncomingInstance

_log = structlog.get_logger()


class Conversation:
    """Receives and answers the messages of one association."""

    def __init__(
        self,
        layer: UpperLayer,
        messages: MessageStream,
        contexts: Mapping[int, AcceptedContext],
        tracked: TrackedAssociation,
        store: StoreHandler,
        desk: ServiceDesk,
        pace: Pace,
    ) -> None:
        self._layer = layer
        self._messages = messages
        self._contexts = contexts
        self._tracked = tracked
        self._store = store
        self._desk = desk
        self._pace = pace
        self._read_into = pace.reader(messages)
        self._spare = store.spare_file()
        self._buffer = block_buffer()
        self._memory = HeaderMemory()
        self._short_way = None if pace.may_wait else store.short_way(layer, messages)

    def run(self, tracker: AssociationTracker, agreement: Agreement) -> None:
        """Accept the association, serve it, and put its end on record.

        Raises:
            AssociationOver: always; the peer has been told.
        """
        over: AssociationOver = NodeFailed()
        try:
            self._layer.accept(agreement.accept_pdu, agreement.peer_max_pdu_bytes)
            while True:
                self._answer_next()
        except AssociationOver as end:
            over = end
        except Exception:  # noqa: BLE001 -- the thread's edge; the peer is told by an A-ABORT
            _log.error("association_failed", exc_info=True)
        self._spare.close()
        # Whoever is told of the end, the sender among them, finds every row.
        self._store.write_late_rows()
        self._layer.say_last_word(over)
        is_cut = self._messages.is_in_message and over.end == "released"
        tracker.ended(self._tracked, "aborted" if is_cut else over.end)
        self._buffer = memoryview(b"")
        try:
            raise over
        finally:
            # Its traceback holds this frame: nothing is to be left to the collector.
            del over

    def _answer_next(self) -> None:
        context_id, command = self._messages.next_command()
        context = self._contexts[context_id]
        is_storage = not self._desk.serves(context.abstract_syntax)
        if command.field == CommandField.C_STORE_RQ and is_storage:
            self._answer_store(context_id, command, context)
        elif command.field & RESPONSE or command.field == CommandField.C_CANCEL_RQ:
            # Nothing of ours waits for an answer, and nothing that could be cancelled is under way.
            for _ in self._messages.data_set():
                pass
        else:
            self._answer_service(context_id, command, context)

    def _answer_store(self, context_id: int, command: Command, context: AcceptedContext) -> None:
        # Made now, because once the data set is here, the sender waits.
        answer = response(command, SUCCESS)
        request = self._store_request(command, context)
        after = self._by_long_way(context_id, request, answer)
        # While the sender reads the answer and its next file.
        if after is not None:
            after()
        self._spare.prepare()
        if self._short_way is not None:
            self._short_way.go_on(context_id, request)

    def _by_long_way(
        self, context_id: int, request: StoreRequest, answer: bytes
    ) -> Callable[[], None] | None:
        """Take an instance or refuse it, and answer; what is left to do."""
        handled = self._store.handle(request)
        if handled.failure is not None:
            failure = handled.failure
            answer = response(request.command, failure.status, failure.comment)
        if self._pace.may_wait and handled.after is not None:
            handled.after()
            handled = Handled()
        self._pace.before_answer(self._messages)
        self._layer.send_message(context_id, answer)
        return handled.after

    def _store_request(self, command: Command, context: AcceptedContext) -> StoreRequest:
        return StoreRequest(
            command,
            context,
            self._read_into,
            self._tracked,
            self._pace.max_instance_bytes,
            self._spare,
            self._buffer,
            self._memory,
            self._acknowledged,
        )

    def _acknowledged(self, incoming: IncomingInstance) -> None:
        if self._short_way is not None:
            self._short_way.learn(incoming, self._memory.known)

    def _answer_service(self, context_id: int, command: Command, context: AcceptedContext) -> None:
        data_set = self._messages.data_set()
        # A service may ask what of a study is here.
        self._store.write_late_rows(of_all_receivers=True)
        answered, content, answer = self._desk.reply(
            command, context, self._tracked.caller, data_set
        )
        self._layer.send_message(context_id, answered, content)
        if answer is not None and answer.after is not None:
            _run(answer.after)


def _run(after: Callable[[], None]) -> None:
    try:
        after()
    except Exception:  # noqa: BLE001 -- the request's edge: it is answered already
        _log.error("after_answer_failed", exc_info=True)
