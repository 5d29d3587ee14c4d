from __future__ import annotations

import os
import signal
import threading

import pytest

from node.stop_signals import stop_signals


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_wait_by_its_name(signum: signal.Signals) -> None:
    with stop_signals() as arrived:
        threading.Timer(0.05, os.kill, (os.getpid(), signum)).start()

        assert arrived.wait() == signum.name


def test_a_signal_that_came_before_the_wait_is_not_lost() -> None:
    with stop_signals() as arrived:
        os.kill(os.getpid(), signal.SIGTERM)

        assert arrived.wait() == "SIGTERM"


def test_the_wait_can_be_ended_without_a_signal() -> None:
    with stop_signals() as arrived:
        threading.Timer(0.05, arrived.wake).start()

        assert arrived.wait() is None


def test_a_supervised_process_leaves_the_interrupt_to_its_parent() -> None:
    with stop_signals(ignore_interrupt=True) as arrived:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

        assert arrived.wait() == "SIGTERM"


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with stop_signals():
        pass

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
