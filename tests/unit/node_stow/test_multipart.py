from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from node.stow.multipart import MultipartBody


@given(st.lists(st.binary(max_size=64), max_size=4))
def test_the_announced_length_is_what_is_sent(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        body = MultipartBody(paths)
        sent = b"".join(body.chunks())
        assert len(sent) == body.content_length()
        assert [content in sent for content in contents] == [True] * len(contents)


def test_a_large_file_is_never_held_whole(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(5 * 2**20)
    assert max(map(len, MultipartBody([large]).chunks())) <= 2**18
