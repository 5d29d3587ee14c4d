"""The log says whether this installation has the compiled code of the short way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import structlog

from node.receive import short_way
from tests.integration.node_receive.running_listener import StartListener


@pytest.mark.parametrize(
    ("compiled", "told"),
    [(None, "missing"), (SimpleNamespace(), "compiled")],
    ids=["without", "with"],
)
def test_a_listener_tells_at_its_start_whether_the_short_way_is_compiled(
    start_listener: StartListener,
    monkeypatch: pytest.MonkeyPatch,
    compiled: object,
    told: str,
) -> None:
    monkeypatch.setattr(short_way, "compiled", compiled)

    with structlog.testing.capture_logs() as logged:
        start_listener()

    assert [event["short_way"] for event in logged if event["event"] == "listening"] == [told]
