"""What the answer of a Store transaction means for each object (PS3.18 10.5.3, PS3.3 C.14.1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.uid import UID

from node.errors import DeliveryError, FormRefused, PermanentDelivery, TransientDelivery
from node.store_status import failure_of, is_of_form
from node.stow.answer import StoreAnswer
from pipelines.objects.encoding import sop_class_name

TOO_LARGE: Final = 413
UNSUPPORTED_MEDIA_TYPE: Final = 415
_SUCCESS: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_SERVER_ERRORS: Final = range(500, 600)
_ON_THE_WAY: Final = frozenset((401, 403, 404, 405, 407, 408, 421, 425, 429))
"""4xx that tell of access, address or haste, and never of what was sent: it waits, visibly."""

_ADVICE: Final = {
    401: "correct its login",
    403: "allow this node to store there",
    404: "correct url: nothing is at url/studies",
    405: "correct url: url/studies takes no POST",
    TOO_LARGE: "the object is too large for it: raise its limit, or set most_segments",
    UNSUPPORTED_MEDIA_TYPE: "it does not take this encoding: change transfer_syntaxes",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of each stored object by SOP Instance UID, and why the others are not.

    `refused` are surely not there; of the rest nobody knows. `is_proved` is False where the server
    says that all went well and names no object.
    """

    stored: Mapping[str, str]
    failure: DeliveryError | None = None
    is_proved: bool = True
    refused: Collection[str] = ()


def verdict_of(
    place: str,
    status: int,
    answer: StoreAnswer,
    posted: Mapping[str, str],
    retry_after_s: float | None = None,
) -> Verdict:
    """Judge what came back for `posted`: SOP Class UIDs by SOP Instance UID.

    An answer that names our objects is believed, whatever its status: servers differ in when they
    say 200, 202 or 409.
    """
    named = (answer.stored.keys() | answer.failed.keys()) & posted.keys()
    if named:
        return _by_instance(place, answer, posted)
    if status in _SUCCESS:
        return _unproved(place, status, answer, posted)
    failure = _refusal(place, status, posted, retry_after_s)
    return Verdict({}, failure, refused=[] if status in _SERVER_ERRORS else list(posted))


def _unproved(place: str, status: int, answer: StoreAnswer, posted: Mapping[str, str]) -> Verdict:
    if answer.is_web_page:
        text = f"{place} answered with a web page, such as a login: correct url, or its login"
        return Verdict({}, TransientDelivery("web_page", text))
    return Verdict(dict.fromkeys(posted, f"http {status}"), is_proved=False)


def _by_instance(place: str, answer: StoreAnswer, posted: Mapping[str, str]) -> Verdict:
    stored: dict[str, str] = {}
    failures: list[DeliveryError] = []
    for uid, sop_class_uid in posted.items():
        failure = _failure(place, answer, uid, sop_class_uid)
        if failure is None:
            stored[uid] = f"0x{answer.failed.get(uid, answer.stored.get(uid, 0)):04X}"
        else:
            failures.append(failure)
    refused = answer.failed.keys() - stored.keys()
    return Verdict(stored, min(failures, key=_rank, default=None), refused=refused)


def _failure(place: str, answer: StoreAnswer, uid: str, sop_class_uid: str) -> DeliveryError | None:
    if uid in answer.stored:
        return None
    name = sop_class_name(UID(sop_class_uid))
    if uid not in answer.failed:
        return TransientDelivery("not_named", f"{place} does not say what became of {name}")
    reason = answer.failed[uid]
    failure = failure_of(reason, name, place)
    if isinstance(failure, PermanentDelivery) and is_of_form(reason):
        return FormRefused(failure.code, failure.text, [sop_class_uid])
    return failure


def _rank(failure: DeliveryError) -> int:
    """Another form first, then another time; a person comes last."""
    return (FormRefused, TransientDelivery, PermanentDelivery).index(type(failure))


def _refusal(
    place: str, status: int, posted: Mapping[str, str], retry_after_s: float | None
) -> DeliveryError:
    code, text = f"http_{status}", f"{place} answered {status}"
    if status in _REDIRECTS:
        text = f"{text}: redirects are not followed; correct url"
        return TransientDelivery(code, text)
    if status in _ADVICE:
        text = f"{text}: {_ADVICE[status]}"
    if status == UNSUPPORTED_MEDIA_TYPE:
        return FormRefused(code, text, posted.values())
    if status in _ON_THE_WAY or status in _SERVER_ERRORS:
        return TransientDelivery(code, text, retry_after_s)
    return PermanentDelivery(code, text)
