"""The states of a delivery: what may follow what, by whom; and the single writer of them."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from storage.job_tables import Delivery, DeliveryEvent
from storage.records import DeliveryState
from storage.state_change import Actor, Machine, Step, by, change, record_event

PENDING, SENDING, SENT = DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.SENT
CONFIRMED, DEAD = DeliveryState.CONFIRMED, DeliveryState.DEAD

TRANSITIONS: Final = {
    (PENDING, SENDING): by(Actor.WORKER, meaning="claimed"),
    (PENDING, DEAD): by(
        Actor.ROUTING, Actor.PERSON, meaning="not sent any more: the job is replaced, or done again"
    ),
    (PENDING, PENDING): by(
        Actor.ROUTING, meaning="a lost answer may have told it: withdrawn; or to be told after all"
    ),
    (SENDING, SENT): by(Actor.WORKER, meaning="the receiver has answered success"),
    (SENDING, CONFIRMED): by(Actor.WORKER, meaning="the receiver has proved that it keeps it"),
    (SENDING, PENDING): by(
        Actor.WORKER,
        Actor.SWEEP,
        Actor.ROUTING,
        meaning="again: a retry, the lease ran out, or the results are current again",
    ),
    (SENDING, DEAD): by(Actor.WORKER, Actor.SWEEP, meaning="given up"),
    (SENT, CONFIRMED): by(Actor.WORKER, meaning="the receiver has proved that it keeps it"),
    (SENT, PENDING): by(
        Actor.ROUTING,
        Actor.WORKER,
        meaning="told anew: current again, or not kept by the receiver; or to be withdrawn",
    ),
    (CONFIRMED, PENDING): by(
        Actor.ROUTING, meaning="the results are current again: told anew; or to be withdrawn"
    ),
    (DEAD, PENDING): by(
        Actor.PERSON, Actor.ROUTING, meaning="somebody, or a study that is as before, asks for it"
    ),
}
"""(from, to) -> who may make the change, and what it means; anything else is illegal."""

UNSETTLED: Final = (PENDING, SENDING)
MACHINE: Final = Machine("delivery", Delivery, DeliveryEvent, "delivery_id", SENDING, TRANSITIONS)


def change_delivery(
    session: Session,
    delivery_id: int,
    from_state: DeliveryState,
    to_state: DeliveryState,
    step: Step,
    **columns: Any,
) -> None:
    """Change a delivery's state, and `columns` with it: the only code that writes it.

    Raises:
        IllegalTransition: not in the table, or the delivery is not in `from_state`.
        LeaseLost: `step.worker_id` does not hold it. NotFound: there is no such delivery.
    """
    change(session, MACHINE, delivery_id, (from_state, to_state), step, columns)


def record_new_delivery(session: Session, delivery_id: int, step: Step) -> None:
    """Record the event of a delivery's creation."""
    record_event(session, MACHINE, delivery_id, ("", PENDING), step)
