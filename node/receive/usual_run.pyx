# cython: language_level=3, embedsignature=True
"""Instances like the one before, one after another: from the request to the file at its place.

Compiled, for `node.receive.short_run`: no Python runs between an instance and the next one, and
nothing waits for Python's lock. `usual_instance` takes each of them, `usual_texts` makes what is
said of it; here is what goes around: the next request, and what is left to do when an instance is
answered. Where anything is other than expected, it stops.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy, memmove
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_EXCL, O_RDWR, open
from posix.unistd cimport close, ftruncate

from node.receive.usual_data_set cimport (
    HEADERS,
    OTHERWISE_,
    STORED_,
    Arrival,
    big,
    milliseconds,
    receive,
    rest_of,
)
from node.receive.usual_done cimport Acknowledged, Hash, told
from node.receive.usual_header cimport Parts, UsualHeader
from node.receive.usual_instance cimport Taken, taken
from node.receive.usual_texts cimport (
    CHANCE,
    MOST_COMMAND,
    MOST_KINDS,
    MOST_UID,
    WHOLE_COMMAND,
    UsualTexts,
)


cdef extern from "<fcntl.h>" nogil:
    const int AT_FDCWD, FALLOC_FL_KEEP_SIZE
    int fallocate(int descriptor, int mode, int64_t begin, int64_t size)

cdef extern from "<stdio.h>" nogil:
    int renameat(int folder, const char *name, int new_folder, const char *new_name)


MOST_INSTANCES = _MOST_INSTANCES  # in one run

cdef enum:
    _P_DATA_TF = 4
    _OVERHEAD = 6
    _MOST_INSTANCES = 16
    _MOST_CAME = 1 << 11
    _MOST_FOLDER = 1 << 12
    _IDLE_MS = 20
    _RUN_MS = 50
    _LATE_ROW_MS = 250
    _NO_FILE = -1


cdef class UsualRun:
    """Takes instances of some series over one association, as long as they are like others of them.

    `headers` are of those series, the kinds, in the order of the receipts of `texts`.
    A PDU on `connection` has a length of `longest` at the most. `incoming` is the folder of files
    that come in. `xxh3` is where XXH3_128bits lies (`storage.compiled_digest`), or 0.
    """

    cdef UsualTexts _texts
    cdef const Parts *_headers[MOST_KINDS]
    cdef int[MOST_KINDS] _folders
    cdef object _held
    cdef const char *_incoming
    cdef Py_ssize_t _incoming_size
    cdef int _context_id
    cdef Py_ssize_t _longest
    cdef Hash _hash
    cdef Arrival _one
    cdef Acknowledged[_MOST_INSTANCES] _done
    cdef char[_MOST_INSTANCES][CHANCE] _chances
    cdef int _places, _count
    cdef bint _has_begun
    cdef Py_ssize_t _head_size, _sent
    cdef char[CHANCE] _chance
    cdef uint8_t[_MOST_CAME] _came
    cdef char[_MOST_FOLDER + CHANCE + 8] _name

    def __init__(
        self,
        int connection,
        int context_id,
        Py_ssize_t longest,
        list headers not None,
        UsualTexts texts not None,
        bytes incoming not None,
        uintptr_t xxh3,
    ):
        cdef UsualHeader header
        if len(incoming) > _MOST_FOLDER:
            raise ValueError("a folder with a name that is too long")
        self._one.connection = connection
        self._context_id, self._longest = context_id, longest
        self._hash = <Hash>xxh3
        if len(headers) != texts.kinds:
            raise ValueError("not as many headers as receipts")
        for kind, header in enumerate(headers):
            if header is None:
                raise ValueError("no header")
            self._headers[kind] = &header.parts
        self._texts, self._held = texts, (headers[:], incoming)
        self._incoming, self._incoming_size = <char *>incoming, len(incoming)

    def take(
        self,
        bytes came,
        memory,
        Py_ssize_t most,
        int file,
        bytes chance,
        int64_t file_reserved,
        list chances,
        int64_t reserved,
        list folders,
        int page,
        double within_s,
    ):
        """Take instances, as many as there are `chances` at the most, and not for long.

        `came` was received already. In `memory` comes a file, its data set with `most` bytes at the
        most, within `within_s`, or sooner where one before waits for its row. `file` is for the
        first one; its name has `chance`, and `file_reserved` bytes are reserved for it. When an
        instance is answered, its file goes to the one of `folders` that is of its kind, and the
        next one is made, with the next of the `chances` and with `reserved` bytes. Receipts go to
        `page`.

        Returns how it ended (`usual_instance`); what is to be read again; the file that waits for
        the next instance, or -1, and its chance; what was acknowledged (`usual_done`); of a request
        whose data set has begun to come: its command set, and how many bytes lie in memory; and
        what is still to be sent of the last answer.
        """
        cdef uint8_t[::1] view = memory
        cdef int end, kind, at
        cdef Arrival *one = &self._one
        if not 0 <= most <= <Py_ssize_t>(len(view) - HEADERS - self._texts.head_bytes):
            raise ValueError("memory that is too short")
        if len(chances) > _MOST_INSTANCES:
            raise ValueError("more instances than there is room for")
        if any([len(each) != CHANCE for each in (chance, *chances)]):
            raise ValueError("a chance of another length")
        for kind in range(self._texts.kinds):
            self._folders[kind] = folders[kind]
        memcpy(self._chance, <char *>chance, CHANCE)
        for at, chance in enumerate(chances):
            memcpy(self._chances[at], <char *>chance, CHANCE)
        self._places = len(chances)
        one.came, one.left = <const uint8_t *><char *>came, len(came)
        one.file, one.memory, one.at, one.unwritten = file, &view[0], 0, 0
        with nogil:
            end = self._instances(most, <int64_t>(within_s * 1000), page, file_reserved, reserved)
        done = [told(&self._done[at]) for at in range(self._count)]
        begun, unsent = None, b""
        if self._has_begun:
            rest = rest_of(one, self._context_id)
            command = _bytes(<char *>self._texts.asked.encoded, self._texts.asked.size)
            begun = command, one.at - self._head_size
        else:
            rest = _bytes(<char *>one.came, one.left)
            if done:
                unsent = _bytes(self._texts.said + self._sent, self._texts.said_size - self._sent)
        return end, rest, one.file, _bytes(self._chance, CHANCE), done, begun, unsent

    cdef int _instances(
        self, Py_ssize_t most, int64_t within_ms, int page, int64_t file_reserved, int64_t reserved
    ) noexcept nogil:
        """Take what comes, until something is other than expected, or enough has come."""
        cdef int64_t until_ms = milliseconds() + _RUN_MS
        cdef Arrival *one = &self._one
        cdef Taken result
        cdef int end
        self._count, self._has_begun, result.kind = 0, False, 0
        while self._count < self._places and one.file != _NO_FILE and milliseconds() < until_ms:
            end = self._next_request(min(until_ms, milliseconds() + _IDLE_MS))
            if end != STORED_:
                return end
            self._has_begun = True
            self._begin(most, within_ms)
            end = taken(
                one, self._context_id, self._longest, self._headers, self._texts, page, &result
            )
            if end != STORED_:
                return end
            self._has_begun = False
            self._sent = result.sent
            self._finish(&result, file_reserved, reserved)
            if self._sent < self._texts.said_size:
                break
            # Rows wait for what comes next; the first one came fast, or there is none.
            within_ms = min(within_ms, <int64_t>_LATE_ROW_MS)
            file_reserved = reserved
        return STORED_

    cdef void _finish(self, Taken *result, int64_t file_reserved, int64_t reserved) noexcept nogil:
        """Do what is left when an instance is answered, and make the next file."""
        cdef Acknowledged *done = &self._done[self._count]
        cdef Arrival *one = &self._one
        done.taken, done.size, done.uid_size = result[0], one.at, self._texts.asked.uid_size
        memcpy(done.uid, self._texts.asked.uid, done.uid_size)
        memcpy(done.chance, self._chance, CHANCE)
        done.has_digest = self._leave(self._folders[result.kind], file_reserved) and self._hash
        if done.has_digest:
            done.digest = self._hash(one.memory + self._head_size, one.at - self._head_size)
        memcpy(self._chance, self._chances[self._count], CHANCE)
        self._count += 1
        one.file = self._new_file(reserved)

    cdef int _next_request(self, int64_t until_ms) noexcept nogil:
        """Wait for a request like the one before; STORED_: it has come."""
        cdef Arrival *one = &self._one
        cdef Py_ssize_t needed
        one.until_ms = until_ms
        while True:
            if one.left and one.came[0] != _P_DATA_TF:
                return OTHERWISE_
            if one.left >= HEADERS:
                if not self._is_command():
                    return OTHERWISE_
                needed = big(one.came + 2) + _OVERHEAD
                if one.left >= needed:
                    break
            if not self._receive_more():
                return OTHERWISE_
        if not self._texts.is_like(one.came + HEADERS, needed - HEADERS):
            return OTHERWISE_
        one.came += needed
        one.left -= needed
        return STORED_

    cdef bint _is_command(self) noexcept nogil:
        """Whether the headers that have come are those of a whole command set."""
        cdef const uint8_t *headers = self._one.came
        cdef Py_ssize_t length = big(headers + 2)
        return (
            _OVERHEAD < length <= min(self._longest, <Py_ssize_t>MOST_COMMAND)
            and big(headers + _OVERHEAD) == length - 4
            and headers[10] == self._context_id
            and headers[11] == WHOLE_COMMAND
        )

    cdef bint _receive_more(self) noexcept nogil:
        cdef Arrival *one = &self._one
        cdef Py_ssize_t here = one.left, got
        memmove(self._came, one.came, here)  # less than a command set
        # `receive` hands over first what has come already.
        one.came, one.left = self._came, 0
        got = receive(one, self._came + here, _MOST_CAME - here)
        one.left = here + max(got, 0)
        return got > 0

    cdef void _begin(self, Py_ssize_t most, int64_t within_ms) noexcept nogil:
        """Have all ready for a data set, its file's head in memory."""
        cdef Arrival *one = &self._one
        self._texts.begin(self._chance, self._context_id)
        one.at = self._head_size = self._texts.put_head(<char *>one.memory)
        one.most = one.at + most
        one.have = one.missing = one.unwritten = 0
        one.is_last = False
        one.until_ms = milliseconds() + within_ms

    cdef bint _leave(self, int folder, int64_t reserved) noexcept nogil:
        """Close a file that is acknowledged, and move it; False: it is not sure that it is so."""
        cdef char[MOST_UID + CHANCE + 8] place
        cdef int file = self._one.file
        cdef bint is_closed
        if reserved > self._one.at:
            ftruncate(file, self._one.at)  # what is reserved goes with the file, if not now
        is_closed = close(file) == 0
        self._put_name()
        self._texts.put_place(place)
        return renameat(AT_FDCWD, self._name, folder, place) == 0 and is_closed

    cdef int _new_file(self, int64_t reserved) noexcept nogil:
        """Make the next file; where that cannot be, whoever comes next meets the reason."""
        cdef int file
        self._put_name()
        file = open(self._name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if file >= 0 and reserved and fallocate(file, FALLOC_FL_KEEP_SIZE, 0, reserved):
            ftruncate(file, 0)  # on a full disk ext4 keeps what it could get until then
        return file

    cdef void _put_name(self) noexcept nogil:
        """The name of the file while it comes in (`storage.instance_files`)."""
        cdef Py_ssize_t at = self._incoming_size
        memcpy(self._name, self._incoming, at)
        self._name[at] = 0x2F
        memcpy(self._name + at + 1, self._chance, CHANCE)
        memcpy(self._name + at + 1 + CHANCE, b".part", 6)


cdef inline bytes _bytes(const char *text, Py_ssize_t size):
    return PyBytes_FromStringAndSize(text, size)
