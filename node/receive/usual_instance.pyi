from node.receive.usual_header import UsualHeader

STORED: int
OTHERWISE: int
VANISHED: int
FAILED: int
SLACK_BYTES: int

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
