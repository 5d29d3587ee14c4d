"""Which real counterparts this machine has; tests that miss theirs are named, not forgotten."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from tests.peers import pixelmed_checker, real_images
from tests.peers.orthanc import DICOM_WEB_PLUGIN

# How long an example takes says how busy the machine is, and nothing about the code.
hypothesis.settings.register_profile(
    "radnode", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("radnode")

REQUIRE_PEERS = os.environ.get("RADNODE_REQUIRE_PEERS") == "1"
FHIR_SERVER = Path(__file__).parent / "peers" / "fhir_r4_server"


def _on_path(program: str) -> Callable[[], bool]:
    return lambda: shutil.which(program) is not None


def _has_postgresql() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def _has_dcmqi() -> bool:
    return (Path(sys.executable).parent / "segimage2itkimage").exists()


def _has_fhir_server() -> bool:
    return (
        shutil.which("node") is not None
        and (FHIR_SERVER / "node_modules" / ".package-lock.json").exists()
    )


def _has_pixelmed() -> bool:
    return shutil.which("javac") is not None and pixelmed_checker.JAR.exists()


def _has_c_compiler() -> bool:
    compiler = os.environ.get("CC") or str(sysconfig.get_config_var("CC"))
    header = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(compiler.split()[0]) is not None and header.exists()


PEERS: dict[str, Callable[[], bool]] = {
    "orthanc": _on_path("Orthanc"),
    "orthanc_dicomweb": DICOM_WEB_PLUGIN.exists,
    "dcmtk": _on_path("storescu"),
    "dicom3tools": _on_path("dciodvfy"),
    "postgresql": _has_postgresql,
    "dcmqi": _has_dcmqi,
    "fhir_server": _has_fhir_server,
    "pixelmed": _has_pixelmed,
    "real_images": real_images.are_there,
    "c_compiler": _has_c_compiler,
}

PEER_MISSING = "peer missing: "


def _missing_peers(item: pytest.Item) -> list[str]:
    names = [name for mark in item.iter_markers("peer") for name in mark.args]
    unknown = set(names) - set(PEERS)
    if unknown:
        raise pytest.UsageError(f"{item.nodeid}: unknown peer {sorted(unknown)}")
    return [name for name in dict.fromkeys(names) if not PEERS[name]()]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here; with RADNODE_REQUIRE_PEERS=1 it fails instead."""
    missing = ", ".join(_missing_peers(item))
    if missing and REQUIRE_PEERS:
        pytest.fail(f"{PEER_MISSING}{missing}; run docker/install-test-peers.sh", pytrace=False)
    if missing:
        pytest.skip(f"{PEER_MISSING}{missing}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Name every test that did not run for want of its counterpart."""
    # From the reports, because with several test processes only they reach this one.
    reports = terminalreporter.stats.get("skipped", [])
    listed = [(r.nodeid, r.longrepr[2]) for r in reports if PEER_MISSING in str(r.longrepr)]
    if listed:
        terminalreporter.section("not run: the counterpart is not installed")
        for nodeid, reason in listed:
            terminalreporter.line(f"{nodeid} ({reason.removeprefix('Skipped: ')})")
