"""The log says whether this installation has the compiled code of the short way."""

from __future__ import annotations

import pytest
import structlog

from node.receive import short_way
from tests.integration.node_receive.running_listener import StartListener


@pytest.mark.parametrize(
    ("most", "told"),
    [(0, "missing"), (16, "compiled")],
    ids=["without", "with"],
)
def test_a_listener_tells_at_its_start_whether_the_short_way_is_compiled(
    start_listener: StartListener,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    told: str,
) -> None:
    monkeypatch.setattr(short_way, "MOST", most)

    with structlog.testing.capture_logs() as logged:
        start_listener()

    assert [event["short_way"] for event in logged if event["event"] == "listening"] == [told]
