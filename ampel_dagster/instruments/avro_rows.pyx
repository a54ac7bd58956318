# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: embedsignature=True, freethreading_compatible=False
"""Records of Avro whose fields are read when somebody asks for them, and which are stored without being read.

A packet brings some twenty-five datapoints of some forty fields. To make a dict of each, and then BSON of the dict, is
half of what an ingester does; but filters look at few of these fields, and the database at none. So a flat record (one
whose fields are numbers, strings or missing) becomes a `Row`: it knows where in the packet its fields begin, decodes
the one that is asked for, and writes itself as BSON straight from the packet. All else becomes what it is in Python.

Every step through the packet is checked against its end, lengths before they are used, strings for valid UTF-8 when the
row is made: what is handed out can be read. A packet must not be trusted, and this is the one place of the project
where a wrong number could read somebody else's memory.

Encodings: https://avro.apache.org/docs/1.11.1/specification/#binary-encoding and https://bsonspec.org/spec.html.
"""

import sys
from collections.abc import Mapping

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport INT32_MAX, INT32_MIN, INT64_MIN, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

if sys.byteorder != "little":
    raise ImportError("numbers are copied as they are: both encodings, and the processor, must have the low byte first")

include "avro_values.pxi"
include "avro_schema.pxi"


class Unsupported(ValueError):
    """The schema holds something that is not compiled (logical types); fastavro reads it."""


def compile_reader(schema, named):
    """A reader for a parsed schema; `named` are the types that it may name.

    It takes bytes and the place where the value begins, and gives the value and the place where it ends. It raises
    ValueError or EOFError on bytes that are no such value; it may read beyond what belongs to the value, but not beyond
    the bytes, so its caller compares where it ended with where it should. Raises Unsupported.
    """
    return _Reader(_node(schema, dict(named), False))


@cython.final
cdef class _Reader:
    cdef _Node _node

    def __init__(self, _Node node):
        self._node = node

    def __call__(self, bytes data not None, Py_ssize_t start):
        cdef _Place at
        at.base = <const unsigned char*> PyBytes_AS_STRING(data)
        at.end = PyBytes_GET_SIZE(data)
        at.now = start
        if not 0 <= start <= at.end or at.end >= _CHANGED:
            raise EOFError("it breaks off")
        value = _read(self._node, data, &at)
        return value, at.now


cdef object _read(_Node node, bytes data, _Place* at):
    """The value that begins here."""
    cdef Kind kind = node.kind
    cdef int64_t n
    if kind == ROW:
        return _row(node.plan, data, at)
    if kind == RECORD:
        return _record(node, data, at)
    if kind == ARRAY or kind == MAP:
        return _items(node, data, at)
    if kind == UNION:
        n = _long(at)
        if not 0 <= n < len(node.inner):
            raise ValueError(f"a union has no branch {n}")
        return _read(<_Node> node.inner[n], data, at)
    if kind == ENUM:
        n = _long(at)
        if not 0 <= n < len(node.names):
            raise ValueError(f"an enumeration has no symbol {n}")
        return node.names[n]
    if kind == FIXED:
        _need(at, node.size)
        at.now += node.size
        return PyBytes_FromStringAndSize(<const char*> at.base + at.now - node.size, node.size)
    cdef Py_ssize_t start = at.now
    _skip(kind, at)
    return _value(kind, at.base + start)


cdef dict _record(_Node node, bytes data, _Place* at):
    cdef Py_ssize_t i
    found = {}
    for i in range(len(node.names)):
        found[node.names[i]] = _read(<_Node> node.inner[i], data, at)
    return found


cdef object _items(_Node node, bytes data, _Place* at):
    """An array or a map: blocks of items, until an empty one."""
    cdef _Node inner = <_Node> node.inner[0]
    cdef int64_t count, _
    cdef list array = []
    cdef dict mapping = {}
    while True:
        count = _long(at)
        if count == 0:
            return array if node.kind == ARRAY else mapping
        if count < 0:  # then the size of the block in bytes follows, for those who want to skip it
            if count == INT64_MIN:
                raise ValueError("a block of no possible length")
            count = -count
            _long(at)
        for _ in range(count):
            if node.kind == ARRAY:
                array.append(_read(inner, data, at))
            else:
                start = at.now
                _skip(STRING, at)
                key = _value(STRING, at.base + <Py_ssize_t> start)
                mapping[key] = _read(inner, data, at)


cdef _Plan _NO_FIELDS = _Plan((), [], [], [])


cdef Row _row(_Plan plan, bytes data, _Place* at):
    cdef Row row = Row.__new__(Row)
    cdef Py_ssize_t i, start
    cdef unsigned char tag
    row._take(plan, data)
    start = at.now
    for i in range(plan.n):
        if plan.null_tags[i] >= 0:
            if at.now >= at.end:
                raise EOFError("it breaks off")
            tag = at.base[at.now]
            at.now += 1
            if tag == plan.null_tags[i]:
                row._starts[i] = _MISSING
                continue
            if tag != plan.value_tags[i]:
                raise ValueError(f"a union has no branch of byte {tag}")
        row._starts[i] = <uint32_t> at.now
        _skip(plan.kinds[i], at)
    row._size = at.now - start
    return row


@cython.no_gc
@cython.freelist(256)
cdef class Row:
    """A flat record of a packet: a mapping that cannot be changed, whose values are decoded when they are asked for.

    It keeps the packet in memory. It equals the dict of its fields.
    """

    def __cinit__(self):
        self._plan = _NO_FIELDS  # until it is filled: one that Python code makes has none

    def __dealloc__(self):
        PyMem_Free(self._starts)

    cdef int _take(self, _Plan plan, bytes data) except -1:
        self._plan = plan
        self._data = data
        self._starts = <uint32_t*> PyMem_Malloc(plan.n * sizeof(uint32_t))
        if not self._starts:
            raise MemoryError()
        return 0

    def changed(self, without, **others):
        """The same without some fields, and with other strings or integers in others that it has."""
        return self._part(self._plan.rest(without), others)

    def kept(self, tuple names not None, **others):
        """These fields only, in this order, some with other strings or integers; what it does not have is None."""
        return self._part(self._plan.part(names), others)

    cdef Row _part(self, _Plan plan, dict others):
        cdef Row row = Row.__new__(Row)
        cdef Py_ssize_t i, origin
        row._take(plan, self._data)
        row._size = self._size
        for i in range(plan.n):
            origin = plan.origins[i]
            row._starts[i] = _MISSING if origin < 0 else self._starts[origin]
            if row._starts[i] == _CHANGED:
                others.setdefault(plan.names[i], self._changes[origin])
        if others:
            row._changes = {}
            for name, value in others.items():
                number = plan.index.get(name)
                if number is not None:
                    row._changes[number] = value if isinstance(value, str) else <int64_t> value
                    row._starts[<Py_ssize_t> number] = _CHANGED
        return row

    cdef object _field(self, Py_ssize_t number):
        """A field by its number."""
        if self._starts[number] >= _CHANGED:
            return None if self._starts[number] == _MISSING else self._changes[number]
        cdef const unsigned char* data = <const unsigned char*> PyBytes_AS_STRING(self._data)
        return _value(self._plan.kinds[number], data + self._starts[number])

    def get(self, key, default=None):
        """A field, or `default` where the record has none of this name."""
        number = self._plan.index.get(key)
        return default if number is None else self._field(<Py_ssize_t> number)

    def pick(self, tuple names not None):
        """Several fields at once, in the order of `names`; None for what it does not have."""
        cdef _Plan part = self._plan.part(names)
        cdef Py_ssize_t i
        cdef tuple found = PyTuple_New(part.n)
        for i in range(part.n):
            value = None if part.origins[i] < 0 else self._field(part.origins[i])
            Py_INCREF(value)
            PyTuple_SET_ITEM(found, i, value)
        return found

    def __getitem__(self, key):
        number = self._plan.index.get(key)
        if number is None:
            raise KeyError(key)
        return self._field(<Py_ssize_t> number)

    def __contains__(self, key):
        return key in self._plan.index

    def keys(self):
        """Names of the fields, in the order of the schema."""
        return self.to_dict().keys()

    def values(self):
        """Values of the fields, in the same order."""
        return self.to_dict().values()

    def items(self):
        """Names and values."""
        return self.to_dict().items()

    def __iter__(self):
        return iter(self.to_dict())

    def __len__(self):
        return self._plan.n

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.to_dict() == (other.to_dict() if isinstance(other, Row) else dict(other))

    __hash__ = None

    def __repr__(self):
        return repr(self.to_dict())

    def __reduce__(self):
        return dict, (self.to_dict(),)

    def to_dict(self):
        """All fields as a dict of one's own."""
        cdef Py_ssize_t i
        found = {}
        for i in range(self._plan.n):
            found[self._plan.names[i]] = self._field(i)
        return found

    def to_bson(self):
        """The fields as a BSON document, byte by byte what the driver's encoder makes of the dict.

        Raises ValueError where it would be larger than a document of MongoDB may be.
        """
        cdef Py_ssize_t most = self._plan.most + self._size
        if self._changes is not None:
            most += sum([4 * len(text) for text in self._changes.values() if isinstance(text, str)])
        if most > INT32_MAX:
            raise ValueError("too large for a document")
        cdef bytes document = PyBytes_FromStringAndSize(NULL, most)
        cdef unsigned char* begin = <unsigned char*> PyBytes_AS_STRING(document)
        cdef unsigned char* end = self._write(begin + 4)
        end[0] = 0
        cdef int32_t size = <int32_t> (end + 1 - begin)
        memcpy(begin, &size, 4)
        return PyBytes_FromStringAndSize(<const char*> begin, size)

    cdef unsigned char* _write(self, unsigned char* out) except NULL:
        """Write the fields; return where they end."""
        cdef _Plan plan = self._plan
        cdef const unsigned char* data = <const unsigned char*> PyBytes_AS_STRING(self._data)
        cdef const char* keys = PyBytes_AS_STRING(plan.keys)
        cdef Py_ssize_t i, size
        cdef unsigned char* type_
        cdef bytes text
        for i in range(plan.n):
            type_ = out
            size = plan.key_starts[i + 1] - plan.key_starts[i]
            memcpy(out + 1, keys + plan.key_starts[i], size)
            out += 1 + size
            if self._starts[i] < _CHANGED:
                out = _write_value(plan.kinds[i], data + self._starts[i], type_, out)
            elif self._starts[i] == _MISSING:
                type_[0] = 0x0A
            elif isinstance(self._changes[i], str):
                text = (<str> self._changes[i]).encode()
                type_[0] = 0x02
                out = _write_text(out, <const unsigned char*> PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
            else:
                out = _write_long(self._changes[i], type_, out)
        return out


Mapping.register(Row)
