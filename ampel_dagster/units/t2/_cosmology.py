"""Distances in the Planck 2018 cosmology (Planck Collaboration 2020, A&A 641, A6), as astropy has it."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def distance_modulus(z: float) -> float:
    """Apparent minus absolute magnitude at a redshift above 0, without K correction."""
    from astropy.cosmology import Planck18

    return float(Planck18.distmod(z).value)


@lru_cache(maxsize=4096)
def kpc_per_arcsec(z: float) -> float:
    """Proper kpc that an arcsecond on the sky stands for at a redshift above 0."""
    from astropy.cosmology import Planck18

    return float(Planck18.kpc_proper_per_arcmin(z).value) / 60
