"""The program of a receiver process; `radnode serve` starts it by itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import structlog

from config.errors import ConfigError
from config.load import load_settings
from node.errors import NodeError
from node.log_setup import configure_logging
from node.receive.receiver_process import Descriptors, run_receiver
from storage.errors import StorageError


def main() -> None:
    """Read the command line and receive."""
    parser = argparse.ArgumentParser(prog="python -m node.receive")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--descriptors", type=Descriptors.parse, required=True)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    try:
        settings = load_settings(given.config)
        configure_logging(settings.log, process="receiver")
        run_receiver(
            settings,
            parent_pid=given.parent,
            run_id=given.run,
            descriptors=given.descriptors,
        )
    except (ConfigError, NodeError, StorageError) as error:
        structlog.get_logger().error("receiver_failed", reason=str(error))
        sys.exit(1)
    except Exception:  # noqa: BLE001 -- the outermost edge of the process
        structlog.get_logger().error("receiver_failed", exc_info=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
