"""Positions on the sky as people read them, and links to those who know more about a place."""

from math import asin, atan2, cos, degrees, isfinite, radians, sin

from ampel_dagster.units.t3._report_text import outside_link

#: North galactic pole (J2000) and galactic longitude of the north celestial pole, in degrees.
_POLE_RA, _POLE_DEC, _POLE_LONGITUDE = 192.85948, 27.12825, 122.93192


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """280.6953, 2.0103 -> '18:42:46.87 +02:00:37.1'."""
    if not (isfinite(ra_deg) and isfinite(dec_deg)):
        return "–"
    ticks = round((ra_deg % 360) / 15 * 360_000) % (24 * 360_000)
    hours, ticks = divmod(ticks, 360_000)
    minutes, ticks = divmod(ticks, 6_000)
    tenths = round(abs(dec_deg) * 36_000)
    degree, tenths = divmod(tenths, 36_000)
    arcmin, tenths = divmod(tenths, 600)
    sign = "-" if dec_deg < 0 else "+"
    ra = f"{hours:02d}:{minutes:02d}:{ticks / 100:05.2f}"
    return f"{ra} {sign}{degree:02d}:{arcmin:02d}:{tenths / 10:04.1f}"


def galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Galactic longitude and latitude, good to an arcsecond."""
    from_pole, dec, pole = radians(ra_deg - _POLE_RA), radians(dec_deg), radians(_POLE_DEC)
    sin_b = sin(pole) * sin(dec) + cos(pole) * cos(dec) * cos(from_pole)
    east = cos(dec) * sin(from_pole)
    north = cos(pole) * sin(dec) - sin(pole) * cos(dec) * cos(from_pole)
    return (_POLE_LONGITUDE - degrees(atan2(east, north))) % 360, degrees(asin(max(-1.0, min(1.0, sin_b))))


def sky_links(ra_deg: float, dec_deg: float) -> list[str]:
    """Links to catalogues and images at a position; made of two numbers, so no text of an alert gets in."""
    if not (isfinite(ra_deg) and isfinite(dec_deg)):
        return []
    ra, dec = f"{ra_deg:.6f}", f"{dec_deg:.6f}"
    place = f"{ra}d{dec_deg:+.6f}d".replace("+", "%2B")
    sites = {
        "SIMBAD": f"https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra}%20{dec}&Radius=10&Radius.unit=arcsec",
        "NED": "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search"
        f"&coordinates={place}&radius=0.5",
        "ALeRCE": f"https://alerce.online/?ra={ra}&dec={dec}&radius=5&page=1",
        "TNS": f"https://www.wis-tns.org/search?ra={ra}&decl={dec}&radius=5&coords_unit=arcsec",
        "Legacy Survey": f"https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&zoom=15&mark={ra},{dec}",
        "Aladin": f"https://aladin.cds.unistra.fr/AladinLite/?target={ra}%20{dec}&fov=0.05",
    }
    return [outside_link(url, name) for name, url in sites.items()]
