"""One alert and one filter, without a database: what a filter sees of a packet, and what it says.

Run: .venv/bin/python examples/01_one_alert.py
"""

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.filters.decent import DecentFilter

# A packet as the survey would send it: Avro, with the object's history. For real ones, read a file's bytes.
made_up = make_alert(
    name="ZTF18abcecyc",
    jd=2458349.7,
    mag=18.2,
    rb=0.9,
    history=[
        make_limit(jd=2458341.7, maglim=20.6),
        make_detection(jd=2458344.7, mag=19.6),
        make_detection(jd=2458346.7, mag=18.9, band="g"),
    ],
)
packet = Packet(encode_packet(made_up), source="made-up.avro", offset=0)

# The instrument knows everything that is peculiar to ZTF. A packet that is broken comes back as an error.
(alert,) = ZTF().decode(packet)
assert isinstance(alert, Alert)
print(f"{alert.name} on {alert.night}: magnitude {alert.candidate['magpsf']}")
for point in alert.points:
    print(f"  {point.kind:<12} jd {point.jd:.1f}  {', '.join(point.tag)}")

# A filter is configured by its fields, in Python as in YAML, and answers one question.
wanted = DecentFilter(min_ndet=2, max_tspan_days=50, min_rb=0.3, min_gal_lat_deg=14)
print("accepted:", wanted.accept(alert))

strict = DecentFilter(min_ndet=4, min_rb=0.3)
verdict = strict.accept(alert)
print("with min_ndet 4:", DecentFilter.codes(verdict).name)
for cut in strict.explain(alert):
    print(f"  {cut.name:<16} {cut.value} (limit {cut.limit}): {'passed' if cut.passed else 'failed'}")

assert wanted.accept(alert) is True
assert DecentFilter.codes(verdict) is DecentFilter.codes.MIN_NDET
assert [point.kind for point in alert.points] == ["detection", "detection", "detection", "upper_limit"]
