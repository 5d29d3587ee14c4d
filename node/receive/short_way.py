"""The short way of instances that are like others before them: see `node.receive.short_run`.

Slice after slice, the command set, the header but for two values, the series and the association
are the same. Nothing is decided here that the long way would not decide the same: that begins with
every series, and goes on with what has come wherever this way stops.

Only with `durability: os`, over a plain connection, for a sender whose speed is not limited.
"""

from __future__ import annotations

from collections.abc import Iterable

from node.receive.header_memory import KnownHeader
from node.receive.likeness import Like, comparison, is_of
from node.receive.message_stream import MessageStream
from node.receive.short_run import MOST, MOST_KINDS, ShortRun
from node.receive.store_request import StoreRequest
from node.receive.upper_layer import UpperLayer
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles
from storage.instance_recorder import InstanceRecorder

_MOST_PASSED = 63


class ShortWay:
    """Takes instances of one association; used by its thread alone."""

    def __init__(self, run: ShortRun) -> None:
        self._run = run
        self._likes: tuple[Like, ...] = ()
        self._passed = self._to_pass = 0

    def learn(self, incoming: IncomingInstance, known: KnownHeader | None) -> None:
        """The long way has acknowledged an instance; `known` is what others are held against."""
        if known is None or not is_of(incoming, known):
            return
        if any(like.known is known for like in self._likes):
            return
        header = comparison(known)
        if header is not None:
            self._likes = Like(incoming, known, header), *_of_others(self._likes, incoming)

    def go_on(self, context_id: int, request: StoreRequest) -> None:
        """Take instances that follow one that was taken, as long as they are like known ones.

        Raises:
            AssociationOver: the association ended before a data set did.
        """
        if not self._likes:
            return
        if self._to_pass:
            self._to_pass -= 1
            return
        went = self._run.go_on(context_id, request, self._likes)
        if went.taken:
            self._passed = 0
        if went.is_in_vain:
            # Perhaps it is written twice: where that would go on, this way is tried less often.
            self._to_pass, self._passed = self._passed, min(2 * self._passed + 1, _MOST_PASSED)


def is_compiled() -> bool:
    """Whether this installation has the compiled code, without which there is no short way."""
    return MOST > 0


def short_way(
    layer: UpperLayer,
    messages: MessageStream,
    files: InstanceFiles,
    recorder: InstanceRecorder,
    disk_low_mib: int,
) -> ShortWay | None:
    """Return the short way of an association, if there is one."""
    connection = layer.plain_connection
    if not is_compiled() or connection is None or files.is_synced:
        return None
    return ShortWay(ShortRun(connection.fileno(), layer, messages, files, recorder, disk_low_mib))


def _of_others(likes: Iterable[Like], incoming: IncomingInstance) -> list[Like]:
    """Return those of other series, as many as are of use beside a new one."""
    uid = incoming.series.series_instance_uid
    return [one for one in likes if one.incoming.series.series_instance_uid != uid][
        : MOST_KINDS - 1
    ]
