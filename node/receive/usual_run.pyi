from node.receive.usual_header import UsualHeader
from node.receive.usual_texts import UsualTexts

MOST_INSTANCES: int

class UsualRun:
    def __init__(
        self,
        connection: int,
        context_id: int,
        longest: int,
        headers: list[UsualHeader],
        texts: UsualTexts,
        incoming: bytes,
        xxh3: int,
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
    ) -> tuple[
        int,
        bytes,
        int,
        bytes,
        list[tuple[int, bytes, bytes, int, int, int, int, int | None]],
        tuple[bytes, int] | None,
        bytes,
    ]: ...
