STORED: int
OTHERWISE: int
VANISHED: int
FAILED: int
MOST_PARTS: int
SLACK_BYTES: int

class UsualHeader:
    def __init__(
        self,
        template: bytes,
        mask: bytes,
        sizes: list[int],
        is_closed: bool,
        uid_at: int,
        number_at: int,
    ) -> None: ...
    def number_of(self, data_set: bytes | memoryview, uid: bytes) -> int | None: ...

def take(
    connection: int,
    came: bytes,
    memory: memoryview,
    head: bytes,
    most: int,
    context_id: int,
    longest: int,
    within_s: float,
    header: UsualHeader,
    uid: bytes,
    file: int,
    page: int,
    before: bytes,
    between: bytes,
    answer: bytes,
) -> tuple[int, int, bytes, int, int, int, int]: ...
