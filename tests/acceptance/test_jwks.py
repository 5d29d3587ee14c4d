from __future__ import annotations

import json
from pathlib import Path

import jwt
import yaml

from tests.acceptance.radnode_process import run_radnode
from tests.peers.smart_keys import EC_KEY, RSA_KEY, write_key


def test_the_public_keys_are_printed_for_the_ehr(tmp_path: Path) -> None:
    keys = [write_key(tmp_path / "old.pem", RSA_KEY), write_key(tmp_path / "new.pem", EC_KEY)]
    smart = {"client_id": "radnode-1", "key_files": [path.name for path in keys]}
    ehr = {"type": "fhir", "name": "ehr", "base_url": "https://ehr.example/fhir", "smart": smart}
    config = tmp_path / "node.yaml"
    senders = [{"ae_title": "PACS"}]
    config.write_text(yaml.safe_dump({"receive": {"senders": senders}, "destinations": [ehr]}))

    done = run_radnode("jwks", "--config", str(config), cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    published = jwt.PyJWKSet.from_dict(json.loads(done.stdout))
    assert [key.algorithm_name for key in published.keys] == ["RS384", "ES384"]
    assert "PRIVATE" not in done.stdout
