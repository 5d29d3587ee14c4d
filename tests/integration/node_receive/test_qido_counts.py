from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import SenderSettings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts, SeriesCount
from node.pacs_query import ask_pacs
from tests.integration.node_receive.mr_study import SERIES, STUDY
from tests.peers.ports import free_port
from tests.peers.scripted_http import ScriptedHttp
