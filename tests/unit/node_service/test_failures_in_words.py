"""Every way in which an attempt can fail is told in words, without the text of its error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from node.attempt import Failure, attempt
from node.time_limits import TIME_LIMIT
from pipelines.errors import PipelineError, Refused
from storage.errors import StorageError
from storage.jobs import WORKER_LOST
from storage.reason_words import reason_in_words
from storage.records import JobState
from tests.unit.fhir.finished_jobs import without_result

TEXT = "/srv/radnode/model.pt: no such file; set pipelines.bundles_dir"


def kinds(of: type[Exception]) -> Iterator[type[Exception]]:
    yield of
    for below in of.__subclasses__():
        yield from kinds(below)


BROKEN: set[type[Exception]] = {MemoryError, *kinds(PipelineError), *kinds(StorageError)}
FAILURES = sorted((BROKEN | {RuntimeError}) - {Refused}, key=lambda kind: kind.__name__)


def words(code: str) -> str:
    return reason_in_words(without_result(JobState.FAILED, code, TEXT).job)


@pytest.mark.parametrize("kind", FAILURES)
def test_every_error_of_an_attempt_has_words(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def breaks(*_arguments: object) -> None:
        raise kind.__new__(kind, TEXT)

    monkeypatch.setattr("node.attempt._run", breaks)
    unused: Any = None
    done = attempt(without_result().job, unused, unused, unused)
    assert isinstance(done, Failure)
    assert words(done.code)
    assert not set("/._:;") & set(words(done.code))


@pytest.mark.parametrize("code", [TIME_LIMIT, WORKER_LOST])
def test_a_job_that_was_ended_from_outside_has_words(code: str) -> None:
    assert words(code)
