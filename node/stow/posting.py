"""One exchange after another with a DICOMweb server, each noted before the next.

What may be there is noted before it is sent, and what is stored as soon as the answer tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from config.settings import StowDestination
from node.errors import PermanentDelivery
from node.made_objects import PreparedObject
from node.stow.answer import read_answer
from node.stow.exchange import place, post_instances
from node.stow.multipart import MultipartBody
from node.stow.progress import StoredSoFar
from node.stow.verdict import TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Verdict, verdict_of
from node.superseding import SendJournal

_TOO_MUCH_AT_ONCE = (TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)

_log = structlog.get_logger()


class Posting:
    """Sends to one server what it lacks of `objects`."""

    def __init__(
        self,
        destination: StowDestination,
        so_far: StoredSoFar,
        objects: Sequence[PreparedObject] = (),
    ) -> None:
        self._destination = destination
        self._so_far = so_far
        self._journal = SendJournal(so_far.progress, tuple(objects))

    def send(self, objects: Sequence[PreparedObject]) -> None:
        """Send those of the objects that are not stored yet.

        Raises:
            FormRefused, PermanentDelivery, TransientDelivery: some are not stored.
            OSError: an object cannot be read.
        """
        missing = [each for each in objects if self._so_far.lacks(each.told.sop_instance_uid)]
        if missing:
            self._post(missing)

    def refusal_of(self, item: PreparedObject) -> str:
        """Send one object; why the server does not take it, or ''. Raises as `send`, else."""
        try:
            self.send([item])
        except PermanentDelivery as error:
            _log.warning("object_refused", kind=item.told.kind.name, reason=error.text)
            return error.text
        return ""

    def _post(self, objects: Sequence[PreparedObject]) -> None:
        for each in objects:
            self._journal(each.told.sop_instance_uid, True)
        answer = post_instances(self._destination, MultipartBody([each.path for each in objects]))
        if answer.status in _TOO_MUCH_AT_ONCE and len(objects) > 1:
            half = len(objects) // 2
            self._post(objects[:half])
            self._post(objects[half:])
            return
        verdict = verdict_of(
            place(self._destination),
            answer.status,
            read_answer(answer.content),
            {each.told.sop_instance_uid: each.told.sop_class_uid for each in objects},
            answer.retry_after_s,
        )
        self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        for uid in verdict.refused:
            self._journal(uid, False)
        if verdict.stored:
            self._so_far.add(verdict.stored, is_proved=verdict.is_proved)
            _log.info("objects_sent", destination=self._destination.name, count=len(verdict.stored))
        if verdict.failure is not None:
            raise verdict.failure


def as_on_disk(item: PreparedObject) -> PreparedObject:
    """Tell the transfer syntax of the file, which is the one that is sent."""
    syntax = str(_meta(item.path).TransferSyntaxUID)
    return replace(item, told=replace(item.told, transfer_syntax_uid=syntax))


def _meta(path: Path) -> Dataset:
    try:
        return read_file_meta_info(path)
    except (InvalidDicomError, OSError) as error:
        text = f"a result object cannot be read ({type(error).__name__}); retry the job"
        raise PermanentDelivery("object_unreadable", text) from error
