MOST_PARTS: int

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
