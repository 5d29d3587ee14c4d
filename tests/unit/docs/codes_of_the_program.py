"""Every code that the program can put before an operator, read from its source and its tables."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

from config.tls_failure import TlsFailure
from fhir.errors import PatientProblem
from node.receive.dimse_status import StoreFailure
from pipelines.errors import RefusalCode
from storage.errors import ConflictReason

ROOT = Path(__file__).parents[3]
_PACKAGES = ("config", "fhir", "node", "pipelines", "storage")
_DELIVERY_ERRORS = {
    "FormRefused",
    "PermanentDelivery",
    "PermanentFhirError",
    "TransientDelivery",
    "TransientFhirError",
}
_CHILDREN = ("receiver", "worker")
_DEATHS = ("died", "not_started", "death_not_handled")


def error_events() -> frozenset[str]:
    """Events that are logged as errors or worse."""
    of_children = {f"{child}_{death}" for child in _CHILDREN for death in _DEATHS}
    return frozenset(of_children | set(_literals_of(_is_error_log)))


def delivery_codes() -> frozenset[str]:
    """Reasons of deliveries that wait or are dead."""
    return frozenset(_literals_of(lambda name: name in _DELIVERY_ERRORS)) | {
        problem.value for problem in PatientProblem
    }


def tls_codes() -> frozenset[str]:
    """Reasons of failed TLS handshakes."""
    return frozenset(failure.value for failure in TlsFailure)


def refusal_codes() -> frozenset[str]:
    """Reasons of studies that were not processed."""
    return frozenset(code.value for code in RefusalCode)


def store_codes() -> frozenset[str]:
    """Reasons of instances that were not taken."""
    return frozenset(failure.code for failure in StoreFailure)


def quarantine_reasons() -> frozenset[str]:
    """Reasons of instances that are kept aside."""
    return frozenset(reason.value for reason in ConflictReason)


def _is_error_log(name: str) -> bool:
    return name in {"log.error", "log.critical", "_log.error", "_log.critical"}


def _literals_of(wanted: Callable[[str], bool]) -> Iterator[str]:
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for call in _calls(path):
                first = call.args[0] if call.args else None
                is_text = isinstance(first, ast.Constant) and isinstance(first.value, str)
                if is_text and wanted(ast.unparse(call.func)):
                    assert isinstance(first, ast.Constant)
                    yield str(first.value)


def _calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (item for item in ast.walk(tree) if isinstance(item, ast.Call))
