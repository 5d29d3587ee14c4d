"""`python -m node.conformance` prints docs/conformance.md; a test holds the two together."""

from __future__ import annotations

import sys

from node.conformance.page import conformance_statement

if __name__ == "__main__":
    sys.stdout.write(conformance_statement())
