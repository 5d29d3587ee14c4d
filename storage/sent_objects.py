"""What a PACS was really sent: kept in a delivery's receipt, told to whoever refers to it.

A destination may get other SOP Instances than the ones that the node keeps, since it may take
another encoding. Storage commitment, C-FIND and the links of a report name those.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import or_, select

from storage.database import Database
from storage.job_tables import Delivery, ResultObjectRow
from storage.records import (
    DeliveryState,
    DestinationKind,
    FinishedJob,
    ObjectKind,
    Purpose,
    ResultObject,
)

RECEIPT_KEY = "sent"
UNCONFIRMED_KEY = "unconfirmed"
"""In the receipt of a receiver that could have proved that it keeps the objects: why it did not."""

FALLBACK_KEY = "fallback"
"""In the receipt of a PACS that took no segmentation, and got pictures and pages: why."""

LEFT_OUT_KEY = "left_out"
"""In the receipt of a receiver that got the result without some of what goes beside it: why."""

TRIED_KEY = "tried"
"""What may have arrived of a sending that broke."""

REJECTED_KEY = "rejected"
"""What rejection notes took back there, in the order in which they did."""

FORMER_KEY = "former"
"""Reports of the same job that the destination got before, on another end of it."""

_PAGES = frozenset({ObjectKind.PDF, ObjectKind.SC, ObjectKind.KOS, ObjectKind.PR, ObjectKind.PM})
_TAKEN = (DeliveryState.SENT, DeliveryState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class SentObject:
    """One object as it left; `encoding` is the Segmentation Type, "" for other kinds."""

    kind: ObjectKind
    encoding: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str


def told(sent: Sequence[SentObject]) -> str:
    """Give the text that stands in the receipt under `RECEIPT_KEY`."""
    return json.dumps([asdict(item) for item in sent])


def sent_objects(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Read them back; none where the receipt does not tell."""
    return read_objects(receipt, RECEIPT_KEY)


def read_objects(receipt: Mapping[str, str], key: str) -> tuple[SentObject, ...]:
    """Read the objects that stand under one key of a receipt."""
    known = json.loads(receipt.get(key, "[]"))
    return tuple(SentObject(**{**item, "kind": ObjectKind(item["kind"])}) for item in known)


def arrived_objects(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Read what the destination has of the result, or may have; no rejection notes."""
    known = sent_objects(receipt) if RECEIPT_KEY in receipt else tried_objects(receipt)
    return tuple(item for item in known if item.kind is not ObjectKind.KO)


def tried_objects(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Read what sendings that broke may have brought there."""
    return read_objects(receipt, TRIED_KEY)


def rejected_objects(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Read what rejection notes took back there."""
    return read_objects(receipt, REJECTED_KEY)


def all_rejected(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    """Give what notes took back there, with what a note of now takes back; each once."""
    every = (*rejected_objects(receipt), *arrived_objects(receipt))
    return tuple({item.sop_instance_uid: item for item in every}.values())


def objects_of_delivery(db: Database, delivery_id: int) -> tuple[SentObject, ...]:
    """What a delivery brought; for one without record, all that its job made."""
    with db.read() as session:
        delivery = session.get(Delivery, delivery_id)
        if delivery is None:
            return ()
        if RECEIPT_KEY in delivery.receipt:
            return sent_objects(delivery.receipt)
        made = select(ResultObjectRow).where(ResultObjectRow.job_id == delivery.job_id)
        rows = session.scalars(made.order_by(ResultObjectRow.position)).all()
        return tuple(
            SentObject(
                ObjectKind(row.kind),
                "",
                row.sop_class_uid,
                row.sop_instance_uid,
                row.series_instance_uid,
                "",
            )
            for row in rows
        )


def as_the_pacs_has_it(db: Database, finished: FinishedJob) -> FinishedJob:
    """Name the objects in place of the kept ones that the job's PACS have taken.

    Of each kind those of the first PACS that got it. A kind that no PACS got stays as the node
    keeps it, and is told as missing; while nothing has arrived anywhere, only pages are.
    """
    taken = (
        select(Delivery.receipt)
        .where(Delivery.job_id == finished.job.job_id, Delivery.kind == DestinationKind.DICOM)
        .where(or_(Delivery.state.in_(_TAKEN), Delivery.purpose == Purpose.WITHDRAW))
        .order_by(Delivery.id)
    )
    with db.read() as session:
        receipts = session.scalars(taken).all()
    arrived = list(filter(None, map(_of_the_result, receipts)))
    kinds = {made.kind for made in finished.objects}
    there = {kind: _first_of(kind, arrived) for kind in kinds}
    missing = {kind for kind in kinds if not there[kind]} if arrived else kinds & _PAGES
    sent = [item for items in there.values() for item in items]
    objects = tuple(_renamed(finished.objects, sent))
    known = {each.sop_instance_uid for each in finished.objects}
    known |= {item.sop_instance_uid for receipt in receipts for item in all_rejected(receipt)}
    return replace(
        finished,
        objects=objects,
        missing_at_pacs=frozenset(missing),
        known_uids=frozenset(known),
    )


def objects_at_pacs(finished: FinishedJob) -> tuple[ResultObject, ...]:
    """Give the objects that a report may refer to: what a PACS has, or may still get."""
    return tuple(each for each in finished.objects if each.kind not in finished.missing_at_pacs)


def _first_of(kind: ObjectKind, arrived: Iterable[Sequence[SentObject]]) -> list[SentObject]:
    of_kind = ([item for item in sent if item.kind is kind] for sent in arrived)
    return next(filter(None, of_kind), [])


def _of_the_result(receipt: Mapping[str, str]) -> tuple[SentObject, ...]:
    return arrived_objects(receipt) or rejected_objects(receipt)


def _renamed(objects: Sequence[ResultObject], sent: Sequence[SentObject]) -> Iterator[ResultObject]:
    told: set[str] = set()
    for kept in objects:
        instead = [item for item in sent if item.kind is kept.kind]
        if kept.sop_instance_uid in {item.sop_instance_uid for item in instead} or not instead:
            told.add(kept.sop_instance_uid)
            yield kept
            continue
        for item in instead:
            if item.sop_instance_uid in told:
                continue
            told.add(item.sop_instance_uid)
            yield replace(
                kept,
                sop_class_uid=item.sop_class_uid,
                sop_instance_uid=item.sop_instance_uid,
                series_instance_uid=item.series_instance_uid,
            )
