"""VOEvent documents, element by element."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

_NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
#: Times in UTC and positions in ICRS, both as seen from the observatory.
_SYSTEM = "UTC-ICRS-TOPO"
#: What XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Units by the end of a name, as the CDS writes them.
_UNITS = {"arcsec": "arcsec", "deg": "deg", "days": "d", "jd": "d", "mag": "mag"}
_MAGNITUDES = ("mag_err", "mag_limit")


def text(value: Any) -> str:
    """A value as text that XML can hold; nothing for what is missing."""
    return "" if value is None else _FORBIDDEN.sub("\ufffd", str(value))


def root(ivorn: str, role: str) -> Element:
    """An empty event."""
    ElementTree.register_namespace("voe", _NAMESPACE)
    where = {f"{{{_INSTANCE}}}schemaLocation": f"{_NAMESPACE} {_NAMESPACE.rpartition('/')[0]}/VOEvent-v2.0.xsd"}
    return Element(f"{{{_NAMESPACE}}}VOEvent", {"ivorn": ivorn, "role": role, "version": "2.0", **where})


def leaf(parent: Element, name: str, value: Any, **about: str) -> None:
    """An element that holds a text, unless there is none; `about`: its attributes."""
    if value not in (None, ""):
        SubElement(parent, name, about).text = text(value)


def param(parent: Element, name: str, value: Any, ucd: str = "") -> None:
    """A value with its name, and what its type and its name say about it."""
    kind = {int: "int", float: "float"}.get(type(value), "string")
    about = {"name": name, "value": text(value), "dataType": kind, "unit": unit_of(name), "ucd": ucd}
    SubElement(parent, "Param", {key: said for key, said in about.items() if said or key == "value"})


def table(parent: Element, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """A table with a head; a missing value is an empty cell."""
    found = list(rows)
    if not found:
        return  # the standard knows no table without rows
    place = SubElement(parent, "Table", {"name": name})
    for column in columns:
        numbers = any(isinstance(row[column], float) for row in found)
        about = {"name": column, "dataType": "float" if numbers else "string", "unit": unit_of(column)}
        SubElement(place, "Field", {key: said for key, said in about.items() if said})
    data = SubElement(place, "Data")
    for row in found:
        line = SubElement(data, "TR")
        for column in columns:
            SubElement(line, "TD").text = text(row[column])


def where_when(parent: Element, observatory: str, time: str, ra_deg: float, dec_deg: float, error_deg: float) -> None:
    """Time (UTC) and position (ICRS) with the radius of its error."""
    place = SubElement(SubElement(parent, "WhereWhen"), "ObsDataLocation")
    SubElement(place, "ObservatoryLocation", {"id": text(observatory)})
    seen = SubElement(place, "ObservationLocation")
    SubElement(seen, "AstroCoordSystem", {"id": _SYSTEM})
    coords = SubElement(seen, "AstroCoords", {"coord_system_id": _SYSTEM})
    leaf(SubElement(SubElement(coords, "Time", {"unit": "s"}), "TimeInstant"), "ISOTime", time)
    position = SubElement(coords, "Position2D", {"unit": "deg"})
    leaf(position, "Name1", "RA")
    leaf(position, "Name2", "Dec")
    value = SubElement(position, "Value2")
    leaf(value, "C1", repr(ra_deg))
    leaf(value, "C2", repr(dec_deg))
    leaf(position, "Error2Radius", repr(error_deg))


def unit_of(name: str) -> str:
    """The unit that a name says, as in distance_arcsec; empty where it says none."""
    return "mag" if name.endswith(_MAGNITUDES) else _UNITS.get(re.split(r"[._]", name)[-1], "")


def as_bytes(event: Element) -> bytes:
    """The document in UTF-8, with its declaration."""
    ElementTree.indent(event)
    found: bytes = ElementTree.tostring(event, encoding="UTF-8", xml_declaration=True)
    return found
