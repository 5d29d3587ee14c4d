"""What a sender may send, how much of it at once, and how fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import ReceiveSettings, SenderSettings
from node.receive.sender_policy import LONGEST_DELAY_S, MIB, Allowance, SenderPolicy

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def _policy(processes: int = 1, **limits: object) -> SenderPolicy:
    sender = SenderSettings.model_validate({"ae_title": "PACS", **limits})
    return SenderPolicy(ReceiveSettings(senders=(sender,)), processes=processes)


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
    association.end()


def test_one_association_too_many_waits_for_another_to_end() -> None:
    policy = _policy(max_associations=2)
    first, second = policy.begin("PACS"), policy.begin("PACS")
    assert first is not None
    assert second is not None
    assert policy.begin("PACS") is None

    first.end()
    first.end()

    assert policy.begin("PACS") is not None
    assert policy.begin("PACS") is None


def test_several_processes_share_the_limits() -> None:
    shared = _policy(processes=2, max_associations=2, max_mib_per_s=2)
    association = shared.begin("PACS")
    assert association is not None
    assert shared.begin("PACS") is None
    association.delay_after_bytes(MIB, 0)
    assert association.delay_after_bytes(MIB, 0) == pytest.approx(1)


def test_all_associations_of_a_sender_share_one_allowance() -> None:
    policy = _policy(max_instances_per_s=2)
    first, second = policy.begin("PACS"), policy.begin("PACS")
    assert first is not None
    assert second is not None
    assert [first.delay_after_instance(0), second.delay_after_instance(0)] == [0, 0]
    assert first.delay_after_instance(0) == pytest.approx(0.5)
    assert second.delay_after_instance(0) == pytest.approx(1)


def test_the_size_limit_is_in_bytes() -> None:
    association = _policy(max_instance_mib=3).begin("PACS")
    assert association is not None
    assert association.max_instance_bytes == 3 * MIB


def test_no_limit_means_no_delay() -> None:
    assert Allowance(None).take(1e12, 0) == 0


@given(
    per_s=st.floats(0.5, 1000),
    shares=st.lists(st.floats(0.01, 1), min_size=1, max_size=40),
)
def test_who_waits_as_told_never_exceeds_the_rate(per_s: float, shares: list[float]) -> None:
    allowance = Allowance(per_s)
    now_s, taken = 0.0, 0.0
    for share in shares:
        taken += share * per_s
        now_s += allowance.take(share * per_s, now_s)
    assert taken <= per_s * (now_s + 1) * (1 + 1e-9)


@given(amounts=st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_no_single_delay_makes_a_sender_give_up(amounts: list[float]) -> None:
    allowance = Allowance(1)
    assert all(0 <= allowance.take(amount, 0) <= LONGEST_DELAY_S for amount in amounts)


def test_a_pause_does_not_save_up_more_than_a_second() -> None:
    allowance = Allowance(1)
    allowance.take(1, 0)
    assert allowance.take(1, 3600) == 0
    assert allowance.take(1, 3600) == pytest.approx(1)
