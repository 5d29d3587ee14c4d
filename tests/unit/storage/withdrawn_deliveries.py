"""Deliveries of jobs that newer work replaces."""

from __future__ import annotations

from dataclasses import replace

from storage.database import Database
from storage.deliveries import settle_sent
from storage.delivery_reads import list_deliveries
from storage.records import (
    DeliveryRecord,
    DeliveryState,
    DestinationKind,
    NewDelivery,
    NewJob,
    Refusal,
)
from storage.studies import route
from tests.unit.storage.samples import (
    NOW,
    STUDY,
    WORKER,
    after,
    claim,
    claim_delivery,
    finish,
    incoming,
    make_ready,
    new_job,
    receive,
)

EHR = NewDelivery("ehr", DestinationKind.FHIR, NOW)
RIS = NewDelivery("ris", DestinationKind.HL7, NOW)
PACS = NewDelivery("pacs", DestinationKind.DICOM, NOW)

A, B = new_job("in-1"), new_job("in-2")

PENDING, DEAD, SENDING = DeliveryState.PENDING, DeliveryState.DEAD, DeliveryState.SENDING


def send(db: Database, *jobs: NewJob, content: str = "") -> tuple[int, ...]:
    """The study changes and is routed to these jobs, or to none."""
    receive(db, incoming(content=content or "".join(each.input_digest for each in jobs)))
    generation = make_ready(db)
    return route(
        db,
        STUDY,
        generation=generation,
        jobs=tuple(replace(each, generation=generation) for each in jobs),
        refusal=None if jobs else Refusal("no_match", "none"),
        now=after(1),
    )


def told(db: Database, *deliveries: NewDelivery) -> int:
    """A job with these deliveries, not sent yet."""
    (job_id,) = send(db, A)
    claim(db, now=after(2))
    finish(db, job_id, deliveries=deliveries, now=after(2))
    return job_id


def arrived(db: Database, destination: str, *, confirmed: bool = True) -> int:
    delivery_id = claim_delivery(db, destination, now=after(3)).delivery_id
    receipt = {"report": "DiagnosticReport/7"}
    settle_sent(
        db, delivery_id, worker_id=WORKER, confirmed=confirmed, receipt=receipt, now=after(3)
    )
    return delivery_id


def only(db: Database, job_id: int) -> DeliveryRecord:
    (delivery,) = list_deliveries(db, job_id=job_id)
    return delivery
