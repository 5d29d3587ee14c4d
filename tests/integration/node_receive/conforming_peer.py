"""A peer that speaks for itself, and one instance that it sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.dicom_records import InstanceRecord
from storage.instances import instances_of_series
from tests.integration.node_receive.mr_study import SERIES, mr_instance
from tests.integration.node_receive.running_listener import (
    Running,
)
from tests.integration.node_receive.sender import encoded
from tests.peers.raw_dicom import (
    RawPeer,
    store_command,
)

SUCCESS, UNRECOGNISED_OPERATION = 0x0000, 0x0211

ECHO, EXPLICIT_MR, IMPLICIT_MR, UNKNOWN_CONTEXT = 1, 3, 5, 7

INSTANCE = f"{SERIES}.1"

DATA_SET = encoded(mr_instance(1))

RQ = store_command(INSTANCE)


@pytest.fixture
def peer(running: Running) -> Iterator[RawPeer]:
    with RawPeer(running.port) as raw:
        raw.associate()
        yield raw


def kept(running: Running) -> tuple[InstanceRecord, ...]:
    return instances_of_series(running.db, SERIES)
