"""What `radnode status` shows of the gate: who was turned away, and certificates that end soon."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from config.expiries import Expiry, expiring_soon
from config.settings import Settings
from node.log_setup import safe_text
from storage.rejections import RejectionCount

MOST_ROWS = 20
"""Of the table; the JSON has all."""
_MINUTES = "%Y-%m-%d %H:%M"


def rejections_table(rows: Iterable[RejectionCount]) -> Table:
    """One line for each reason, calling AE title and address; times in UTC."""
    table = Table(
        box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), title="turned away"
    )
    for name in ("AE title", "address", "reason", "times", "first", "last (UTC)"):
        table.add_column(name, overflow="fold")
    for row in rows:
        # As Text: a title may look like rich's markup.
        told = (row.calling_ae_title, row.address, row.reason, str(row.count))
        times = (f"{at.astimezone(UTC):{_MINUTES}}" for at in (row.first_at, row.last_at))
        table.add_row(*(Text(safe_text(text)) for text in (*told, *times)))
    return table


def certificate_warnings(settings: Settings, now: datetime | None = None) -> tuple[str, ...]:
    """One line for each certificate or revocation list in use that ends soon."""
    at = now or datetime.now(UTC)
    return tuple(_warning(expiry, at) for expiry in expiring_soon(settings, at))


def _warning(expiry: Expiry, now: datetime) -> str:
    left = expiry.days_left(now)
    when = f"ends in {left} days" if left >= 0 else "has expired"
    return f"{expiry.key}: {expiry.path} {when} ({expiry.not_after:%Y-%m-%d}): renew it"


def gate_json(rows: Iterable[RejectionCount], warnings: Iterable[str]) -> dict[str, Any]:
    """The same as plain values."""
    return {"rejections": [_plain(row) for row in rows], "certificate_warnings": list(warnings)}


def _plain(row: RejectionCount) -> dict[str, Any]:
    times = {name: getattr(row, name).isoformat() for name in ("first_at", "last_at")}
    texts = {name: safe_text(getattr(row, name)) for name in ("calling_ae_title", "address")}
    return {**asdict(row), **texts, **times}
