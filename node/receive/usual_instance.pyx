# cython: language_level=3, embedsignature=True
"""The short way of an instance that is like the one before it: from the wire to its answer.

Compiled, because here each microsecond counts: between the first byte of a data set and its answer
no Python runs. It takes P-DATA-TF PDUs with one value each (PS3.8 9.3.5), writes them to a file,
compares the header with that of the instance before (PS3.5 7.1), follows the lengths of the
elements to the last byte, writes a receipt, and answers. It decides nothing: where anything is
other than expected, it stops, says what has come, and has neither written a receipt nor answered.
Without it, or after it has stopped, `node.receive.store_handler` goes the long way to the same end.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy
from libc.time cimport gmtime_r, time_t, tm
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write


cdef extern from "<sys/socket.h>" nogil:
    const int MSG_DONTWAIT, MSG_NOSIGNAL
    ssize_t recv(int descriptor, void *memory, size_t size, int flags)
    ssize_t send(int descriptor, const void *memory, size_t size, int flags)

cdef extern from "<poll.h>" nogil:
    const short POLLIN
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *descriptors, unsigned long number, int timeout_ms)


STORED = 0
"""A receipt is written, and the answer is sent, or as much of it as could be without waiting."""
OTHERWISE = 1
"""Something is not as expected, or slow: the long way is due."""
VANISHED = 2
"""The connection is closed, or broken."""
FAILED = 3
"""The file or the receipt could not be written: the long way meets it, and says so."""

cdef enum:
    _STORED = 0
    _OTHERWISE = 1
    _VANISHED = 2
    _FAILED = 3
    _HEADERS = 12
    _PDU_HEADER = 6
    _P_DATA_TF = 4
    _OVERHEAD = 6
    _COMMAND = 1
    _LAST = 2
    _MOST_PARTS = 64
    _BLOCK = 3 << 16
    _STEP = 1 << 14
    _MOST_RECEIPT = 1 << 14
    _INSTANCE_NUMBER = 0x00200013
    _MOST_DIGITS = 9

MOST_PARTS = _MOST_PARTS
SLACK_BYTES = _HEADERS
"""The memory is to be so much longer than the largest file that it takes."""

cdef uint32_t _ITEM = 0xE000FFFEU, _SEQUENCE_DELIMITATION = 0xE0DDFFFEU
cdef uint32_t _UNDEFINED = 0xFFFFFFFFU
cdef uint32_t _CRC = 0xEDB88320U
cdef uint32_t[256] _crc_table


cdef void _make_crc_table() noexcept nogil:
    cdef uint32_t value
    cdef int number, bit
    for number in range(256):
        value = number
        for bit in range(8):
            value = (value >> 1) ^ _CRC if value & 1 else value >> 1
        _crc_table[number] = value


_make_crc_table()


cdef uint32_t _crc(const uint8_t *content, Py_ssize_t size) noexcept nogil:
    """The CRC-32 that zlib has."""
    cdef uint32_t value = 0xFFFFFFFFU
    cdef Py_ssize_t at
    for at in range(size):
        value = (value >> 8) ^ _crc_table[(value ^ content[at]) & 0xFF]
    return ~value


cdef inline uint32_t _little(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef inline uint32_t _big(const uint8_t *at) noexcept nogil:
    return at[3] | <uint32_t>at[2] << 8 | <uint32_t>at[1] << 16 | <uint32_t>at[0] << 24


cdef int64_t _milliseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef class UsualHeader:
    """The header of the instance before, as parts that are to be found again.

    Of a part, the bytes of `template` where `mask` has 0xFF are to be the same. `sizes` are those of
    the parts; behind each one, but for the last one if `is_closed`, lies a value of the length that
    its last two bytes say. `uid_at` and `number_at` tell which of those values are the SOP Instance
    UID (0008,0018) and the Instance Number (0020,0013). Explicit VR Little Endian, also with
    compressed pixel data.
    """

    cdef bytes _template, _mask
    cdef const uint8_t *_template_at
    cdef const uint8_t *_mask_at
    cdef Py_ssize_t[_MOST_PARTS] _sizes
    cdef int _parts, _open, _uid_at, _number_at

    def __init__(self, bytes template, bytes mask, list sizes, bint is_closed, int uid_at, int number_at):
        self._parts = len(sizes)
        self._open = self._parts - (1 if is_closed else 0)
        if self._parts > _MOST_PARTS or not 0 <= uid_at < self._open or not 0 <= number_at < self._open:
            raise ValueError("more parts than are compared, or values that are not there")
        for number, size in enumerate(sizes):
            if size < 2:
                raise ValueError("a part without a length")
            self._sizes[number] = size
        if not len(template) == len(mask) == sum(sizes):
            raise ValueError("template and mask are not as long as the parts")
        self._template, self._mask = template, mask
        self._template_at = <const uint8_t *><char *>template
        self._mask_at = <const uint8_t *><char *>mask
        self._uid_at, self._number_at = uid_at, number_at

    def number_of(self, const uint8_t[::1] data_set, bytes uid):
        """Return the Instance Number of a data set that is like the one before, with this UID.

        None: it is not, or the number is not written plainly.
        """
        cdef int64_t number
        if len(data_set) == 0:
            return None
        number = self._number(&data_set[0], len(data_set), uid, len(uid))
        return None if number < 0 else number

    cdef int64_t _number(
        self, const uint8_t *content, Py_ssize_t size, const char *uid, Py_ssize_t uid_size
    ) noexcept nogil:
        """The same; -1 for None."""
        cdef const uint8_t *template = self._template_at
        cdef const uint8_t *mask = self._mask_at
        cdef Py_ssize_t at = 0, here, length
        cdef int64_t number = -1
        cdef int part
        cdef uint8_t differs
        if size < 2 or content[0] == 2 and content[1] == 0:
            return -1
        for part in range(self._parts):
            length = self._sizes[part]
            if size - at < length:
                return -1
            differs = 0
            for here in range(length):
                differs |= (content[at + here] ^ template[here]) & mask[here]
            if differs:
                return -1
            template += length
            mask += length
            at += length
            if part >= self._open:
                continue
            length = content[at - 2] | <Py_ssize_t>content[at - 1] << 8
            if size - at < length:
                return -1
            if part == self._uid_at and not _is_uid(content + at, length, uid, uid_size):
                return -1
            if part == self._number_at:
                number = _plain_number(content + at, length)
                if number < 0:
                    return -1
            at += length
        return number if _is_whole(content, at, size) else -1


cdef bint _is_uid(
    const uint8_t *value, Py_ssize_t size, const char *uid, Py_ssize_t uid_size
) noexcept nogil:
    while size and (value[size - 1] == 0 or value[size - 1] == 0x20):
        size -= 1
    return size == uid_size and memcmp(value, uid, size) == 0


cdef int64_t _plain_number(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    """A number of digits alone, without leading zeros, perhaps padded; -1 for anything else."""
    cdef int64_t number = 0
    cdef Py_ssize_t at
    while size and value[size - 1] == 0x20:
        size -= 1
    if size == 0 or size > _MOST_DIGITS or (value[0] == 0x30 and size > 1):
        return -1
    for at in range(size):
        if not 0x30 <= value[at] <= 0x39:
            return -1
        number = number * 10 + value[at] - 0x30
    return number


cdef int _header_size(const uint8_t *vr) noexcept nogil:
    """8 or 12 bytes: how long the header of an element with this VR is; 0: there is no such VR."""
    cdef uint32_t name = <uint32_t>vr[0] << 8 | vr[1]
    if name in (
        0x4145, 0x4153, 0x4154, 0x4353, 0x4441, 0x4453, 0x4454, 0x4644, 0x464C, 0x4953, 0x4C4F,
        0x4C54, 0x504E, 0x5348, 0x534C, 0x5353, 0x5354, 0x544D, 0x5549, 0x554C, 0x5553,
    ):
        return 8
    if name in (
        0x4F42, 0x4F44, 0x4F46, 0x4F4C, 0x4F56, 0x4F57, 0x5351, 0x5356, 0x5543, 0x554E, 0x5552,
        0x5554, 0x5556,
    ):
        return 12
    return 0


cdef bint _is_whole(const uint8_t *content, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Whether elements lie there to the last byte, the first of them beyond the identity."""
    cdef int header
    cdef Py_ssize_t length
    cdef bint is_first = True
    while at < size:
        if size - at < 12:
            # An element with an empty or a very short value.
            header = _header_size(content + at + 4) if size - at >= 8 else 0
            if header != 8:
                return False
        else:
            header = _header_size(content + at + 4)
        if header == 0 or content[at] == 0 and content[at + 1] == 0:
            return False
        if is_first and not _is_beyond(content + at):
            return False
        is_first = False
        if header == 8:
            length = content[at + 6] | <Py_ssize_t>content[at + 7] << 8
        else:
            length = _little(content + at + 8)
        at += header
        if header == 12 and length == _UNDEFINED:
            if content[at - 8] != 0x4F:  # but OB and OW, what holds items may nest
                return False
            at = _behind_items(content, at, size)
            if at < 0:
                return False
        elif length > size - at:
            return False
        else:
            at += length
    return not is_first


cdef inline bint _is_beyond(const uint8_t *header) noexcept nogil:
    cdef uint32_t tag = (
        <uint32_t>header[1] << 24 | <uint32_t>header[0] << 16 | <uint32_t>header[3] << 8 | header[2]
    )
    return tag > _INSTANCE_NUMBER


cdef Py_ssize_t _behind_items(
    const uint8_t *content, Py_ssize_t at, Py_ssize_t size
) noexcept nogil:
    """Where the fragments of a compressed image end (PS3.5 A.4); -1: they do not."""
    cdef uint32_t tag
    cdef Py_ssize_t length
    while size - at >= 8:
        tag = _little(content + at)
        length = _little(content + at + 4)
        at += 8
        if tag == _SEQUENCE_DELIMITATION:
            return at
        if tag != _ITEM or length > size - at:
            return -1
        at += length
    return -1


cdef struct _Arrival:
    # What was received before and is not used yet.
    const uint8_t *came
    Py_ssize_t left
    # The headers of the next value, and how many bytes of them are here.
    uint8_t[_HEADERS] headers
    Py_ssize_t have
    # What is missing of the value that has begun.
    Py_ssize_t missing
    bint is_last
    int64_t until_ms
    int connection, file
    # In the memory: where the next byte comes, and what is not written yet.
    uint8_t *memory
    Py_ssize_t at, most, unwritten


cdef Py_ssize_t _receive(_Arrival *one, void *place, Py_ssize_t size) noexcept nogil:
    """Receive some bytes; 0: the connection is over or broken, -1: nothing came in time."""
    cdef ssize_t got
    cdef pollfd waiting
    cdef int64_t wait_ms
    if one.left:
        got = min(one.left, size)
        memcpy(place, one.came, got)
        one.came += got
        one.left -= got
        return got
    while True:
        got = recv(one.connection, place, size, MSG_DONTWAIT)
        if got >= 0:
            return got
        if errno == EINTR:
            continue
        if errno != EAGAIN:
            return 0
        wait_ms = one.until_ms - _milliseconds()
        if wait_ms <= 0:
            return -1
        waiting.fd = one.connection
        waiting.events = POLLIN
        poll(&waiting, 1, <int>wait_ms)


cdef bint _write_all(int descriptor, const uint8_t *content, Py_ssize_t size) noexcept nogil:
    cdef ssize_t written
    while size:
        written = write(descriptor, content, size)
        if written < 0:
            if errno == EINTR:
                continue
            return False
        content += written
        size -= written
    return True


cdef int _value_begins(_Arrival *one, int context_id, Py_ssize_t longest) noexcept nogil:
    """Read the headers of the next value; _STORED: it is one that is taken here."""
    cdef Py_ssize_t got
    cdef uint32_t length = 0, value_length
    cdef uint8_t *headers = one.headers
    while True:
        # Other PDUs may be shorter than these headers: then nothing more has to come.
        if one.have and headers[0] != _P_DATA_TF:
            return _OTHERWISE
        if one.have >= _PDU_HEADER:
            length = _big(headers + 2)
            if length > longest or length <= _OVERHEAD:
                return _OTHERWISE
        if one.have == _HEADERS:
            break
        got = _receive(one, headers + one.have, _HEADERS - one.have)
        if got <= 0:
            return _VANISHED if got == 0 else _OTHERWISE
        one.have += got
    value_length = _big(headers + 6)
    if value_length != length - 4 or headers[10] != context_id or headers[11] & _COMMAND:
        return _OTHERWISE
    if length - _OVERHEAD > one.most - one.at:
        return _OTHERWISE
    one.missing = length - _OVERHEAD
    one.is_last = headers[11] & _LAST != 0
    one.have = 0
    return _STORED


cdef int _value(_Arrival *one) noexcept nogil:
    """Place a value, and what comes with it of the next headers; write a block that is full."""
    cdef Py_ssize_t got, ahead, size
    ahead = 0 if one.is_last else _HEADERS
    while one.missing > 0:
        got = _receive(one, one.memory + one.at, one.missing + ahead)
        if got <= 0:
            return _VANISHED if got == 0 else _OTHERWISE
        if got > one.missing:
            one.have = got - one.missing
            memcpy(one.headers, one.memory + one.at + one.missing, one.have)
            got = one.missing
        one.at += got
        one.missing -= got
    size = one.at - one.unwritten
    if one.is_last or size >= _BLOCK:
        if not one.is_last:
            size -= size % _STEP
        if not _write_all(one.file, one.memory + one.unwritten, size):
            return _FAILED
        one.unwritten += size
    return _STORED


cdef int _data_set(_Arrival *one, int context_id, Py_ssize_t longest) noexcept nogil:
    cdef int end
    while not one.is_last or one.missing:
        end = _value_begins(one, context_id, longest)
        if end == _STORED:
            end = _value(one)
        if end != _STORED:
            return end
    return _STORED


cdef bytes _rest(_Arrival *one, int context_id):
    """What is to be read again: what was read and not used, behind the rest of a value.

    The rest of a value that has begun is a value, too: it gets headers of its own, and so has a data
    set that has come in full an empty last one.
    """
    cdef bytes headers = b""
    cdef Py_ssize_t size = one.missing
    if size or one.is_last:
        headers = bytes((_P_DATA_TF, 0)) + (size + _OVERHEAD).to_bytes(4, "big")
        headers += (size + 2).to_bytes(4, "big")
        headers += bytes((context_id, _LAST if one.is_last else 0))
    headers += PyBytes_FromStringAndSize(<char *>one.headers, one.have)
    return headers + PyBytes_FromStringAndSize(<char *>one.came, one.left)


cdef Py_ssize_t _receipt(
    char *text, bytes before, bytes between, int64_t number, Py_ssize_t size, timespec *now
):
    """Make the line of a receipt (`storage.receipt_text`); 0: it is too long.

    It begins with an end of line: another one may just have failed, and left half a line there.
    """
    cdef tm parts
    cdef time_t seconds = now.tv_sec
    cdef int written
    cdef char[10] check
    gmtime_r(&seconds, &parts)
    written = snprintf(
        text + 10,
        _MOST_RECEIPT - 10,
        b"%s%lld%s%lld, \"dataset_digest\": \"\", "
        b"\"received_at\": \"%04d-%02d-%02dT%02d:%02d:%02d.%06ld+00:00\"}\n",
        <char *>before, <long long>number, <char *>between, <long long>size,
        parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
        parts.tm_hour, parts.tm_min, parts.tm_sec, <long>(now.tv_nsec // 1000),
    )
    if written < 0 or written >= _MOST_RECEIPT - 10:
        return 0
    snprintf(check, 10, b"%08x ", <unsigned int>_crc(<uint8_t *>text + 10, written - 1))
    text[0] = b"\n"
    memcpy(text + 1, check, 9)
    return written + 10


def take(
    int connection,
    bytes came,
    uint8_t[::1] memory,
    bytes head,
    Py_ssize_t most,
    int context_id,
    Py_ssize_t longest,
    double within_s,
    UsualHeader header not None,
    bytes uid,
    int file,
    int page,
    bytes before,
    bytes between,
    bytes answer,
):
    """Take the data set of a C-STORE request, and answer it, if it is like the one before.

    `came` was received already. In `memory` comes the file, `head` first, `most` bytes of it at the
    most. A PDU has a length of `longest` at the most. `uid` is the SOP Instance UID of the command
    set. The receipt goes to `page`; `before` and `between` are its text up to and behind the
    Instance Number.

    Returns how it ended; how many bytes of the file lie in memory; what is to be read again; how
    many bytes of the answer are sent; Instance Number; seconds and microseconds since 1970.
    """
    cdef _Arrival one
    cdef int end
    cdef int64_t number = -1
    cdef Py_ssize_t sent = 0, head_size = len(head), line_size
    cdef timespec now
    cdef char[_MOST_RECEIPT] line
    cdef const char *uid_text = uid
    cdef const char *answer_text = answer
    cdef Py_ssize_t uid_size = len(uid), answer_size = len(answer)
    if most > len(memory) - _HEADERS or head_size > most:
        raise ValueError("memory that is too short")
    memcpy(&memory[0], <char *>head, head_size)
    one.came, one.left = <const uint8_t *><char *>came, len(came)
    one.have = one.missing = one.unwritten = 0
    one.is_last = False
    one.connection, one.file = connection, file
    one.memory, one.at, one.most = &memory[0], head_size, most
    one.until_ms = _milliseconds() + <int64_t>(within_s * 1000)
    with nogil:
        end = _data_set(&one, context_id, longest)
        if end == _STORED:
            number = header._number(one.memory + head_size, one.at - head_size, uid_text, uid_size)
            clock_gettime(CLOCK_REALTIME, &now)
            if number < 0:
                end = _OTHERWISE
    if end == _STORED:
        line_size = _receipt(line, before, between, number, one.at, &now)
        with nogil:
            if line_size and write(page, line, line_size) == line_size:
                sent = send(connection, answer_text, answer_size, MSG_DONTWAIT | MSG_NOSIGNAL)
            else:
                end = _FAILED
    if end != _STORED:
        return end, one.at, _rest(&one, context_id), 0, 0, 0, 0
    came = PyBytes_FromStringAndSize(<char *>one.came, one.left)
    return end, one.at, came, max(sent, 0), number, now.tv_sec, now.tv_nsec // 1000
