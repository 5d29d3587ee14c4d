from collections.abc import Callable

from node.receive.usual_header import UsualHeader
from node.receive.usual_texts import UsualTexts

class UsualRun:
    def __init__(
        self,
        connection: int,
        context_id: int,
        longest: int,
        headers: list[UsualHeader],
        texts: UsualTexts,
        incoming: bytes,
    ) -> None: ...
    def take(
        self,
        came: bytes,
        memory: memoryview,
        most: int,
        file: int,
        chance: bytes,
        file_reserved: int,
        chances: list[bytes],
        reserved: int,
        folders: list[int],
        page: int,
        within_s: float,
        digest: Callable[[memoryview], str],
    ) -> tuple[
        int,
        bytes,
        int,
        bytes,
        list[tuple[int, bytes, bytes, int, int, int, int, str]],
        tuple[bytes, int] | None,
        bytes,
    ]: ...
