"""Servers that answer as a test's script says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pydicom.dataset import FileDataset

from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer

Serve = Callable[[Callable[[Request], Answer]], ScriptedHttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[ScriptedHttpServer] = []

    def start(answer: Callable[[Request], Answer]) -> ScriptedHttpServer:
        running.append(ScriptedHttpServer(answer).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__(None, None, None)


def refusing(modality: str, reason: int) -> Callable[[FileDataset], int]:
    return lambda instance: reason if instance.Modality == modality else 0
