from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from config.settings import FolderDestination, LogSettings, RetrySettings
from fhir.errors import TransientFhirError
from fhir.progress import Progress
from node.delivery import DeliveryLoop
from node.dispatch import Sender
from node.errors import PermanentDelivery, TransientDelivery
from node.log_setup import configure_logging
from storage.audit import list_audit
from storage.database import Database
from storage.deliveries import retry_delivery, return_deliveries_of
from storage.delivery_reads import delivery_events, get_delivery, list_deliveries
from storage.records import DeliveryRecord, DeliveryState, FinishedJob
from tests.peers.ports import wait_until
from tests.unit.storage.samples import make_deliveries

LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)
Send = Callable[[FinishedJob, Progress], Mapping[str, str]]


class Destination:
    """What a destination answers, in turn; the last answer stays."""

    def __init__(self, *answers: Exception | dict[str, str]) -> None:
        self._answers = list(answers)
        self.received: list[FinishedJob] = []

    def __call__(self, finished: FinishedJob, progress: Progress) -> Mapping[str, str]:
        self.received.append(finished)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class BrokenReceipt(dict[str, str]):
    """Cannot be read, and says so with what must not be told."""

    def __iter__(self) -> Iterator[str]:
        raise ValueError("Doe^Jane")

    def keys(self) -> NoReturn:
        raise ValueError("Doe^Jane")


def _loop(db: Database, send: Send, *, confirms: bool = True, days: float = 7) -> DeliveryLoop:
    retry = RetrySettings(first_s=30, longest_s=600, give_up_after_days=days)
    destination = FolderDestination(type="folder", name="ehr", retry=retry)
    return DeliveryLoop(destination, Sender(send, confirms), db, worker_id="radnode/1")


def _new_delivery(db: Database, *, now: datetime | None = None) -> None:
    make_deliveries(db, "ehr", now=now or datetime.now(UTC))


def _only(db: Database) -> DeliveryRecord:
    (delivery,) = list_deliveries(db)
    return delivery


@pytest.mark.parametrize(
    ("confirms", "state"), [(True, DeliveryState.CONFIRMED), (False, DeliveryState.SENT)]
)
def test_a_success_keeps_the_receipt_and_counts_as_what_it_proves(
    db: Database, confirms: bool, state: DeliveryState
) -> None:
    _new_delivery(db)
    destination = Destination({"file": "report.json"})

    assert _loop(db, destination, confirms=confirms).deliver_next(threading.Event())

    assert (_only(db).state, _only(db).receipt) == (state, {"file": "report.json"})
    assert destination.received[0].job.job_id == _only(db).job_id
    (line,) = list_audit(db, 10)
    assert (line.event, line.outcome, line.actor) == ("export", "success", "radnode/1")
    told = {"job_id": str(_only(db).job_id), "destination": "ehr", "purpose": "tell"}
    assert line.detail == told


def test_nothing_due_is_nothing_done(db: Database) -> None:
    assert not _loop(db, Destination({})).deliver_next(threading.Event())


def test_a_passing_error_is_tried_again_later_with_its_reason_visible(db: Database) -> None:
    _new_delivery(db)
    loop = _loop(db, Destination(TransientDelivery("no_connection", "refused")))

    loop.deliver_next(threading.Event())

    delivery = _only(db)
    assert (delivery.state, delivery.reason_code) == (DeliveryState.PENDING, "no_connection")
    wait_s = (delivery.due_at - datetime.now(UTC)).total_seconds()
    assert 25 < wait_s <= 30
    assert not loop.deliver_next(threading.Event())


def test_a_lasting_error_is_dead_at_once(db: Database) -> None:
    _new_delivery(db)

    _loop(db, Destination(PermanentDelivery("no_context", "SEG"))).deliver_next(threading.Event())

    assert (_only(db).state, _only(db).reason_code) == (DeliveryState.DEAD, "no_context")


def test_a_delivery_is_given_up_after_its_days_with_the_last_reason(db: Database) -> None:
    _new_delivery(db, now=LONG_AGO)

    _loop(db, Destination(TransientDelivery("no_connection", "x"))).deliver_next(threading.Event())

    delivery = _only(db)
    assert (delivery.state, delivery.reason_code) == (DeliveryState.DEAD, "gave_up")
    assert "no_connection" in delivery.reason_text


def test_a_person_who_asks_again_gives_it_all_its_days_again(db: Database) -> None:
    _new_delivery(db, now=LONG_AGO)
    loop = _loop(db, Destination(TransientDelivery("no_connection", "refused")))
    loop.deliver_next(threading.Event())
    retry_delivery(db, _only(db).delivery_id, now=datetime.now(UTC))

    loop.deliver_next(threading.Event())

    assert (_only(db).state, _only(db).attempts) == (DeliveryState.PENDING, 1)


def test_an_unforeseen_error_waits_visibly_without_its_text(db: Database) -> None:
    _new_delivery(db)

    _loop(db, Destination(ValueError("Doe^Jane"))).deliver_next(threading.Event())

    events = delivery_events(db, _only(db).delivery_id)
    assert (_only(db).state, _only(db).reason_code) == (DeliveryState.PENDING, "internal_error")
    assert "Doe" not in "".join(event.reason_text for event in events)


def test_a_receipt_for_a_delivery_that_was_taken_back_is_dropped(db: Database) -> None:
    _new_delivery(db)

    def send(finished: FinishedJob, progress: Progress) -> Mapping[str, str]:
        return_deliveries_of(db, "radnode", now=datetime.now(UTC))
        return {"file": "report.json"}

    _loop(db, send).deliver_next(threading.Event())

    assert (_only(db).state, _only(db).receipt) == (DeliveryState.PENDING, {})


def test_the_loop_delivers_what_becomes_due_until_it_is_stopped(db: Database) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=_loop(db, Destination({})).run, args=(stop,), daemon=True)
    thread.start()
    _new_delivery(db)

    wait_until(lambda: _only(db).state is DeliveryState.CONFIRMED, what="the delivery")
    stop.set()
    thread.join(10)

    assert not thread.is_alive()


def test_waiting_longer_on_the_servers_own_wish(db: Database) -> None:
    _new_delivery(db)
    wish = TransientFhirError("http_429", "too many requests", retry_after_s=3600.0)

    _loop(db, Destination(wish)).deliver_next(threading.Event())

    delivery = get_delivery(db, _only(db).delivery_id)
    assert delivery.due_at - datetime.now(UTC) > timedelta(minutes=50)


def test_a_destination_that_wants_a_pause_gets_one_from_all_its_deliveries(db: Database) -> None:
    for study in ("1.2.1", "1.2.2", "1.2.3"):
        make_deliveries(db, "ehr", study=study, now=datetime.now(UTC))
    busy = Destination(TransientFhirError("http_429", "too many requests", retry_after_s=30.0))
    stop = threading.Event()
    thread = threading.Thread(target=_loop(db, busy).run, args=(stop,), daemon=True)
    thread.start()
    wait_until(lambda: busy.received, what="the first try")
    time.sleep(1)
    stop.set()
    thread.join(10)

    assert len(busy.received) == 1
    assert not thread.is_alive()


def test_a_wish_beyond_all_time_is_granted_an_hour(db: Database) -> None:
    _new_delivery(db)
    wish = TransientFhirError("http_503", "busy", retry_after_s=1e20)

    _loop(db, Destination(wish)).deliver_next(threading.Event())

    assert (_only(db).state, _only(db).reason_code) == (DeliveryState.PENDING, "http_503")
    assert _only(db).due_at - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize("days", [1e8, 1e300])
def test_patience_without_end_is_no_error(db: Database, days: float) -> None:
    _new_delivery(db)
    passing = TransientDelivery("no_connection", "refused")

    _loop(db, Destination(passing), days=days).deliver_next(threading.Event())

    assert _only(db).state is DeliveryState.PENDING


def test_the_loop_outlives_what_nobody_foresaw_and_records_it_without_its_text(
    db: Database,
) -> None:
    _new_delivery(db)
    stream, stop = io.StringIO(), threading.Event()
    configure_logging(LogSettings(), process="radnode", stream=stream)
    receipts: list[Mapping[str, str]] = [BrokenReceipt(), {"file": "report.json"}]
    send: Send = lambda finished, progress: receipts.pop(0)  # noqa: E731
    thread = threading.Thread(target=_loop(db, send).run, args=(stop,), daemon=True)
    thread.start()
    wait_until(lambda: "delivery_loop_broke" in stream.getvalue(), what="the record")

    return_deliveries_of(db, "radnode", now=datetime.now(UTC))
    wait_until(lambda: _only(db).state is DeliveryState.CONFIRMED, what="the next try")
    stop.set()
    thread.join(10)

    (line,) = (json.loads(one) for one in stream.getvalue().splitlines() if "_broke" in one)
    assert (line["level"], line["destination"]) == ("error", "ehr")
    assert line["reason"].startswith("ValueError at ")
    assert "Doe" not in stream.getvalue()


def test_a_destination_that_cannot_take_reports_is_told_of_at_the_start(db: Database) -> None:
    def check() -> None:
        raise TransientFhirError("mode_impossible", "mode sequential: no create of Observation")

    stream, stop = io.StringIO(), threading.Event()
    configure_logging(LogSettings(), process="radnode", stream=stream)
    sender = Sender(Destination({"file": "report.json"}), True, check)
    folder = FolderDestination(type="folder", name="ehr")
    _new_delivery(db)
    thread = threading.Thread(
        target=DeliveryLoop(folder, sender, db, worker_id="radnode/1").run, args=(stop,)
    )
    thread.start()
    wait_until(lambda: _only(db).state is DeliveryState.CONFIRMED, what="the delivery")
    stop.set()
    thread.join(10)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    (told,) = (line for line in lines if line["event"] == "destination_not_ready")
    assert (told["destination"], told["reason_code"]) == ("ehr", "mode_impossible")
