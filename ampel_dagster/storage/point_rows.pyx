# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, freethreading_compatible=False
"""Datapoints as BSON: put together when they are new, and out of a reply of the server with bodies that are read late.

An object has some twenty-five points of some forty fields; a light curve is made of ten of them, and many reactions look
at none. The driver makes an object of each document and, asked for less, has the server make new documents of what is
left, which takes longer than to send all. So whole documents are asked for, the reply is gone through once, and of each
body its bytes are kept. Measured with 25 points an object: 0.3 us a point in place of 4.

The layout is that of https://bsonspec.org/spec.html. Each step is checked against the end of the reply.
"""

import sys
from collections.abc import Mapping

from bson import decode, encode

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, int32_t, int64_t
from libc.string cimport memchr, memcmp, memcpy

if sys.byteorder != "little":
    raise ImportError("numbers are copied as they are: the processor must have the low byte first")

#: Types of elements.
cdef enum:
    DOUBLE = 0x01
    STRING = 0x02
    DOCUMENT = 0x03
    ARRAY = 0x04
    BOOLEAN = 0x08
    NULL_ = 0x0A
    INT32 = 0x10
    INT64 = 0x12

#: How often a body is looked through for single fields before it is decoded once for all.
cdef int _LOOKS = 8
#: Fields that are picked at once.
cdef enum:
    MOST_PICKED = 32


cdef struct _Element:
    unsigned char type
    const char* key
    Py_ssize_t key_size
    const char* value
    Py_ssize_t size


cdef int32_t _int32(const char* at) noexcept:
    cdef int32_t number
    memcpy(&number, at, 4)
    return number


cdef int64_t _int64(const char* at) noexcept:
    cdef int64_t number
    memcpy(&number, at, 8)
    return number


cdef double _double(const char* at) noexcept:
    cdef double number
    memcpy(&number, at, 8)
    return number


cdef Py_ssize_t _fixed(unsigned char type_) noexcept:
    """Bytes of a value of this type; -1 where the value says it itself."""
    if type_ == DOUBLE or type_ == INT64 or type_ == 0x09 or type_ == 0x11:
        return 8
    if type_ == INT32:
        return 4
    if type_ == BOOLEAN:
        return 1
    if type_ == NULL_ or type_ == 0x06 or type_ == 0x7F or type_ == 0xFF:
        return 0
    if type_ == 0x07:
        return 12
    return 16 if type_ == 0x13 else -1


cdef const char* _next(const char* at, const char* end, _Element* found) except NULL:
    """Read the element that begins here; return where it ends. Raises ValueError where it is none that is known."""
    found.type = <unsigned char> at[0]
    found.key = at + 1
    cdef const char* stop = <const char*> memchr(found.key, 0, end - found.key) if end > found.key else NULL
    if stop == NULL:
        raise ValueError("a document breaks off")
    found.key_size = stop - found.key
    found.value = stop + 1
    cdef Py_ssize_t left = end - found.value
    found.size = _fixed(found.type)
    if found.type == 0x0B:  # a regular expression: two texts, each with a zero at its end
        stop = <const char*> memchr(found.value, 0, left) if left > 0 else NULL
        stop = <const char*> memchr(stop + 1, 0, end - stop - 1) if stop != NULL and end > stop + 1 else NULL
        if stop == NULL:
            raise ValueError("a document breaks off")
        found.size = stop + 1 - found.value
    elif found.size < 0:
        if left < 4:
            raise ValueError("a document breaks off")
        found.size = _int32(found.value)
        if found.type == STRING or found.type == 0x0D or found.type == 0x0E:
            found.size += 4
        elif found.type == 0x05:
            found.size += 5
        elif found.type == 0x0C:
            found.size += 16
        elif found.type != DOCUMENT and found.type != ARRAY and found.type != 0x0F:
            raise ValueError(f"an element of type {found.type}")
        if found.size < 4:
            raise ValueError("a length below zero")
    if found.size > left:
        raise ValueError("a document breaks off")
    return found.value + found.size


cdef bint _named(_Element* element, const char* name, Py_ssize_t size) noexcept:
    return element.key_size == size and memcmp(element.key, name, size) == 0


cdef object _plain(_Element* element):
    """The value of an element of a plain type; NotImplemented for others."""
    if element.type == DOUBLE:
        return _double(element.value)
    if element.type == NULL_:
        return None
    if element.type == INT32:
        return _int32(element.value)
    if element.type == INT64:
        return _int64(element.value)
    if element.type == STRING and element.size > 4:
        return PyUnicode_DecodeUTF8(element.value + 4, element.size - 5, NULL)
    if element.type == BOOLEAN:
        return element.value[0] != 0
    return NotImplemented


cdef unsigned char* _put(unsigned char* at, bytes part) noexcept:
    memcpy(at, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
    return at + PyBytes_GET_SIZE(part)


cdef unsigned char* _put_int(unsigned char* at, unsigned char type_, bytes name, int64_t number, bint small) noexcept:
    """An integer behind its type and name (with the zero that ends it), in four bytes or in eight."""
    at[0] = type_
    at = _put(at + 1, name)
    memcpy(at, &number, 4 if small else 8)  # the low bytes come first
    return at + (4 if small else 8)


@cython.final
cdef class PointWriter:
    """Puts new points together as documents."""

    cdef object _type
    cdef object _shared
    cdef object _otherwise
    cdef bytes _meta
    #: Elements that points have in common, by what they stand for.
    cdef dict _known

    def __init__(self, type_, shared, otherwise, bytes meta not None):
        """`type_`: documents that have their bytes as `raw`. `meta`: elements behind the body, and the last zero.

        `shared` gives the elements before the body, and its type and name, of (kind, channels, tags); `otherwise` the
        bytes of a point that is not as most are: of several stocks, or with numbers that are too large.
        """
        self._type = type_
        self._shared = shared
        self._otherwise = otherwise
        self._meta = meta
        self._known = {}

    def write(self, new):
        """Documents of new points: (point, its stocks, channels, points that supersede it), a point as `DataPoint`."""
        cdef list documents = []
        cdef bytes shared = None, elements, tail
        kind = channels = tag = None
        for one in new:
            if not (isinstance(one, tuple) and isinstance(one[0], tuple) and isinstance(one[1], tuple)):
                raise TypeError("no new point")
            point, stocks, channels_now, superseded_by = <tuple> one
            id_, kind_now, jd, sensor, tag_now, rank, body = <tuple> point
            if not (kind_now is kind and tag_now is tag and channels_now is channels):
                kind, channels, tag = kind_now, channels_now, tag_now
                shared = self._elements((kind, channels, tag))
            elements, tail = shared, self._meta
            if superseded_by:
                elements = self._elements((kind, channels, (*tag, "SUPERSEDED")))
                tail = self._meta[:-1] + encode({"superseded_by": list(superseded_by)})[4:]
            try:
                if len(<tuple> stocks) != 1:
                    raise OverflowError
                raw = self._document(id_, (<tuple> stocks)[0], jd, sensor, rank, elements, body, tail)
            except OverflowError:
                raw = self._otherwise(one)
            document = object.__new__(self._type)
            document.raw = raw
            documents.append(document)
        return documents

    cdef bytes _elements(self, tuple key):
        if key not in self._known:
            self._known[key] = self._shared(*key)
        return <bytes?> self._known[key]

    cdef bytes _document(self, int64_t id_, int64_t stock, double jd, int32_t sensor, int32_t rank, bytes shared, body,
                         bytes tail):
        # A body that comes from a compiled reader has its bytes at hand.
        own = None if isinstance(body, dict) else getattr(body, "to_bson", None)
        cdef bytes raw = encode(body) if own is None else own()
        cdef bint small_id = -(1 << 31) <= id_ < 1 << 31, small_stock = -(1 << 31) <= stock < 1 << 31
        # Length, id, stock, jd, sensor and rank, each with type and name.
        cdef Py_ssize_t size = 4 + 5 + (4 if small_id else 8) + 7 + (12 if small_stock else 16) + 12 + 12 + 10
        size += PyBytes_GET_SIZE(shared) + PyBytes_GET_SIZE(raw) + PyBytes_GET_SIZE(tail)
        if size > INT32_MAX:
            raise OverflowError
        cdef bytes document = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char* begin = <unsigned char*> PyBytes_AS_STRING(document)
        cdef int32_t length = <int32_t> size
        memcpy(begin, &length, 4)
        cdef unsigned char* at = _put_int(begin + 4, INT32 if small_id else INT64, b"_id\0", id_, small_id)
        # An array is a document whose names are the numbers of its items; it has its length and a zero more.
        at = _put_int(at, ARRAY, b"stock\0", 12 if small_stock else 16, True)
        at = _put_int(at, INT32 if small_stock else INT64, b"0\0", stock, small_stock)
        at[0] = 0
        at[1] = DOUBLE
        at = _put(at + 2, b"jd\0")
        memcpy(at, &jd, 8)
        at = _put_int(at + 8, INT32, b"sensor\0", sensor, True)
        at = _put_int(at, INT32, b"rank\0", rank, True)
        at = _put(_put(_put(at, shared), raw), tail)
        if at != begin + size:
            raise AssertionError("a document of another size than was reckoned")
        return document


@cython.final
cdef class BodyRow:
    """A mapping that cannot be changed: the fields of a BSON document, read when they are asked for."""

    cdef bytes _raw
    cdef dict _found
    cdef int _looks

    def __init__(self, bytes raw not None):
        """Raises ValueError where `raw` is no document."""
        if PyBytes_GET_SIZE(raw) < 5 or _int32(PyBytes_AS_STRING(raw)) != PyBytes_GET_SIZE(raw):
            raise ValueError("not a document")
        self._raw = raw

    cdef dict _fields(self):
        if self._found is None:
            self._found = decode(self._raw) if self._raw is not None else {}
        return self._found

    def get(self, key, default=None):
        """A field, or `default` where it is missing."""
        cdef _Element element
        cdef Py_ssize_t size
        if self._found is None and self._raw is not None and isinstance(key, str) and self._looks < _LOOKS:
            self._looks += 1
            name = PyUnicode_AsUTF8AndSize(key, &size)
            at = <const char*> PyBytes_AS_STRING(self._raw) + 4
            end = <const char*> PyBytes_AS_STRING(self._raw) + PyBytes_GET_SIZE(self._raw) - 1
            while at < end:
                at = _next(at, end, &element)
                if _named(&element, name, size):
                    value = _plain(&element)
                    return self._fields()[key] if value is NotImplemented else value
            return default
        return self._fields().get(key, default)

    def pick(self, tuple names not None):
        """Several fields at once, in the order of `names`; None for what is missing."""
        cdef const char* wanted[MOST_PICKED]
        cdef Py_ssize_t sizes[MOST_PICKED]
        cdef _Element element
        cdef Py_ssize_t i, n = len(names), left = n
        if n > MOST_PICKED or self._found is not None or self._raw is None:
            fields = self._fields()
            return tuple([fields.get(name) for name in names])
        found = [None] * n
        for i in range(n):
            wanted[i] = PyUnicode_AsUTF8AndSize(names[i], &sizes[i])
        at = <const char*> PyBytes_AS_STRING(self._raw) + 4
        end = <const char*> PyBytes_AS_STRING(self._raw) + PyBytes_GET_SIZE(self._raw) - 1
        while at < end and left > 0:
            at = _next(at, end, &element)
            for i in range(n):
                if _named(&element, wanted[i], sizes[i]):
                    value = _plain(&element)
                    found[i] = self._fields()[names[i]] if value is NotImplemented else value
                    left -= 1
        return tuple(found)

    def __getitem__(self, key):
        value = self.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return self.get(key, _MISSING) is not _MISSING

    def keys(self):
        """Names of the fields."""
        return self._fields().keys()

    def values(self):
        """Values of the fields."""
        return self._fields().values()

    def items(self):
        """Names and values."""
        return self._fields().items()

    def __iter__(self):
        return iter(self._fields())

    def __len__(self):
        return len(self._fields())

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._fields() == dict(other)

    __hash__ = None

    def __repr__(self):
        return repr(self._fields())

    def __reduce__(self):
        return dict, (dict(self._fields()),)


cdef object _MISSING = object()
Mapping.register(BodyRow)


@cython.final
cdef class ReplyReader:
    """Reads replies to `find` and `getMore` on datapoints."""

    cdef object _type
    cdef object _otherwise
    #: Kinds and tags, of which there are few different ones, by their bytes.
    cdef dict _kinds
    cdef dict _tags

    def __init__(self, type_, otherwise):
        """`type_`: a tuple with names, of id, kind, jd, sensor, tag, rank and body.

        `otherwise` makes it of the decoded document where that is not as we write it.
        """
        self._type = type_
        self._otherwise = otherwise
        self._kinds = {}
        self._tags = {}

    def read(self, const unsigned char[::1] cursor not None):
        """The points that a cursor document holds, and the id by which more are to be had (0: there are none).

        Raises ValueError where it is no such document.
        """
        cdef _Element element, inner
        cdef int64_t id_ = 0
        if cursor.shape[0] < 5 or _int32(<const char*> &cursor[0]) != cursor.shape[0]:
            raise ValueError("not a document")
        points = []
        at = <const char*> &cursor[0] + 4
        end = <const char*> &cursor[0] + cursor.shape[0] - 1
        while at < end:
            at = _next(at, end, &element)
            if element.type == INT64 and _named(&element, b"id", 2):
                id_ = _int64(element.value)
            elif element.type == ARRAY:  # firstBatch or nextBatch
                inside = element.value + 4
                stop = element.value + element.size - 1
                while inside < stop:
                    inside = _next(inside, stop, &inner)
                    points.append(self._point(inner.value, inner.size))
        return points, id_

    cdef object _point(self, const char* document, Py_ssize_t size):
        cdef _Element element
        cdef const char* at = document + 4
        cdef const char* end = document + size - 1
        cdef const char* body = NULL
        cdef Py_ssize_t body_size = 0
        cdef int known = 0
        id_ = kind = jd = sensor = tag = rank = None
        while at < end:
            at = _next(at, end, &element)
            if element.type == DOUBLE:
                if _named(&element, b"jd", 2):
                    jd = _double(element.value)
                    known += 1
            elif element.type == INT64 or element.type == INT32:
                if _named(&element, b"_id", 3):
                    id_ = _plain(&element)
                    known += 1
                elif _named(&element, b"sensor", 6):
                    sensor = _plain(&element)
                    known += 1
                elif _named(&element, b"rank", 4):
                    rank = _plain(&element)
                    known += 1
            elif element.type == STRING:
                if _named(&element, b"kind", 4):
                    kind = self._kind(&element)
                    known += 1
            elif element.type == ARRAY:
                if _named(&element, b"tag", 3):
                    tag = self._tag(&element)
                    known += 1
            elif element.type == DOCUMENT and _named(&element, b"body", 4):
                body = element.value
                body_size = element.size
                known += 1
        if known != 7:
            return self._otherwise(decode(PyBytes_FromStringAndSize(document, size)))
        cdef BodyRow row = BodyRow.__new__(BodyRow)
        row._raw = PyBytes_FromStringAndSize(body, body_size)
        return tuple.__new__(self._type, (id_, kind, jd, sensor, tag, rank, row))

    cdef object _kind(self, _Element* element):
        raw = PyBytes_FromStringAndSize(element.value, element.size)
        if raw not in self._kinds:
            self._kinds[raw] = sys.intern(_plain(element))
        return self._kinds[raw]

    cdef object _tag(self, _Element* element):
        raw = PyBytes_FromStringAndSize(element.value, element.size)
        if raw not in self._tags:
            self._tags[raw] = tuple(decode(raw).values())
        return self._tags[raw]
