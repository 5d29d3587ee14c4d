"""Runs of instances by the short way: several, one after another, before any Python runs.

Most instances of a study come so, those of a series one after another, or its series mixed, and
nothing else between them. Compiled code (`node.receive.usual_run`) takes them, from the request to
the file at its place; then what was acknowledged goes to the writer of the rows.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from node.receive.command_set import (
    AFFECTED_SOP_INSTANCE_UID,
    MESSAGE_ID,
    MESSAGE_ID_BEING_RESPONDED_TO,
    around,
    begins_with_group_length,
    response,
)
from node.receive.dimse_status import SUCCESS
from node.receive.file_meta import head_pieces
from node.receive.likeness import Like, is_like
from node.receive.message_stream import MessageStream
from node.receive.store_request import StoreRequest
from node.receive.upper_layer import UpperLayer
from storage.compiled_digest import XXH3_ADDRESS
from storage.dataset_digest import text_of
from storage.dicom_records import IncomingInstance
from storage.errors import StorageError
from storage.incoming_file import IncomingFile, MadeFile, new_chance
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder
from storage.open_folders import OpenFolder
from storage.receipt_text import ReceiptWriter
from storage.receipts import LentPage

try:
    from node.receive import usual_instance, usual_run, usual_texts

    MOST, MOST_KINDS = usual_run.MOST_INSTANCES, usual_texts.MOST_KINDS_TOGETHER
except (ImportError, AttributeError):  # there is no compiler, or they are of an older version
    MOST, MOST_KINDS = 0, 1
"""So many instances come one after another at the most, before their rows are to be written."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_OF_ANSWER = 64


class _Run(NamedTuple):
    """What takes instances, and what they are to be like."""

    run: usual_run.UsualRun
    likes: tuple[Like, ...]
    context_id: int
    request: tuple[bytes, bytes, bytes]
    head_bytes: int

    def is_for(self, likes: tuple[Like, ...]) -> bool:
        """Whether these are the very same, in any order."""
        return set(map(id, self.likes)) == set(map(id, likes))

    def is_of(self, context_id: int, request: tuple[bytes, bytes, bytes]) -> bool:
        """Whether it is made for such requests."""
        return self.context_id == context_id and self.request == request


class Went(NamedTuple):
    """How many instances were taken, and whether to try for the next one was in vain."""

    taken: int = 0
    is_in_vain: bool = False


class _Taken(NamedTuple):
    """What `UsualRun.take` returns."""

    end: int
    rest: bytes
    file: int
    chance: bytes
    done: list[tuple[int, bytes, bytes, int, int, int, int, int | None]]
    begun: tuple[bytes, int] | None
    unsent: bytes

    @property
    def is_in_vain(self) -> bool:
        """Whether what came is to be taken otherwise, all of it or what has begun."""
        return self.begun is not None or (bool(self.rest) and not self.done)


class ShortRun:
    """Takes the next instances of one association; used by its thread alone."""

    def __init__(
        self,
        connection: int,
        layer: UpperLayer,
        messages: MessageStream,
        files: InstanceFiles,
        recorder: InstanceRecorder,
        disk_low_mib: int,
    ) -> None:
        self._connection = connection
        self._layer = layer
        self._messages = messages
        self._files = files
        self._recorder = recorder
        self._disk_low_mib = disk_low_mib
        self._incoming = os.fsencode(files.incoming_dir)
        self._run: _Run | None = None

    def go_on(self, context_id: int, request: StoreRequest, likes: tuple[Like, ...]) -> Went:
        """Take what comes, as long as it is like `request`, which was taken, and one of `likes`.

        What has begun and is not is to be taken by the long way.

        Raises:
            AssociationOver: the association ended in the middle of a data set, or an answer could
                not be sent.
        """
        if not self._layer.is_between_pdus:
            return Went()  # the next request came in one PDU with what was taken
        run = self._run = self._known_or_new(context_id, request, likes)
        if run is None:
            return Went()
        taken, went = 0, Went(1)
        while went.taken and not went.is_in_vain:
            went = self._several(run, request)
            taken += went.taken
        return Went(taken, went.is_in_vain)

    def _known_or_new(
        self, context_id: int, request: StoreRequest, likes: tuple[Like, ...]
    ) -> _Run | None:
        encoded = request.command.encoded
        pieces = around(encoded, MESSAGE_ID, AFFECTED_SOP_INSTANCE_UID)
        known = self._run
        if pieces is None or not begins_with_group_length(encoded):
            return None
        expected = tuple(
            one
            for one in likes
            if is_like(one.incoming, request) and self._recorder.expects(one.incoming)
        )
        if not expected:
            return None
        if known is not None and known.is_for(expected) and known.is_of(context_id, pieces):
            return known
        answer = response(request.command, SUCCESS)
        if not self._layer.fits(len(answer) + _MOST_OF_ANSWER):
            return None
        return self._new(context_id, expected, pieces, answer)

    def _new(
        self,
        context_id: int,
        likes: tuple[Like, ...],
        request: tuple[bytes, bytes, bytes],
        answer: bytes,
    ) -> _Run | None:
        incoming = likes[0].incoming
        to_answer = around(answer, MESSAGE_ID_BEING_RESPONDED_TO, AFFECTED_SOP_INSTANCE_UID)
        if to_answer is None:
            return None
        head = head_pieces(incoming.sop_class_uid.encode("ascii"), incoming.transfer_syntax_uid)
        try:
            texts = usual_texts.UsualTexts(
                request, head, to_answer[:2], [_receipt_pieces(one.incoming) for one in likes]
            )
            run = usual_run.UsualRun(
                self._connection,
                context_id,
                self._layer.longest_p_data,
                [one.header for one in likes],
                texts,
                self._incoming,
                XXH3_ADDRESS,
            )
        except ValueError:  # longer than there is room for
            return None
        return _Run(run, likes, context_id, request, texts.head_bytes)

    def _several(self, run: _Run, request: StoreRequest) -> Went:
        """Take some instances; more may follow, but where there are none, or it was in vain."""
        if self._layer.is_stopped or self._files.is_low(self._disk_low_mib):
            return Went()
        try:
            folders = [
                self._files.series_folder(
                    one.incoming.study.study_instance_uid, one.incoming.series.series_instance_uid
                )
                for one in run.likes
            ]
        except StorageError:
            return Went()
        file = request.spare.taken()
        if file is None:
            return Went()
        lent = self._recorder.lend([one.incoming for one in run.likes], MOST)
        if lent is None:
            request.spare.put_back(file)
            return Went()
        return self._filled(run, request, lent, file, folders)

    def _filled(
        self,
        run: _Run,
        request: StoreRequest,
        lent: LentPage,
        file: IncomingFile,
        folders: list[OpenFolder],
    ) -> Went:
        reserved = request.spare.to_reserve()
        taken = self._taken(run, request, lent, file, folders, reserved)
        given = [_given(run.likes, one) for one in taken.done]
        is_spoilt = taken.end == usual_instance.FAILED
        self._recorder.came_back(lent, given, request.tracked.count, is_spoilt=is_spoilt)
        if given:
            request.memory.recalled()
            made = MadeFile(taken.chance.decode("ascii"), taken.file, reserved)
            sizes = [incoming.size_bytes for incoming, _ in given]
            request.spare.came_back(None if taken.file < 0 else made, sizes)
        else:
            request.spare.put_back(file)
        self._read_on(run, taken)
        return Went(len(given), taken.is_in_vain)

    def _taken(
        self,
        run: _Run,
        request: StoreRequest,
        lent: LentPage,
        file: IncomingFile,
        folders: list[OpenFolder],
        reserved: int,
    ) -> _Taken:
        # Should memory be short here, receipts may be written or not: files and page stay as they
        # are, for whoever starts next.
        most = len(request.buffer) - usual_instance.SLACK_BYTES - run.head_bytes
        return _Taken(
            *run.run.take(
                self._layer.take_ahead(),
                request.buffer,
                most if request.max_bytes is None else min(most, request.max_bytes),
                file.descriptor,
                file.chance.encode("ascii"),
                file.reserved_bytes,
                [new_chance().encode("ascii") for _ in range(lent.places)],
                reserved,
                [folder.descriptor for folder in folders],
                lent.page.descriptor,
                self._messages.quick_s,
            )
        )

    def _read_on(self, run: _Run, taken: _Taken) -> None:
        """Have what comes next read by others, and the last answer sent to its end."""
        if taken.begun is None:
            self._layer.put_back(taken.rest)
        else:
            command, size_bytes = taken.begun
            self._messages.resume(run.context_id, command, taken.rest, size_bytes)
        if taken.unsent:
            self._layer.send(taken.unsent)
        if taken.end == usual_instance.VANISHED:
            raise self._layer.vanished()


def _receipt_pieces(incoming: IncomingInstance) -> tuple[bytes, bytes, bytes, bytes]:
    to_uid, to_number, to_path, to_size = ReceiptWriter().pieces(incoming)
    return to_uid, to_number, to_path + _folder_of(incoming).encode("ascii") + b"/", to_size


def _given(
    likes: tuple[Like, ...], one: tuple[int, bytes, bytes, int, int, int, int, int | None]
) -> tuple[IncomingInstance, str]:
    """Return an instance that was taken, and its digest."""
    kind, uid, chance, number, size_bytes, seconds, microseconds, digest = one
    like = likes[kind].incoming
    sop_instance_uid = uid.decode("ascii")
    incoming = like._replace(
        sop_instance_uid=sop_instance_uid,
        path=f"{_folder_of(like)}/{sop_instance_uid}.{chance.decode('ascii')}.dcm",
        instance_number=number,
        size_bytes=size_bytes,
        received_at=_EPOCH + timedelta(seconds=seconds, microseconds=microseconds),
    )
    return incoming, "" if digest is None else text_of(digest)


def _folder_of(incoming: IncomingInstance) -> str:
    return incoming.path.rpartition("/")[0]
