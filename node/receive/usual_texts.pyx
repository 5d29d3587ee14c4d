# cython: language_level=3, embedsignature=True
"""What is said of instances that are like each other: all the same, but for a few values.

Compiled, for `node.receive.usual_run`: a request is held against the one before, and the texts of
its instance are made: the head of its file, its receipt, its answer.
"""

from libc.string cimport memcmp, memcpy

from node.receive.usual_data_set cimport HEADERS

cdef enum:
    _P_DATA_TF = 4
    _OVERHEAD = 6
    _GROUP_LENGTH_AT = 8
    _AFTER_GROUP_LENGTH = 12

CHANCE_DIGITS = CHANCE
MOST_KINDS_TOGETHER = MOST_KINDS


cdef inline uint32_t _little(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline void _put(char *text, Py_ssize_t *at, const char *part, Py_ssize_t size) noexcept nogil:
    memcpy(text + at[0], part, size)
    at[0] += size


cdef inline void _put_little(char *at, uint32_t value, int size) noexcept nogil:
    cdef int number
    for number in range(size):
        at[number] = <char>(value >> 8 * number & 0xFF)


cdef inline void _put_big(char *at, uint32_t value) noexcept nogil:
    cdef int number
    for number in range(4):
        at[number] = <char>(value >> 8 * (3 - number) & 0xFF)


cdef bint _is_plain_uid(const char *uid, Py_ssize_t size) noexcept nogil:
    """Digits and single dots between them (PS3.5 9.1): it becomes a part of a path."""
    cdef Py_ssize_t at
    cdef char before = 0x2E
    if not 0 < size <= MOST_UID:
        return False
    for at in range(size):
        if uid[at] == 0x2E:
            if before == 0x2E:
                return False
        elif not 0x30 <= uid[at] <= 0x39:
            return False
        before = uid[at]
    return before != 0x2E


cdef class UsualTexts:
    """The texts of the instances of some series, the kinds, over one association.

    They come in pieces, between which stand the instance's own values:

    - `request`: to the Message ID, from there to the UID, behind it;
    - `head`: to the group length, from there to the UID's length, behind the UID;
    - `answer`: to the Message ID, from there to the UID, which is the last value;
    - `receipt`: to the UID, from there to the Instance Number, from there to the file's name in
      its folder, behind that name to the size; one for each kind.

    Group lengths and the lengths of UIDs are set here.
    """

    def __init__(self, tuple request, tuple head, tuple answer, list receipts):
        self._held = request, head, answer, receipts[:]
        self.kinds = len(receipts)
        if not 0 < self.kinds <= MOST_KINDS:
            raise ValueError("another number of kinds")
        if [len(request), len(head), len(answer)] != [3, 3, 2]:
            raise ValueError("another number of pieces")
        _fill(self._request, request)
        _fill(self._head, head)
        _fill(self._answer, answer)
        for kind, receipt in enumerate(receipts):
            self._keep(kind, receipt)
        if sum(map(len, answer)) + 2 + MOST_UID + HEADERS >= MOST_NAME:
            raise ValueError("an answer that is too long")
        if sum(map(len, request)) + 2 + MOST_UID > MOST_COMMAND:
            raise ValueError("a request that is too long")
        if min(len(request[0]), len(answer[0])) < _AFTER_GROUP_LENGTH or len(head[0]) < 4:
            raise ValueError("no group length")
        if min(len(request[1]), len(answer[1])) < 4:
            raise ValueError("no length of a UID")

    cdef int _keep(self, int kind, tuple receipt) except -1:
        if len(receipt) != 4:
            raise ValueError("another number of pieces")
        if len(receipt[0]) + len(receipt[1]) + MOST_UID > MOST_TEXT:
            raise ValueError("a receipt that is too long")
        if sum(map(len, receipt[2:])) + MOST_UID + CHANCE + 8 > MOST_NAME:
            raise ValueError("a name that is too long")
        return _fill(self._receipts[kind], receipt)

    @property
    def head_bytes(self):
        """How long the head of a file is at the most."""
        return self._head[0].size + self._head[1].size + self._head[2].size + 2 + MOST_UID

    cdef bint is_like(self, const uint8_t *command, Py_ssize_t size) noexcept nogil:
        """Compare a command set with the one before, and keep what is its own."""
        cdef Text *pieces = self._request
        cdef Py_ssize_t id_at = pieces[0].size, uid_at = id_at + 2 + pieces[1].size
        cdef Py_ssize_t uid_size = size - uid_at - pieces[2].size
        cdef Request *asked = &self.asked
        if not 0 < uid_size <= MOST_UID:
            return False
        if (
            _little(command + _GROUP_LENGTH_AT) != size - _AFTER_GROUP_LENGTH
            or memcmp(command, pieces[0].at, _GROUP_LENGTH_AT)
            or memcmp(
                command + _AFTER_GROUP_LENGTH,
                pieces[0].at + _AFTER_GROUP_LENGTH,
                pieces[0].size - _AFTER_GROUP_LENGTH,
            )
            or memcmp(command + id_at + 2, pieces[1].at, pieces[1].size - 4)
            or _little(command + uid_at - 4) != uid_size
            or memcmp(command + uid_at + uid_size, pieces[2].at, pieces[2].size)
        ):
            return False
        memcpy(asked.encoded, command, size)
        asked.size = size
        memcpy(asked.message_id, command + id_at, 2)
        memcpy(asked.uid, command + uid_at, uid_size)
        while uid_size and asked.uid[uid_size - 1] in (0, 0x20):
            uid_size -= 1
        asked.uid_size = uid_size
        return _is_plain_uid(asked.uid, uid_size)

    cdef void begin(self, const char *chance, int context_id) noexcept nogil:
        """Make the answer to what is asked for; the name of its file has that chance."""
        memcpy(self.chance, chance, CHANCE)
        self._put_answer(context_id)

    cdef Py_ssize_t put_head(self, char *memory) noexcept nogil:
        cdef Text *pieces = self._head
        cdef Py_ssize_t at = 0, begin = pieces[0].size, size = self.asked.uid_size
        _put(memory, &at, pieces[0].at, begin)
        _put(memory, &at, pieces[1].at, pieces[1].size)
        _put_little(memory + at, size + size % 2, 2)
        at += 2
        _put(memory, &at, self.asked.uid, size)
        memory[at] = 0
        at += size % 2
        _put(memory, &at, pieces[2].at, pieces[2].size)
        _put_little(memory + begin - 4, at - begin, 4)
        return at

    cdef void _put_answer(self, int context_id) noexcept nogil:
        cdef char *said = self.said
        cdef Py_ssize_t at = HEADERS, size = self.asked.uid_size
        _put(said, &at, self._answer[0].at, self._answer[0].size)
        _put(said, &at, <char *>self.asked.message_id, 2)
        _put(said, &at, self._answer[1].at, self._answer[1].size)
        _put_little(said + at - 4, size + size % 2, 4)
        _put(said, &at, self.asked.uid, size)
        said[at] = 0
        at += size % 2
        _put_little(said + HEADERS + _GROUP_LENGTH_AT, at - HEADERS - _AFTER_GROUP_LENGTH, 4)
        said[0], said[1] = _P_DATA_TF, 0
        _put_big(said + 2, at - _OVERHEAD)
        _put_big(said + _OVERHEAD, at - _OVERHEAD - 4)
        said[10], said[11] = <char>context_id, WHOLE_COMMAND
        self.said_size = at

    cdef void put_receipt(self, int kind) noexcept nogil:
        """Make the receipt of the instance that is asked for, which is of that kind."""
        cdef Text *pieces = self._receipts[kind]
        cdef Py_ssize_t at = 0
        _put(self.before, &at, pieces[0].at, pieces[0].size)
        _put(self.before, &at, self.asked.uid, self.asked.uid_size)
        _put(self.before, &at, pieces[1].at, pieces[1].size)
        self.before_size, at = at, 0
        _put(self.between, &at, pieces[2].at, pieces[2].size)
        at += self.put_place(self.between + at)
        _put(self.between, &at, pieces[3].at, pieces[3].size)
        self.between_size = at

    cdef Py_ssize_t put_place(self, char *name) noexcept nogil:
        """The name of the file in its folder (`storage.instance_files`)."""
        cdef Py_ssize_t at = 0
        _put(name, &at, self.asked.uid, self.asked.uid_size)
        _put(name, &at, b".", 1)
        _put(name, &at, self.chance, CHANCE)
        _put(name, &at, b".dcm", 5)
        return at - 1


cdef Text _text(bytes given):
    cdef Text made
    made.at, made.size = <char *>given, len(given)
    return made


cdef int _fill(Text *pieces, tuple given) except -1:
    cdef int number
    for number in range(len(given)):
        pieces[number] = _text(given[number])
    return 0
