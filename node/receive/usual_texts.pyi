CHANCE_DIGITS: int

class UsualTexts:
    head_bytes: int
    def __init__(
        self,
        request: tuple[bytes, bytes, bytes],
        head: tuple[bytes, bytes, bytes],
        answer: tuple[bytes, bytes],
        receipt: tuple[bytes, bytes, bytes, bytes],
    ) -> None: ...
