"""docs/operations.md knows every code that an operator can meet, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pipelines.acceptance import ACCEPTED_FILE
from tests.unit.docs.codes_of_the_program import (
    ROOT,
    delivery_codes,
    error_events,
    quarantine_reasons,
    refusal_codes,
    store_codes,
    tls_codes,
)

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = {
    "Instances that were not taken": store_codes,
    "Instances in quarantine": quarantine_reasons,
    "Studies that were not processed": refusal_codes,
    "Deliveries that wait or are dead": delivery_codes,
    "TLS": tls_codes,
    "Log lines that deserve a look": error_events,
}


def codes_in_table(section: str) -> list[str]:
    """The codes in the first column of the table under a heading."""
    _, _, rest = PAGE.partition(f"\n## {section}\n")
    body = rest.partition("\n## ")[0]
    rows = [line for line in body.splitlines() if line.startswith("| `")]
    return [code for row in rows for code in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize(("section", "codes"), SECTIONS.items(), ids=SECTIONS)
def test_every_code_of_the_program_stands_in_its_table_once(
    section: str, codes: Callable[[], frozenset[str]]
) -> None:
    told = codes_in_table(section)
    assert sorted(told) == sorted(codes())


def test_the_codes_are_read_from_the_program_and_not_from_nowhere() -> None:
    assert {"job_failed", "disk_full"} <= error_events()
    assert {"patient_ambiguous", "mode_impossible", "no_association"} <= delivery_codes()


@pytest.mark.parametrize("place", ["instances", "quarantine", "results", ACCEPTED_FILE])
def test_a_backup_takes_all_that_rows_name_and_all_that_a_person_decided(place: str) -> None:
    _, _, rest = PAGE.partition("- **Backup.**")
    assert f"`DATA_DIR/{place}`" in rest.partition("\n- **")[0]
