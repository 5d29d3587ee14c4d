from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from node.reply_race import ReactorCheckpoint, close_reply_race

LONGEST_PREEMPTION_S = 0.012
ECHOES = 200


class SlowCheckpoint(ReactorCheckpoint):
    """A reactor that loses the processor just where pynetdicom's own event loses answers."""

    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(random.uniform(0, LONGEST_PREEMPTION_S))
        return passed


@pytest.fixture
def port() -> Iterator[int]:
    ae = AE()
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    yield int(server.socket.getsockname()[1])
    server.shutdown()


def associate(port: int, handler: Any) -> Any:
    ae = AE()
    ae.dimse_timeout = 5
    ae.add_requested_context(Verification)
    association = ae.associate("127.0.0.1", port, evt_handlers=[(evt.EVT_CONN_OPEN, handler)])
    assert association.is_established
    return association


def slow(event: Any) -> None:
    event.assoc._reactor_checkpoint = SlowCheckpoint(event.assoc)


def test_no_answer_is_lost_however_late_the_reactor_stops(port: int) -> None:
    association = associate(port, slow)

    answers = [association.send_c_echo().get("Status") for _ in range(ECHOES)]

    assert answers == [0x0000] * ECHOES
    association.release()
    assert association.is_released


@pytest.mark.parametrize("end", ["release", "abort"])
def test_the_threads_of_an_association_end_with_it(port: int, end: str) -> None:
    association = associate(port, close_reply_race)
    association.send_c_echo()

    getattr(association, end)()
    association.join(10)

    assert not association.is_alive()
    assert not association.dul.is_alive()


def test_an_association_that_the_peer_aborts_ends_without_an_answer(port: int) -> None:
    association = associate(port, close_reply_race)
    for server_side in [t for t in threading.enumerate() if getattr(t, "is_acceptor", False)]:
        server_side.abort()  # type: ignore[attr-defined]
    association.join(10)

    assert association.is_aborted
    with pytest.raises(RuntimeError):
        association.send_c_echo()


def test_clearing_does_not_wait_for_a_reactor_that_has_ended() -> None:
    ended = threading.Thread(target=lambda: None)
    ended.start()
    ended.join()

    ReactorCheckpoint(ended).clear()


def test_the_reactor_itself_may_clear() -> None:
    done = threading.Event()
    checkpoints: list[ReactorCheckpoint] = []

    def clear() -> None:
        checkpoints[0].clear()
        done.set()

    reactor = threading.Thread(target=clear)
    checkpoints.append(ReactorCheckpoint(reactor))
    reactor.start()

    assert done.wait(10)
    assert not checkpoints[0].is_set()
    checkpoints[0].set()
    assert checkpoints[0].wait(10)
