"""The general-purpose filter for extragalactic transients in the ZTF stream."""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from math import asin, cos, degrees, isnan, radians, sin
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.cut import Cut
from ampel_dagster.units.base import AlertFilter, Needs

#: Third row of the rotation from ICRS to galactic coordinates (towards the north galactic pole).
#: Source: The Hipparcos and Tycho Catalogues, ESA SP-1200 (1997), vol. 1, eq. 1.5.11, on the IAU system of 1958.
_TO_GALACTIC_POLE = (-0.8676661490, -0.1980763734, +0.4559837762)
#: What `isdiffpos` says in the schemas' various versions when the source is brighter than in the reference; 1 is True.
_POSITIVE = frozenset({"t", "1", 1})


class Reject(IntEnum):
    """Why an alert was rejected: the name of the cut, numbered in the order of AMPEL's `DecentFilter`."""

    MIN_NDET = -1
    MIN_TSPAN_DAYS = -2
    MAX_TSPAN_DAYS = -3
    #: A field that a cut needs is absent, null or NaN.
    MISSING = -4
    ONLY_POSITIVE = -5
    MIN_RB = -6
    MIN_DRB = -7
    MAX_FWHM_PX = -8
    MAX_ELONG = -9
    MAX_MAGDIFF = -10
    MAX_NBAD = -11
    MIN_ARCHIVE_TSPAN_DAYS = -12
    MAX_ARCHIVE_TSPAN_DAYS = -13
    MIN_SSO_DIST_ARCSEC = -14
    MIN_GAL_LAT_DEG = -15
    PS1_SGVETO = -16
    PS1_CONFUSION = -17


class _Rule(NamedTuple):
    """A cut as a rule; `parameters` are the fields of the filter that switch it on and give the limit."""

    #: That of its parameter, or of its pair of parameters without what tells these apart.
    name: str
    parameters: tuple[str, ...]
    #: Takes the candidate, or the times of the detections for a cut on the history.
    measure: Callable[[Any], Any]
    #: Whether a value passes a limit. A NaN must not pass where the field is mandatory.
    holds: Callable[[Any, Any], bool]


class _ActiveCut(NamedTuple):
    code: int
    measure: Callable[[Any], Any]
    holds: Callable[[Any, Any], bool]
    limit: Any
    name: str


class DecentFilter(AlertFilter):
    """Cut on history, image quality, real-bogus scores, solar system, Galactic plane, stars: AMPEL's `DecentFilter`.

    A cut is on when its parameter is given. The cuts are AMPEL's, but for these differences:

    - The match with Gaia DR2 is not part of it, as it asks a remote catalogue.
    - Cuts on the candidate come before those on the history, which is decoded only for what survives them. The verdict
      is the same; of several reasons for a rejection the code gives the first in this order.
    - A mandatory field that is missing rejects (MISSING) where a cut asks for it; AMPEL asks for all fields always.
      Null or NaN counts as missing. `drb` and the dates of the archive are not mandatory, as in AMPEL: old packets
      lack them, and pass.
    - `max_nbad` cuts; AMPEL has the parameter and never uses it.

    `explain` tells for one alert what each cut measured.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    #: Meaning of the codes with which alerts are rejected.
    codes: ClassVar[type[Reject]] = Reject

    min_ndet: int | None = Field(None, ge=0, description="least number of detections in the alert, candidate included")
    min_tspan_days: float | None = Field(None, ge=0, description="least time from first to last detection in the alert")
    max_tspan_days: float | None = Field(
        None, ge=0, description="longest time from first to last detection in the alert"
    )
    only_positive: bool = Field(True, description="only sources brighter than in the reference image (isdiffpos)")
    min_rb: float | None = Field(None, ge=0, le=1, description="least real-bogus score (rb)")
    min_drb: float | None = Field(None, ge=0, le=1, description="least deep-learning real-bogus score (drb), if there")
    max_fwhm_px: float | None = Field(None, gt=0, description="largest full width at half maximum, in pixels (fwhm)")
    max_elong: float | None = Field(None, ge=1, description="largest ratio of the image's axes (elong)")
    max_magdiff: float | None = Field(
        None, ge=0, description="largest difference of aperture and PSF magnitude, of either sign (magdiff)"
    )
    max_nbad: int | None = Field(None, ge=0, description="most bad pixels in a 5 x 5 pixel stamp (nbad)")
    min_archive_tspan_days: float | None = Field(
        None, ge=0, description="the object's known history (jdendhist - jdstarthist) must be longer than this"
    )
    max_archive_tspan_days: float | None = Field(
        None, gt=0, description="the object's known history (jdendhist - jdstarthist) must be shorter than this"
    )
    min_sso_dist_arcsec: float | None = Field(
        None, ge=0, description="least distance to a known solar system object (ssdistnr; below 0: there is none)"
    )
    min_gal_lat_deg: float | None = Field(None, ge=0, le=90, description="least distance to the galactic plane")
    ps1_sgveto_rad_arcsec: float | None = Field(
        None, gt=0, description="reject if the nearest PS1 source is closer (distpsnr1) and a star by ps1_sgveto_th"
    )
    ps1_sgveto_th: float | None = Field(
        None, ge=0, le=1, description="star-galaxy score (sgscore1) above which the PS1 source is a star"
    )
    ps1_confusion_rad_arcsec: float | None = Field(
        None, gt=0, description="reject if all three PS1 sources are closer (distpsnr1 to 3) and undecided"
    )
    ps1_confusion_sg_tol: float | None = Field(
        None, gt=0, le=0.5, description="a star-galaxy score closer than this to 0.5 is undecided"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for one, other in _PAIRS:
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} make one cut: give both or neither")
        for least, most in _RANGES:
            low, high = getattr(self, least), getattr(self, most)
            if low is not None and high is not None and low > high:
                raise ValueError(f"{least} {low:g} is above {most} {high:g}: nothing would pass")
        return self

    @property
    def needs(self) -> Needs:
        """'history' where a cut on it is on."""
        return "history" if self._history_cuts else "candidate"

    def accept(self, alert: Alert) -> bool | int:
        """True, or the negative code of the first cut that fails (`Reject`)."""
        code = _first_failure(self._candidate_cuts, alert.candidate)
        if code:
            return code
        cuts = self._history_cuts
        return not cuts or _first_failure(cuts, _detection_times(alert)) or True

    def explain(self, alert: Alert) -> list[Cut]:
        """What each cut that is on makes of the alert, in the order of evaluation."""
        found = [_explain(cut, alert.candidate) for cut in self._candidate_cuts]
        if self._history_cuts:
            times = _detection_times(alert)
            found += [_explain(cut, times) for cut in self._history_cuts]
        return found

    @cached_property
    def _candidate_cuts(self) -> tuple[_ActiveCut, ...]:
        return self._active(_CANDIDATE_RULES)

    @cached_property
    def _history_cuts(self) -> tuple[_ActiveCut, ...]:
        return self._active(_HISTORY_RULES)

    def _active(self, rules: Sequence[_Rule]) -> tuple[_ActiveCut, ...]:
        found = []
        for rule in rules:
            limits = tuple(getattr(self, parameter) for parameter in rule.parameters)
            # False is that of only_positive; 0 is a limit.
            if any(limit is None or limit is False for limit in limits):
                continue
            limit = limits if len(limits) > 1 else limits[0]
            code = int(Reject[rule.name.upper()])
            found.append(_ActiveCut(code, rule.measure, rule.holds, limit, rule.name))
        return tuple(found)


def galactic_latitude_deg(ra_deg: float, dec_deg: float) -> float:
    """Galactic latitude of a position in the ICRS.

    Plain arithmetic, good to 0.02 arcsec: astropy's conversions are made for arrays, not for one position at a time.
    """
    ra, dec = radians(ra_deg), radians(dec_deg)
    x, y, z = _TO_GALACTIC_POLE
    height = (x * cos(ra) + y * sin(ra)) * cos(dec) + z * sin(dec)
    # The rounded coefficients can lead beyond 1 at the poles; NaN stays NaN.
    if abs(height) > 1:
        height = 1.0 if height > 0 else -1.0
    return degrees(asin(height))


def _first_failure(cuts: Sequence[_ActiveCut], subject: Any) -> int:
    """Code of the first cut that fails, 0 if none does."""
    # This loop decides about every alert of the stream: most rules are functions of the operator module, which are
    # called without a Python frame, and a try block costs nothing unless it catches.
    try:
        for code, measure, holds, limit, _ in cuts:
            value = measure(subject)
            if not holds(value, limit):
                return int(Reject.MISSING) if _is_missing(value) else code
    except (KeyError, TypeError, ValueError):
        return int(Reject.MISSING)
    return 0


def _explain(cut: _ActiveCut, subject: Any) -> Cut:
    try:
        value = cut.measure(subject)
    except (KeyError, TypeError, ValueError):
        value = None
    return Cut(cut.name, value, cut.limit, _first_failure((cut,), subject) == 0)


def _is_missing(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_is_missing(part) for part in value)
    return value is None or value != value


def _detection_times(alert: Alert) -> list[float]:
    return [point.jd for point in alert.points if point.kind == "detection"]


def _span(times: Sequence[float]) -> float | None:
    return max(times) - min(times) if times else None


def _archive_span(candidate: Mapping[str, Any]) -> float | None:
    first, last = candidate.get("jdstarthist"), candidate.get("jdendhist")
    return None if first is None or last is None else last - first


def _is_positive(value: Any, _: bool) -> bool:
    return value in _POSITIVE


def _at_least_if_there(value: float | None, limit: float) -> bool:
    return value is None or isnan(value) or value >= limit


def _above_if_there(value: float | None, limit: float) -> bool:
    return value is None or value > limit


def _below_if_there(value: float | None, limit: float) -> bool:
    return value is None or value < limit


def _magdiff(candidate: Mapping[str, Any]) -> float:
    return abs(candidate["magdiff"])  # type: ignore[no-any-return]


def _is_far_from_solar_system(distance: float, limit: float) -> bool:
    return distance < 0 or distance >= limit


def _distance_to_plane(candidate: Mapping[str, Any]) -> float:
    return abs(galactic_latitude_deg(candidate["ra"], candidate["dec"]))


def _is_no_star(source: tuple[float, float], limits: tuple[float, float]) -> bool:
    distance, score = source
    radius, threshold = limits
    return not (distance < radius and score > threshold) and not isnan(distance + score)


def _is_not_confused(sources: tuple[float, ...], limits: tuple[float, float]) -> bool:
    radius, tolerance = limits
    near = max(sources[:3]) < radius
    undecided = max(abs(score - 0.5) for score in sources[3:]) < tolerance
    return not (near and undecided) and not isnan(sum(sources))


#: In AMPEL's order.
_CANDIDATE_RULES = (
    _Rule("only_positive", ("only_positive",), itemgetter("isdiffpos"), _is_positive),
    _Rule("min_rb", ("min_rb",), itemgetter("rb"), operator.ge),
    _Rule("min_drb", ("min_drb",), lambda candidate: candidate.get("drb"), _at_least_if_there),
    _Rule("max_fwhm_px", ("max_fwhm_px",), itemgetter("fwhm"), operator.le),
    _Rule("max_elong", ("max_elong",), itemgetter("elong"), operator.le),
    _Rule("max_magdiff", ("max_magdiff",), _magdiff, operator.le),
    _Rule("max_nbad", ("max_nbad",), itemgetter("nbad"), operator.le),
    _Rule("min_archive_tspan_days", ("min_archive_tspan_days",), _archive_span, _above_if_there),
    _Rule("max_archive_tspan_days", ("max_archive_tspan_days",), _archive_span, _below_if_there),
    _Rule("min_sso_dist_arcsec", ("min_sso_dist_arcsec",), itemgetter("ssdistnr"), _is_far_from_solar_system),
    _Rule("min_gal_lat_deg", ("min_gal_lat_deg",), _distance_to_plane, operator.ge),
    _Rule(
        "ps1_sgveto",
        ("ps1_sgveto_rad_arcsec", "ps1_sgveto_th"),
        itemgetter("distpsnr1", "sgscore1"),
        _is_no_star,
    ),
    _Rule(
        "ps1_confusion",
        ("ps1_confusion_rad_arcsec", "ps1_confusion_sg_tol"),
        itemgetter("distpsnr1", "distpsnr2", "distpsnr3", "sgscore1", "sgscore2", "sgscore3"),
        _is_not_confused,
    ),
)
_HISTORY_RULES = (
    _Rule("min_ndet", ("min_ndet",), len, operator.ge),
    _Rule("min_tspan_days", ("min_tspan_days",), _span, operator.ge),
    _Rule("max_tspan_days", ("max_tspan_days",), _span, operator.le),
)
#: Parameters that make one cut.
_PAIRS = tuple(rule.parameters for rule in _CANDIDATE_RULES if len(rule.parameters) == 2)
_RANGES = (("min_tspan_days", "max_tspan_days"), ("min_archive_tspan_days", "max_archive_tspan_days"))
