CHANCE_DIGITS: int
MOST_KINDS_TOGETHER: int

class UsualTexts:
    head_bytes: int
    def __init__(
        self,
        request: tuple[bytes, bytes, bytes],
        head: tuple[bytes, bytes, bytes],
        answer: tuple[bytes, bytes],
        receipts: list[tuple[bytes, bytes, bytes, bytes]],
    ) -> None: ...
