"""Who was turned away is shown, however odd the title; certificates that end soon, too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from config.settings import ReceiveSettings, Settings
from node.receive.admission import printable_ae_title
from node.status_gate import certificate_warnings, gate_json, rejections_table
from storage.rejections import RejectionCount
from tests.peers.certificates import age, make_site

AT = datetime(2026, 3, 1, 8, 5, tzinfo=UTC)


def _count(title: str) -> RejectionCount:
    return RejectionCount("address_not_allowed", title, "10.1.2.3", 42, AT, AT)


def _shown(*rows: RejectionCount) -> str:
    console = Console(width=140, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(rejections_table(rows))
    return capture.get()


def test_a_rejected_caller_is_shown_with_reason_count_and_times() -> None:
    shown = _shown(_count("CT7"))
    for text in ("CT7", "10.1.2.3", "address_not_allowed", "42", "2026-03-01 08:05"):
        assert text in shown


def test_a_title_is_neither_markup_nor_a_control_sequence() -> None:
    hostile = [printable_ae_title("[red]A[/red]"), printable_ae_title(b"\x1b[2J\nroot\x9b1m")]
    shown = _shown(*map(_count, hostile))
    assert "[red]A[/red]" in shown
    assert all(sign not in shown for sign in ("\x1b", "\x9b"))
    assert "\\x1b[2J\\x0aroot" in shown


def test_json_has_every_field_and_can_be_read_back() -> None:
    told = json.loads(json.dumps(gate_json([_count("CT7")], ["soon"])))
    assert told == {
        "rejections": [
            {
                "reason": "address_not_allowed",
                "calling_ae_title": "CT7",
                "address": "10.1.2.3",
                "count": 42,
                "first_at": "2026-03-01T08:05:00+00:00",
                "last_at": "2026-03-01T08:05:00+00:00",
            }
        ],
        "certificate_warnings": ["soon"],
    }


def test_a_certificate_that_ends_soon_is_named_with_file_and_day(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    settings = Settings(receive=ReceiveSettings(tls=site.server()))
    assert certificate_warnings(settings) == ()
    age(site.node.certificate_file, tmp_path, days_left=3)

    (warning,) = certificate_warnings(settings)
    (late,) = certificate_warnings(settings, datetime.now(UTC) + timedelta(days=9))

    assert f"receive.tls.certificate_file: {site.node.certificate_file} ends in 3 days" in warning
    assert "has expired" in late
