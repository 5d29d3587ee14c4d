"""The short way of an instance that is like the one before it: see `node.receive.usual_instance`.

Slice after slice, the command set, the header but for two values, the series and the association
are the same. What can be known of the next instance is made ready while its data set comes; then
compiled code takes it, and answers. Nothing is decided here that the long way would not decide the
same: that begins with every series, and goes on with what has come wherever this way stops.

Only with `durability: os`, over a plain connection, for a sender whose speed is not limited.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from node.receive.file_meta import file_head
from node.receive.header_memory import KnownHeader
from node.receive.likeness import Like, comparison, is_like, is_of
from node.receive.message_stream import MessageStream
from node.receive.short_run import MOST_KINDS, ShortRun
from node.receive.store_request import StoreRequest
from node.receive.upper_layer import UpperLayer
from storage.dataset_digest import digest_of
from storage.dicom_records import IncomingInstance
from storage.errors import InvalidUid, StorageError
from storage.incoming_file import IncomingFile
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.late_rows import LateRow
from storage.receipt_text import ReceiptWriter
from storage.receipts import LentPage

try:
    from node.receive import usual_instance as compiled
except ImportError:  # it is built where there is a compiler
    compiled = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from node.receive.usual_header import UsualHeader

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PASSED = 63


class _Due(NamedTuple):
    """An instance that is awaited: the one that it is like, what is its own, and where it goes."""

    like: IncomingInstance
    sop_instance_uid: str
    place: str
    head: bytes
    file: IncomingFile
    lent: LentPage


class _Taken(NamedTuple):
    """What `usual_instance.take` returns."""

    end: int
    size_bytes: int
    rest: bytes
    sent_bytes: int
    instance_number: int
    seconds: int
    microseconds: int


class ShortWay:
    """Takes instances of one association; used by its thread alone."""

    def __init__(
        self,
        connection: socket.socket,
        layer: UpperLayer,
        messages: MessageStream,
        files: InstanceFiles,
        recorder: InstanceRecorder,
        disk_low_mib: int,
    ) -> None:
        self._connection = connection.fileno()
        self._layer = layer
        self._disk_low_mib = disk_low_mib
        self._messages = messages
        self._files = files
        self._recorder = recorder
        self._receipts = ReceiptWriter()
        self._run = ShortRun(layer, messages, files, recorder, disk_low_mib)
        self._likes: tuple[Like, ...] = ()
        self._passed = self._to_pass = 0

    def learn(self, incoming: IncomingInstance, known: KnownHeader | None) -> None:
        """The long way has acknowledged an instance; `known` is what the next is held against."""
        if known is None or not is_of(incoming, known):
            return
        likes = self._likes
        for like in likes:
            if like.known is known:
                if like is not likes[0]:
                    self._likes = like, *(one for one in likes if one is not like)
                return
        header = comparison(known)
        if header is not None:
            self._likes = Like(incoming, known, header), *_of_others(likes, incoming)

    def take(
        self, context_id: int, request: StoreRequest, answer: bytes
    ) -> Callable[[], None] | None:
        """Take an instance and answer it, and return what is left to do.

        `answer` are the PDUs that say 0x0000. None: it is not answered, and the long way is due.

        Raises:
            AssociationOver: the association ended before the data set did.
        """
        like = self._likes[0] if self._likes else None
        if like is None or self._messages.is_resumed or not is_like(like.incoming, request):
            return None
        if self._to_pass:
            self._to_pass -= 1
            return None
        if not self._layer.is_between_pdus or not request.command.has_data_set:
            return None
        if self._files.is_low(self._disk_low_mib):
            return None
        file = request.spare.taken()
        if file is None:
            return None
        uid = request.command.sop_instance_uid.decode("latin-1")
        place = _place(like.incoming, uid, file)
        lent = self._recorder.lend(like.incoming, 1) if place else None
        if lent is None:
            request.spare.put_back(file)
            return None
        head = file_head(
            request.command.sop_class_uid,
            request.command.sop_instance_uid,
            request.context.transfer_syntax,
        )
        due = _Due(like.incoming, uid, place, head, file, lent)
        return self._through(context_id, request, like, due, answer)

    def go_on(self, context_id: int, request: StoreRequest) -> None:
        """Take instances that follow one that was taken, as long as they are like known ones.

        Raises:
            AssociationOver: the association ended before a data set did.
        """
        if self._to_pass or not self._likes:
            return
        went = self._run.go_on(self._connection, context_id, request, self._likes)
        if went.taken:
            self._passed = 0
        if went.has_begun:
            self._begun_in_vain()

    def _begun_in_vain(self) -> None:
        """It is written twice: where that would go on, this way is tried the more seldom."""
        self._to_pass, self._passed = self._passed, min(2 * self._passed + 1, _MOST_PASSED)

    def _through(
        self, context_id: int, request: StoreRequest, like: Like, due: _Due, answer: bytes
    ) -> Callable[[], None] | None:
        # Should memory be short here, the receipt may be written or not: file and page stay as they
        # are, for whoever starts next.
        taken = self._taken(context_id, request, like.header, due, answer)
        if taken.end == compiled.STORED:
            self._passed = 0
            return self._stored(request, due, taken, answer)
        if taken.end == compiled.VANISHED:
            self._give_back(due)
            raise self._layer.vanished()
        self._begun_in_vain()
        self._not_given(due, is_spoilt=taken.end == compiled.FAILED)
        request.spare.put_back(due.file)
        self._messages.go_back(taken.rest, taken.size_bytes - len(due.head))
        return None

    def _taken(
        self,
        context_id: int,
        request: StoreRequest,
        header: UsualHeader,
        due: _Due,
        answer: bytes,
    ) -> _Taken:
        command, buffer = request.command, request.buffer
        room = len(buffer) - compiled.SLACK_BYTES
        most = request.max_bytes
        return _Taken(
            *compiled.take(
                self._connection,
                self._layer.take_ahead(),
                buffer,
                due.head,
                room if most is None else min(room, len(due.head) + most),
                context_id,
                self._layer.longest_p_data,
                self._messages.quick_s,
                header,
                command.sop_instance_uid,
                due.file.descriptor,
                due.lent.page.descriptor,
                *self._receipts.around(due.like, due.sop_instance_uid, due.place),
                answer,
            )
        )

    def _give_back(self, due: _Due) -> None:
        self._not_given(due)
        due.file.close()

    def _not_given(self, due: _Due, *, is_spoilt: bool = False) -> None:
        self._recorder.came_back(due.lent, (), _untold, is_spoilt=is_spoilt)

    def _stored(
        self, request: StoreRequest, due: _Due, taken: _Taken, answer: bytes
    ) -> Callable[[], None]:
        """It is acknowledged: now it must not be lost."""
        due.file.is_left(taken.size_bytes)
        incoming = due.like._replace(
            sop_instance_uid=due.sop_instance_uid,
            path=due.place,
            instance_number=taken.instance_number,
            size_bytes=taken.size_bytes,
            received_at=_EPOCH + timedelta(seconds=taken.seconds, microseconds=taken.microseconds),
        )
        (row,) = self._recorder.came_back(due.lent, [(incoming, "")], request.tracked.count)
        is_closed = _is_closed(due.file)
        request.memory.recalled()
        self._messages.is_in_message = False
        self._layer.put_back(taken.rest)
        if taken.sent_bytes < len(answer):
            self._layer.send(answer[taken.sent_bytes :])
        data_set = request.buffer[len(due.head) : taken.size_bytes] if is_closed else None
        return partial(self._settle, row, data_set)

    def _settle(self, late: LateRow, data_set: memoryview | None) -> None:
        """Do what the sender need not wait for; else the row's writer does it."""
        with suppress(StorageError):
            self._files.bring_in(late.incoming.path)
            if data_set is None:
                return
            late.dataset_digest = digest_of(data_set)


def _of_others(likes: Iterable[Like], incoming: IncomingInstance) -> list[Like]:
    """Return those of other series, as many as are of use beside a new one."""
    uid = incoming.series.series_instance_uid
    return [one for one in likes if one.incoming.series.series_instance_uid != uid][
        : MOST_KINDS - 1
    ]


def is_compiled() -> bool:
    """Whether this installation has the compiled code, without which there is no short way."""
    return compiled is not None


def short_way(
    layer: UpperLayer,
    messages: MessageStream,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    disk_low_mib: int,
) -> ShortWay | None:
    """Return the short way of an association, if there is one."""
    connection = layer.plain_connection
    if compiled is None or connection is None or files.is_synced:
        return None
    return ShortWay(connection, layer, messages, files, recorder, disk_low_mib)


def _untold(_outcome: str) -> None:
    """Tell nobody."""


def _is_closed(file: IncomingFile) -> bool:
    """Close a file that is acknowledged; False: whether it is whole is not known.

    Some file systems of a network tell only then that the disk is full. Without a digest, whoever
    writes the row looks at the file.
    """
    try:
        file.close()
    except OSError:
        return False
    return True


def _place(like: IncomingInstance, sop_instance_uid: str, file: IncomingFile) -> str:
    """Return where the file of an instance of that series will be; empty: its UID is none."""
    try:
        return file.place(
            like.study.study_instance_uid, like.series.series_instance_uid, sop_instance_uid
        )
    except InvalidUid:
        return ""
