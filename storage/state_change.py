"""How a state changes: by compare-and-set, with one event row in the same transaction.

`storage.job_state` and `storage.delivery_state` hold what may change; this is the mechanism that
they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import CursorResult, insert, select, update
from sqlalchemy.orm import Session

from storage.errors import IllegalTransition, LeaseLost, NotFound
from storage.job_tables import Delivery, DeliveryEvent, Job, JobEvent

S = TypeVar("S", bound=StrEnum)


class Actor(StrEnum):
    """Who changes a state."""

    ROUTING = "routing"
    WORKER = "worker"
    SWEEP = "sweep"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One line of a transition table: who may make the change, and what it means."""

    actors: frozenset[Actor]
    meaning: str


def by(*actors: Actor, meaning: str) -> Allowed:
    """One line of a transition table."""
    return Allowed(frozenset(actors), meaning)


@dataclass(frozen=True, slots=True)
class Step:
    """Who changes a state, when and why.

    `worker_id` is required of a worker: it must hold the row to change it, and gets it by claiming.
    """

    actor: Actor
    now: datetime
    worker_id: str | None = None
    reason_code: str = ""
    reason_text: str = ""

    @property
    def actor_name(self) -> str:
        """The worker's id, or the kind of actor."""
        return self.worker_id or self.actor.value


@dataclass(frozen=True, slots=True)
class Machine(Generic[S]):
    """A transition table, the rows it rules, and the state in which a worker holds a row."""

    name: str
    row: type[Job] | type[Delivery]
    event: type[JobEvent] | type[DeliveryEvent]
    owner: str
    held: S
    transitions: Mapping[tuple[S, S], Allowed]


def change(
    session: Session,
    machine: Machine[S],
    row_id: int,
    states: tuple[S, S],
    step: Step,
    columns: Mapping[str, Any],
) -> None:
    """Change one row from the first to the second state and record the event.

    Raises:
        IllegalTransition: the table does not allow it, or the row is in another state.
        LeaseLost: the row is no longer held by this worker. NotFound: there is no such row.
    """
    from_state, to_state = states
    allowed = machine.transitions.get(states)
    if allowed is None or step.actor not in allowed.actors:
        raise IllegalTransition(
            f"{machine.name} {row_id}: {step.actor} must not change {from_state} to {to_state}"
        )
    _compare_and_set(session, machine, row_id, states, step, columns)
    record_event(session, machine, row_id, states, step)


def record_event(
    session: Session, machine: Machine[S], row_id: int, states: tuple[str, S], step: Step
) -> None:
    """Add the event row of one change; a new row comes from the state ''."""
    values = {
        machine.owner: row_id,
        "at": step.now,
        "from_state": str(states[0]),
        "to_state": str(states[1]),
        "actor": step.actor_name,
        "reason_code": step.reason_code,
        "reason_text": step.reason_text,
    }
    session.execute(insert(machine.event).values(**values))


def _compare_and_set(
    session: Session,
    machine: Machine[S],
    row_id: int,
    states: tuple[S, S],
    step: Step,
    columns: Mapping[str, Any],
) -> None:
    from_state, to_state = states
    row: Any = machine.row
    statement = update(row).where(row.id == row_id, row.state == from_state)
    if from_state == machine.held and step.actor is Actor.WORKER:
        statement = statement.where(row.worker_id == step.worker_id)
    values = {
        "state": to_state,
        "worker_id": step.worker_id if to_state == machine.held else None,
        "lease_expires_at": None,
        "reason_code": step.reason_code,
        "reason_text": step.reason_text,
    }
    result = session.execute(
        statement.values(**{**values, **columns}),
        execution_options={"synchronize_session": False},
    )
    if not (isinstance(result, CursorResult) and result.rowcount == 1):
        raise _refusal(session, machine, row_id, from_state)


def _refusal(session: Session, machine: Machine[S], row_id: int, expected: S) -> Exception:
    row: Any = machine.row
    state = session.scalar(select(row.state).where(row.id == row_id))
    if state is None:
        return NotFound(f"there is no {machine.name} {row_id}")
    if expected == machine.held:
        return LeaseLost(f"{machine.name} {row_id} is held by another worker, or by none")
    return IllegalTransition(f"{machine.name} {row_id} is {state}, not {expected}")
