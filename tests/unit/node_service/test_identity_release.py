from __future__ import annotations

from datetime import UTC, datetime

import pytest

from node.identity_check import is_released
from storage.event_records import EventRecord

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def event(from_state: str, to_state: str, actor: str, reason: str = "") -> EventRecord:
    return EventRecord(NOW, from_state, to_state, actor, reason, "")


NEW = event("", "pending", "routing")
HELD = event("sending", "dead", "radnode/1", "identity_changed")
RELEASED = event("dead", "pending", "person")
RETRIED = event("sending", "pending", "radnode/1", "no_association")
REFUSED = event("sending", "dead", "radnode/1", "status_a900")
TOLD_ANEW = event("sent", "pending", "routing", "current_again")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((NEW,), False),
        ((NEW, HELD), False),
        ((NEW, HELD, RELEASED), True),
        ((NEW, HELD, RELEASED, RETRIED), True),
        ((NEW, HELD, RELEASED, REFUSED, RELEASED), True),
        ((NEW, REFUSED, RELEASED), False),
        ((NEW, HELD, RELEASED, TOLD_ANEW), False),
    ],
    ids=["new", "held", "released", "retried", "refused later", "never held", "told anew"],
)
def test_only_a_person_who_saw_why_it_was_held_releases_a_delivery(
    events: tuple[EventRecord, ...], expected: bool
) -> None:
    assert is_released(events) is expected
