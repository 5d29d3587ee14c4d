"""The conformance statement is what the code says, and it says what matters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.conformance.sop_classes import RESULT_SOP_CLASSES
from node.receive.admission import Rejection
from node.receive.dimse_status import StoreFailure
from node.receive.transfer_syntaxes import ACCEPTED_TRANSFER_SYNTAXES
from storage.records import ObjectKind

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says() -> None:
    # A process of its own: other tests may have made foreign SOP Classes known.
    done = subprocess.run(
        [sys.executable, "-m", "node.conformance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == PAGE, "run: python -m node.conformance > docs/conformance.md"


@pytest.mark.parametrize("failure", StoreFailure, ids=lambda failure: failure.code)
def test_every_failure_of_a_c_store_is_stated(failure: StoreFailure) -> None:
    assert f"| 0x{failure.status:04X} | `{failure.code}` | {failure.comment} |" in PAGE


@pytest.mark.parametrize("rejection", Rejection, ids=lambda rejection: rejection.code)
def test_every_rejection_is_stated(rejection: Rejection) -> None:
    result, _, diagnostic = rejection.primitive
    (row,) = [row for row in PAGE.splitlines() if f"| {rejection.code.replace('_', ' ')} |" in row]
    assert f"| {result} (" in row
    assert row.endswith(f"| {diagnostic} |")


def test_every_transfer_syntax_is_stated_in_the_order_of_preference() -> None:
    places = [PAGE.index(f"`{uid}` |") for uid in ACCEPTED_TRANSFER_SYNTAXES]
    assert places == sorted(places)


def test_every_kind_of_result_has_its_sop_class() -> None:
    assert set(RESULT_SOP_CLASSES) == set(ObjectKind)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.1.1",
        "1.2.840.10008.5.1.4.1.1.2",
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.66.4",
        "1.2.840.10008.5.1.4.1.1.88.34",
    ],
)
def test_a_sop_class_that_every_pacs_asks_for_is_stated(uid: str) -> None:
    assert f"`{uid}`" in PAGE
