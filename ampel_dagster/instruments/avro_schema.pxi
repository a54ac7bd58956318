"""Schemas of Avro, taken apart once; a part of `avro_rows.pyx`."""

@cython.final
cdef class _Node:
    """A type of a schema."""

    cdef Kind kind
    #: Bytes of a fixed value.
    cdef Py_ssize_t size
    #: Names of fields, or symbols of an enumeration.
    cdef tuple names
    #: Types of fields, of branches; the one of items or values.
    cdef tuple inner
    cdef _Plan plan


cdef class _Plan:
    def __cinit__(self, tuple names, list kinds, list nulls, list values):
        cdef Py_ssize_t i, n = len(names)
        self.n = n
        self.names = names
        self.index = {name: i for i, name in enumerate(names)}
        self.parts = {}
        self.kinds = <Kind*> PyMem_Malloc(n * sizeof(Kind))
        self.null_tags = <int*> PyMem_Malloc(n * sizeof(int))
        self.value_tags = <int*> PyMem_Malloc(n * sizeof(int))
        self.key_starts = <Py_ssize_t*> PyMem_Malloc((n + 1) * sizeof(Py_ssize_t))
        self.origins = <Py_ssize_t*> PyMem_Malloc(n * sizeof(Py_ssize_t))
        if not (self.kinds and self.null_tags and self.value_tags and self.key_starts and self.origins):
            raise MemoryError()
        encoded = [name.encode() + b"\0" for name in names]
        self.keys = b"".join(encoded)
        self.key_starts[0] = 0
        for i in range(n):
            self.origins[i] = i
            self.kinds[i] = kinds[i]
            self.null_tags[i] = nulls[i]
            self.value_tags[i] = values[i]
            self.key_starts[i + 1] = self.key_starts[i] + len(encoded[i])
        # Type, name, and eight bytes of a number; a string has its length and a zero, binary data a letter more.
        self.most = len(self.keys) + 9 * n + 5

    cdef _Plan part(self, tuple names):
        """The plan of a row that has these fields, in this order; one that this has not is always missing.

        Raises ValueError for names that no document can have: the room for its bytes is reckoned with each string once.
        """
        cdef _Plan found = self.parts.get(names)
        if found is None:
            if not _fit(names):
                raise ValueError(f"a name twice, or with a zero in it: {names!r}")
            numbers = [self.index.get(name, -1) for name in names]
            kinds = [NULL_ if n < 0 else self.kinds[<Py_ssize_t> n] for n in numbers]
            found = self.parts[names] = _Plan(names, kinds, [-1] * len(names), [-1] * len(names))
            for i, n in enumerate(numbers):
                found.origins[<Py_ssize_t> i] = n
        return found

    cdef _Plan rest(self, without):
        """The plan of a row that lacks these fields."""
        without = frozenset(without)
        cdef _Plan found = self.parts.get(without)
        if found is None:
            found = self.parts[without] = self.part(tuple([name for name in self.names if name not in without]))
        return found

    def __dealloc__(self):
        PyMem_Free(self.kinds)
        PyMem_Free(self.null_tags)
        PyMem_Free(self.value_tags)
        PyMem_Free(self.key_starts)
        PyMem_Free(self.origins)


cdef bint _fit(tuple names):
    """Whether BSON allows these names in one document."""
    return len(set(names)) == len(names) and not any(["\0" in name for name in names])


cdef _Node _node(schema, dict named, bint as_row):
    """`as_row`: whether a flat record becomes a row; the outermost record is always a dict."""
    cdef _Node node = _Node.__new__(_Node)
    if isinstance(schema, list):
        node.kind = UNION
        node.inner = tuple([_node(branch, named, True) for branch in schema])
        return node
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and "logicalType" in schema:
        raise Unsupported(f"logical type {schema['logicalType']}")
    if isinstance(kind, (dict, list)):
        return _node(kind, named, as_row)
    if kind in _KINDS:
        node.kind = _KINDS[kind]
    elif kind in named and not isinstance(schema, dict):
        # Once for all who name it: types that name each other twice would become two to the power of their number.
        if not isinstance(named[kind], _Node):
            named[kind] = _node(named[kind], named, True)
        return <_Node> named[kind]
    elif kind == "fixed":
        node.kind, node.size = FIXED, schema["size"]
    elif kind == "enum":
        node.kind, node.names = ENUM, tuple(schema["symbols"])
    elif kind in ("array", "map"):
        node.kind = ARRAY if kind == "array" else MAP
        node.inner = (_node(schema["items" if kind == "array" else "values"], named, True),)
    elif kind == "record":
        node.names = tuple([sys.intern(field["name"]) for field in schema["fields"]])
        node.inner = tuple([_node(field["type"], named, True) for field in schema["fields"]])
        node.plan = _plan(node) if as_row else None
        node.kind = RECORD if node.plan is None else ROW
    else:
        raise Unsupported(f"type {kind!r}")
    return node


cdef _Plan _plan(_Node record):
    """The plan of a record that is flat, with names that BSON allows; None for any other."""
    cdef _Node field, one, other
    kinds, nulls, values = [], [], []
    for field in record.inner:
        null = value = -1
        if field.kind == UNION and len(field.inner) == 2:
            one, other = field.inner
            if (one.kind == NULL_) == (other.kind == NULL_):
                return None
            null, value = (0, 2) if one.kind == NULL_ else (2, 0)
            field = other if one.kind == NULL_ else one
        if field.kind > STRING:
            return None
        kinds.append(field.kind)
        nulls.append(null)
        values.append(value)
    if not _fit(record.names):
        return None
    return _Plan(record.names, kinds, nulls, values)
