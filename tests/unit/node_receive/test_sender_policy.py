"""What a sender may send, how much of it at once, and how fast."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import ReceiveSettings, SenderSettings
from node.receive.allowance import LONGEST_DELAY_S, Allowance
from node.receive.sender_policy import MIB, AssociationPolicy, SenderPolicy
from node.receive.shared_file import SharedFile, SharedNumber, new_shared_file

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


NOW_S = 1000.0
"""Of the monotonic clock; a machine that started less than a second ago has no burst."""


def _sender(ae_title: str = "PACS", **limits: object) -> SenderSettings:
    return SenderSettings.model_validate({"ae_title": ae_title} | limits)


def _policy(file: SharedFile | None = None, **limits: object) -> SenderPolicy:
    return SenderPolicy(ReceiveSettings(senders=(_sender("PACS", **limits),)), file or SharedFile())


def _begun(policy: SenderPolicy) -> AssociationPolicy:
    association = policy.begin("PACS")
    assert association is not None
    return association


def _allowance(per_s: float | None) -> Allowance:
    return Allowance(per_s, SharedNumber(SharedFile(), 0, 8))


@contextmanager
def _locked_by_another_process(descriptor: int, byte: int) -> Iterator[None]:
    program = f"import fcntl, time; fcntl.lockf(0, fcntl.LOCK_EX, 1, {byte}); print(flush=True)"
    command = [sys.executable, "-c", f"{program}; time.sleep(60)"]
    with subprocess.Popen(command, stdin=descriptor, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def test_a_sender_without_a_list_may_send_every_sop_class() -> None:
    association = _policy().begin("PACS")
    assert association is not None
    assert all(association.allows(uid) for uid in (CT, MR, SEG, "1.2.3.4"))


def test_a_list_of_groups_and_uids_is_the_whole_of_what_is_allowed() -> None:
    association = _policy(sop_classes=["ct", SEG, "1.2.3.4"]).begin("PACS")
    assert association is not None
    assert [association.allows(uid) for uid in (CT, f"{CT}.1", SEG, "1.2.3.4", MR)] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_who_is_not_listed_has_no_limits() -> None:
    association = _policy(max_associations=1).begin("ANYONE")
    assert association is not None
    assert association.allows(MR)
    assert association.max_instance_bytes is None
    assert association.delay_after_bytes(1 << 40, 0) == association.delay_after_instance(0) == 0
    association.end(0)


def test_one_association_too_many_waits_for_another_to_end() -> None:
    policy = _policy(max_associations=2)
    first, second = policy.begin("PACS"), policy.begin("PACS")
    assert first is not None
    assert second is not None
    assert policy.begin("PACS") is None

    first.end(NOW_S)
    first.end(NOW_S)

    assert policy.begin("PACS") is not None
    assert policy.begin("PACS") is None


def test_a_sender_has_its_whole_rate_in_whatever_process_it_is_served() -> None:
    file = SharedFile()
    one, other = (_begun(_policy(file, max_mib_per_s=2, max_instances_per_s=1)) for _ in "12")
    assert one.delay_after_bytes(2 * MIB, NOW_S) == 0
    assert other.delay_after_bytes(MIB, NOW_S) == pytest.approx(0.5)
    assert one.delay_after_bytes(MIB, NOW_S) == pytest.approx(1)
    assert one.delay_after_instance(NOW_S) == 0
    assert other.delay_after_instance(NOW_S) == pytest.approx(1)


def test_a_receiver_that_starts_with_other_settings_finds_the_others_places() -> None:
    file, pacs = SharedFile(), _sender(max_instances_per_s=1)
    senders = [(pacs, _sender("CT")), (_sender("MR", max_instances_per_s=1), pacs)]
    older, newer = (SenderPolicy(ReceiveSettings(senders=each), file) for each in senders)
    assert _begun(older).delay_after_instance(NOW_S) == 0
    assert _begun(newer).delay_after_instance(NOW_S) == pytest.approx(1)
    stranger = newer.begin("MR")
    assert stranger is not None
    assert stranger.delay_after_instance(NOW_S) == 0


def test_slots_that_another_process_holds_are_free_when_it_is_killed() -> None:
    descriptor = new_shared_file()
    policy = _policy(SharedFile(descriptor), max_associations=1)
    with _locked_by_another_process(descriptor, 1 << 20):
        assert policy.begin("PACS") is None
    assert policy.begin("PACS") is not None


def test_a_process_that_is_halted_in_the_middle_halts_no_other() -> None:
    descriptor = new_shared_file()
    number = SharedNumber(SharedFile(descriptor), 0, 8)
    with _locked_by_another_process(descriptor, 8):
        assert number.change(lambda old: old + 1) == 1
    assert number.change(lambda old: old + 1) == 2


def test_small_pieces_are_gathered_and_none_is_forgotten() -> None:
    file = SharedFile()
    policy = _policy(file, max_mib_per_s=1)
    for _ in range(1 << 7):
        association = _begun(policy)
        assert association.delay_after_bytes(1 << 13, NOW_S) == 0
        association.end(NOW_S)
    assert _begun(policy).delay_after_bytes(MIB, NOW_S) == pytest.approx(1)


def test_nothing_is_written_to_a_file_that_was_closed() -> None:
    file = SharedFile()
    association = _begun(_policy(file, max_mib_per_s=1, max_associations=1))
    file.close()
    association.delay_after_bytes(MIB, NOW_S)
    association.end(NOW_S)
    assert not file.try_lock(0)


def test_all_associations_of_a_sender_share_one_allowance() -> None:
    policy = _policy(max_instances_per_s=2)
    first, second = _begun(policy), _begun(policy)
    assert [first.delay_after_instance(NOW_S), second.delay_after_instance(NOW_S)] == [0, 0]
    assert first.delay_after_instance(NOW_S) == pytest.approx(0.5)
    assert second.delay_after_instance(NOW_S) == pytest.approx(1)


def test_the_size_limit_is_in_bytes() -> None:
    association = _policy(max_instance_mib=3).begin("PACS")
    assert association is not None
    assert association.max_instance_bytes == 3 * MIB


def test_no_limit_means_no_delay() -> None:
    assert _allowance(None).take(1e12, NOW_S) == 0


@given(
    per_s=st.floats(0.5, 1000),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=40),
)
def test_who_waits_as_told_never_exceeds_the_rate(per_s: float, shares: list[float]) -> None:
    allowance = _allowance(per_s)
    now_s, taken = NOW_S, 0.0
    for share in shares:
        taken += share * per_s
        now_s += allowance.take(share * per_s, now_s)
    assert taken <= per_s * (now_s - NOW_S + 1) * (1 + 1e-9)


@given(amounts=st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_no_single_delay_makes_a_sender_give_up(amounts: list[float]) -> None:
    allowance = _allowance(1)
    assert all(0 <= allowance.take(amount, NOW_S) <= LONGEST_DELAY_S for amount in amounts)


def test_a_pause_does_not_save_up_more_than_a_second() -> None:
    allowance = _allowance(1)
    allowance.take(1, NOW_S)
    assert allowance.take(1, NOW_S + 3600) == 0
    assert allowance.take(1, NOW_S + 3600) == pytest.approx(1)
