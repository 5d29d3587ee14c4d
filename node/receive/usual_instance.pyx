# cython: language_level=3, embedsignature=True
"""The short way of an instance that is like the one before it: from the wire to its answer.

Compiled, because here each microsecond counts: between the first byte of a data set and its answer
no Python runs. It takes P-DATA-TF PDUs with one value each (PS3.8 9.3.5), writes them to a file,
compares the header with that of the instance before (`usual_header`), writes a receipt, and
answers. It decides nothing: where anything is other than expected, it stops, says what has come,
and has neither written a receipt nor answered. Without it, or after it has stopped,
`node.receive.store_handler` goes the long way to the same end.
"""

from zlib import crc32

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from libc.time cimport gmtime_r, time_t, tm
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write

from node.receive.usual_header cimport UsualHeader


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
    _BLOCK = 3 << 16
    _STEP = 1 << 14
    _MOST_RECEIPT = 1 << 14

SLACK_BYTES = _HEADERS
"""The memory is to be so much longer than the largest file that it takes."""

cdef inline uint32_t _big(const uint8_t *at) noexcept nogil:
    return at[3] | <uint32_t>at[2] << 8 | <uint32_t>at[1] << 16 | <uint32_t>at[0] << 24


cdef int64_t _milliseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


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

    The rest of a value that has begun is a value, too: it gets headers of its own, and so has a
    data set that has come in full an empty last one.
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

    An end of a line comes first: another one, that the disk had no room for, may have none.
    """
    cdef tm parts
    cdef time_t seconds = now.tv_sec
    cdef int written
    cdef char[10] check
    cdef uint32_t sum_of_text
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
    sum_of_text = crc32(PyBytes_FromStringAndSize(text + 10, written - 1))
    snprintf(check, 10, b"%08x ", sum_of_text)
    text[0] = 10
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
