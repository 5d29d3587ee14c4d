"""Studies whose instances come late, mixed or out of order, with lists and without."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from node.quiet_clock import Moment
from storage.dicom_records import StudyState
from storage.studies import get_study, list_studies
from tests.integration.node_receive.listed_node import (
    Node,
    after,
    node,
    notification,
    notify,
    send,
    wait_for_release,
)
from tests.integration.node_receive.mr_study import STUDY, mr_instance, mr_series, write
from tests.integration.node_receive.sender import association, store
from tests.peers.ports import wait_until

__all__ = ["node"]


def test_interleaved_studies_on_one_association_are_judged_each_for_itself(
    node: Node, tmp_path: Path
) -> None:
    other = f"{STUDY}.2"
    ours = mr_series(tmp_path / "a", 2)
    theirs = mr_series(tmp_path / "b", 2, study=other, series=f"{other}.1")
    notify(node, notification(2))
    completeness = node.completeness()
    with association(node.port) as assoc:
        store(assoc, theirs[0], ours[1], theirs[1], ours[0])
        wait_until(lambda: completeness.check(after(0)) == (STUDY,), what="the last row")
        assert completeness.check(after(100)) == ()
    wait_for_release(node)

    assert completeness.check(after(101)) == (other,)


def test_one_study_on_many_associations_out_of_order_waits_for_the_last(
    node: Node, tmp_path: Path
) -> None:
    paths = mr_series(tmp_path, 4)
    completeness = node.completeness()
    with association(node.port) as first:
        store(first, paths[3])
        with association(node.port) as second:
            store(second, paths[0], paths[2])
        assert completeness.check(after(1000)) == ()
        store(first, paths[1])
    wait_for_release(node)

    assert completeness.check(after(1005)) == (STUDY,)


def test_instances_hours_apart_make_generations(node: Node, tmp_path: Path) -> None:
    first, second = mr_series(tmp_path, 2)
    send(node, first)
    assert node.completeness().check(after(11)) == (STUDY,)
    send(node, second)
    study = get_study(node.db, STUDY)
    assert (study.state, study.generation) == (StudyState.RECEIVING, 2)

    assert node.completeness().check(after(3 * 3600)) == (STUDY,)


def test_after_a_restart_the_rows_alone_decide(node: Node, tmp_path: Path) -> None:
    notify(node, notification(3))
    send(node, *mr_series(tmp_path, 2))
    assert node.completeness().check(after(0)) == ()

    # Another process: nothing of the list or the wait was kept in memory.
    assert node.completeness().check(after(599)) == ()
    send(node, write(mr_instance(3), tmp_path))
    assert node.completeness().check(after(0)) == (STUDY,)


@pytest.mark.parametrize("jump_s", [-7200, 7200])
def test_a_clock_that_is_set_ends_no_wait_and_prolongs_none(
    node: Node, tmp_path: Path, jump_s: float
) -> None:
    send(node, *mr_series(tmp_path, 2))
    completeness = node.completeness()
    assert completeness.check(after(1)) == ()

    def after_jump(seconds: float) -> Moment:
        moment = after(seconds)
        return Moment(moment.wall + timedelta(seconds=jump_s), moment.monotonic_s)

    assert completeness.check(after_jump(8)) == ()
    assert completeness.check(after_jump(11)) == (STUDY,)
    (study,) = list_studies(node.db, 1)
    assert study.complete_evidence == "quiet_time"
