"""The receivers that are measured side by side, each started empty and ended after a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydicom import dcmread

from config.settings import StorageSettings
from tests.acceptance.radnode_process import RadnodeProcess, environment
from tests.benchmarks.stock_receiver import MAX_PDU_BYTES
from tests.peers.dcmtk import StoreScp
from tests.peers.kept_instances import kept_instances, sqlite_of
from tests.peers.orthanc import Modality, Orthanc
from tests.peers.ports import free_port, is_listening, wait_until
from tests.peers.postgres import PostgresServer

SENDER = "BENCH"
STORESCP = "storescp"
STORESCP_FORK = "storescp --fork"
ORTHANC = "Orthanc"
DURABILITIES = ("os", "fsync")


@dataclass(frozen=True, slots=True)
class Running:
    """A receiver that listens; `root_pids` are the first processes of all that belong to it."""

    port: int
    ae_title: str
    root_pids: tuple[int, ...]
    source: Received


class Received(Protocol):
    """Tells the size in bytes of all that a receiver has, by SOP Instance UID."""

    def __call__(self) -> Mapping[str, int]:
        """Look."""
        ...


class Start(Protocol):
    """Starts one receiver with an empty folder for its files; Orthanc takes a temporary one."""

    def __call__(self, folder: Path) -> Any:
        """Return a context manager that gives a `Running`."""
        ...


@dataclass(frozen=True, slots=True)
class Receiver:
    """One line of the table: how it is called, what its answer promises, how to start it."""

    name: str
    promise: str
    start: Start


def installed_receivers() -> tuple[Receiver, ...]:
    """Return every receiver that this machine can run."""
    found = []
    if shutil.which("storescp"):
        found += [
            Receiver(STORESCP, "written", lambda folder: _storescp(folder)),
            Receiver(STORESCP_FORK, "written", lambda folder: _storescp(folder, "--fork")),
        ]
    if shutil.which("Orthanc"):
        found.append(Receiver(ORTHANC, "file written, row committed", _orthanc))
    found.append(Receiver("pynetdicom, raw handler", "written", _stock))
    return (*found, *_radnodes())


def _radnodes() -> Iterator[Receiver]:
    """Each durability that this version has, on each database that is installed."""
    if "durability" not in StorageSettings.model_fields:
        yield Receiver("radnode", "file and row fsynced", lambda folder: _radnode(folder, {}))
        return
    for durability in DURABILITIES:
        storage = {"durability": durability}
        promise = (
            "file and receipt fsynced" if durability == "fsync" else "file and receipt written"
        )
        for database in _databases():
            yield Receiver(
                f"radnode {durability}, {database}",
                promise,
                lambda folder, given=storage, kind=database: (
                    _radnode(folder, given) if kind == "SQLite" else _on_postgres(folder, given)
                ),
            )


def _databases() -> Sequence[str]:
    has_server = any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return ("SQLite", "PostgreSQL") if has_server else ("SQLite",)


@contextmanager
def _storescp(folder: Path, *options: str) -> Iterator[Running]:
    sizes = ("-pdu", str(MAX_PDU_BYTES), *options)
    with StoreScp(folder, options=sizes) as scp:
        yield Running(scp.port, scp.ae_title, (scp.pid,), lambda: _in_folder(folder))


@contextmanager
def _orthanc(folder: Path) -> Iterator[Running]:
    with Orthanc([Modality("sender", SENDER, free_port())]) as pacs:
        yield Running(pacs.dicom_port, pacs.aet, (pacs.pid,), pacs.all_instances)


@contextmanager
def _stock(folder: Path) -> Iterator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    module = "tests.benchmarks.stock_receiver"
    child = subprocess.Popen(
        [sys.executable, "-m", module, str(folder), str(port)], env=environment()
    )
    try:
        wait_until(lambda: is_listening(port), what="the stock receiver")
        yield Running(port, "STOCK", (child.pid,), lambda: _in_folder(folder))
    finally:
        child.kill()
        child.wait()


@contextmanager
def _radnode(
    folder: Path, storage: Mapping[str, Any], more_pids: tuple[int, ...] = ()
) -> Iterator[Running]:
    data_dir = folder / "data"
    settings = {
        "node": {"data_dir": str(data_dir)},
        "storage": dict(storage),
        "receive": {"port": 0, "senders": [{"ae_title": SENDER}]},
        # Models are not what is measured, and would take the same cores.
        "worker": {"enabled": False},
    }
    url = str(storage.get("database_url", sqlite_of(data_dir)))
    with RadnodeProcess(folder, settings) as node:
        pids = (node.pid, *more_pids)
        yield Running(node.port, "RADNODE", pids, lambda: _sizes_of_kept(url, data_dir))


@contextmanager
def _on_postgres(folder: Path, storage: Mapping[str, Any]) -> Iterator[Running]:
    with PostgresServer(is_durable=True) as server:
        given = {**storage, "database_url": server.new_database()}
        with _radnode(folder, given, (server.pid,)) as running:
            yield running


def _sizes_of_kept(url: str, data_dir: Path) -> dict[str, int]:
    return {
        uid: (data_dir / instance.path).stat().st_size
        for uid, instance in kept_instances(url).items()
    }


def _in_folder(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.iterdir():
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
        found[str(header.SOPInstanceUID)] = path.stat().st_size
    return found
