"""Fit a supernova model to a light curve."""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._paths import value_at

_INSTALL = "pip install 'ampel-dagster[sn]' (a C compiler is needed)"
#: Codes of results: what became of the fit.
TOO_FEW_POINTS, NO_REDSHIFT, DID_NOT_CONVERGE = 1, 2, 3
#: Part of a filter's peak below which it counts as closed, as in sncosmo's own filters: else a leak of 1e-5 far from
#: the band would put it outside of the model.
_TRIM_LEVEL = 0.001
#: Mean wavelengths in Å that filters have, from the far ultraviolet to K.
_PLAUSIBLE_ANGSTROM = (1_300.0, 30_000.0)


class SNFit(LightCurveUnit):
    """Fit a SALT or template model with sncosmo, to all measured fluxes (forced photometry included).

    Source: sncosmo (Barbary et al., doi:10.5281/zenodo.592747), SALT2 (Guy et al. 2007, A&A 466, 11), SALT3 (Kenworthy
    et al. 2021, ApJ 923, 265). Nothing is ever downloaded: model and filter curves are folders and files of the
    instance. Filters are named as in the flux table, which for ZTF and LSST is as in sncosmo (``ztfg``, ``lsstg``).
    Rubin publishes its own, in nm, as baseline/total_g.dat and so on (https://github.com/lsst/throughputs); sncosmo has
    the same files as bandpasses/lsst/total_g.dat. Fluxes count, upper limits do not, which have none.

    The result has `model`, `z`, `z_source` (fixed, tied or fitted), `chisq`, `ndof`, `chisq_per_dof`, `n_points`,
    `success`; by name of each parameter of the model `parameters` and `errors`, the `covariance` of those that were
    fitted (`vparams`), `peak_abs_mag_b` (rest-frame Bessell B, AB, H0 of Planck 2018) and `phase_first_days`,
    `phase_last_days` (rest-frame days of first and last point from the model's time of maximum). Times are JD. Code 0:
    a fit; 1: fewer points than `min_points`; 2: no redshift where one is needed; 3: the fit did not converge, or no
    band lies where the model has a spectrum.
    """

    version: ClassVar[str] = "2"
    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())

    source: Literal["salt2", "salt3"] = Field("salt3", description="kind of the model")
    model_folder: str = Field(description="folder of the model's files, relative to the instance")
    bands: dict[str, str] = Field(
        min_length=1,
        description="file of the transmission (wavelength in Å, throughput) by band of the flux table, as in ztfg",
    )
    bands_in_nm: tuple[str, ...] = Field((), description="bands whose files have the wavelength in nm, as Rubin's do")
    redshift: float | None = Field(None, gt=0, description="a fixed redshift; none: from redshift_from, or fitted")
    redshift_from: str | None = Field(
        None, description="path of the redshift in a tied product, as in RedshiftDigest.z"
    )
    z_bounds: tuple[float, float] = Field((0.001, 0.2), description="range in which a redshift is fitted")
    fit_redshift: bool = Field(False, description="fit the redshift where none is known")
    mw_ebv: float | None = Field(None, ge=0, description="E(B-V) of the Milky Way in mag; F99 law, R_V 3.1")
    mw_ebv_from: str | None = Field(None, description="path of E(B-V) in a tied product, as in GalacticExtinction.ebv")
    min_points: int = Field(5, ge=4, description="smallest number of fluxes")
    min_snr: float = Field(3.0, ge=0, description="signal to noise that the brightest point must have")
    phase_range_days: tuple[float, float] | None = Field(
        (-20.0, 50.0), description="rest-frame days from maximum that are fitted, in a second pass"
    )
    parameter_bounds: dict[str, tuple[float, float]] = Field(
        default_factory=lambda: {"x1": (-5.0, 5.0), "c": (-0.5, 0.8)}, description="bounds of fitted parameters"
    )

    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _redshift_known(self) -> Self:
        if self.redshift is not None and self.redshift_from is not None:
            raise ValueError("redshift and redshift_from exclude each other: give one")
        if self.redshift is None and self.redshift_from is None and not self.fit_redshift:
            raise ValueError("where should the redshift come from? give redshift, redshift_from, or fit_redshift: true")
        return self

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """Units that redshift and extinction come from, where the paths name units."""
        heads = [path.partition(".")[0] for path in (self.redshift_from, self.mw_ebv_from) if path]
        return tuple(dict.fromkeys(head for head in heads if head[:1].isupper()))

    def prepare(self, folder: Path) -> "SNFit":
        """The unit that reads its files from `folder`, after a look whether they are there."""
        try:
            import sncosmo  # noqa: F401
        except ImportError:
            raise ValueError(f"sncosmo is not installed; {_INSTALL}") from None
        if not (folder / self.model_folder).is_dir():
            raise ValueError(f"there is no folder {folder / self.model_folder}; unpack the model there")
        for band, file in self.bands.items():
            if not (folder / file).is_file():
                raise ValueError(f"bands.{band}: there is no file {folder / file}; put it there")
            self._check_band(band, folder / file)
        unknown = sorted(set(self.bands_in_nm) - set(self.bands))
        if unknown:
            raise ValueError(
                f"bands_in_nm names {unknown[0]}, which is none of the bands; there are: {', '.join(self.bands)}"
            )
        prepared = self.model_copy()
        prepared._folder = folder
        return prepared

    def _check_band(self, band: str, file: Path) -> None:
        """A file in nm that is read as Å gives a fit, and a wrong one."""
        try:
            mean = float(load_band(band, file, band in self.bands_in_nm).wave_eff)
        except (ValueError, IndexError) as error:
            raise ValueError(f"bands.{band}: {file} has no two columns of numbers ({error})") from None
        least, most = _PLAUSIBLE_ANGSTROM
        if not least <= mean <= most:
            remedy = "take it out of" if band in self.bands_in_nm else "is it in nm? then add it to"
            raise ValueError(f"bands.{band}: {file} lies at {mean:.0f} Å; {remedy} bands_in_nm")

    def fields(self) -> dict[str, str]:
        """Numbers; those of the model under their names."""
        numbers = ("z", "chisq", "ndof", "chisq_per_dof", "n_points", "peak_abs_mag_b", "phase_first_days")
        more = ("phase_last_days", "parameters.*", "errors.*")
        lists = {"covariance": "list", "vparams": "list"}
        return {
            "model": "text",
            "z_source": "text",
            "success": "flag",
            **lists,
            **dict.fromkeys((*numbers, *more), "number"),
        }

    def data_versions(self) -> Mapping[str, str]:
        """Content hashes of the model and of the filter curves."""
        files = {f"band {band}": self._folder / file for band, file in self.bands.items()}
        return {
            "model": _folder_hash(self._folder / self.model_folder),
            **{k: _folder_hash(f) for k, f in files.items()},
        }

    def process(self, light_curve: LightCurve, tied: Tied) -> UnitResult:
        """The fit, or the code that says why there is none."""
        z, z_source = self._redshift(tied)
        if z is None and not self.fit_redshift:
            return UnitResult({"success": False, "z": None}, code=NO_REDSHIFT)
        table = light_curve.flux_table()
        table = table[table["band"].isin(list(self.bands))]
        usable = len(table) >= self.min_points and float((table["flux"] / table["fluxerr"]).max()) >= self.min_snr
        if not usable:
            return UnitResult({"success": False, "z": z, "n_points": len(table)}, code=TOO_FEW_POINTS)
        found = self._fit(table, z, self._ebv(tied))
        if found is None:
            return UnitResult({"success": False, "z": z, "n_points": len(table)}, code=DID_NOT_CONVERGE)
        return UnitResult({**found, "z_source": z_source})

    def _redshift(self, tied: Tied) -> tuple[float | None, str]:
        if self.redshift is not None:
            return self.redshift, "fixed"
        z = value_at(tied, self.redshift_from) if self.redshift_from else None
        if isinstance(z, int | float) and z > 0:
            return float(z), "tied"
        return None, "fitted"

    def _ebv(self, tied: Tied) -> float:
        if self.mw_ebv is not None:
            return self.mw_ebv
        found = value_at(tied, self.mw_ebv_from) if self.mw_ebv_from else None
        return float(found) if isinstance(found, int | float) else 0.0

    def _fit(self, table: pd.DataFrame, z: float | None, ebv: float) -> dict[str, Any] | None:
        import sncosmo
        from astropy.table import Table

        source, bands = load_source(self.source, self._folder / self.model_folder), self._bandpasses()
        model = sncosmo.Model(source=source, effects=[sncosmo.F99Dust()], effect_names=["mw"], effect_frames=["obs"])
        model.set(mwebv=ebv)
        free = list(source.param_names)
        bounds = {name: limits for name, limits in self.parameter_bounds.items() if name in free}
        free = ["t0", *free]
        if z is None:
            bounds["z"], free = self.z_bounds, ["z", *free]
        else:
            model.set(z=z)
        brightest = int(np.argmax((table["flux"] / table["fluxerr"]).to_numpy()))
        jd = float(table["time"].to_numpy()[brightest])
        bounds["t0"] = (jd - 60.0, jd + 40.0)
        columns = {name: table[name].to_numpy() for name in ("time", "flux", "fluxerr", "zp", "zpsys")}
        data = Table({**columns, "band": [bands[band] for band in table["band"]]})
        fitted = self._pass(data, model, free, bounds)
        if fitted is None or self.phase_range_days is None:
            return self._described(fitted, data) if fitted else None
        _, first = fitted
        low, high = self.phase_range_days
        z_used, t0 = first.get("z"), first.get("t0")
        near = data[(data["time"] > t0 + low * (1 + z_used)) & (data["time"] < t0 + high * (1 + z_used))]
        if self.min_points <= len(near) < len(data):
            again = self._pass(near, first, free, bounds)
            fitted, data = (again, near) if again is not None else (fitted, data)
        return self._described(fitted, data)

    def _pass(self, data: Any, model: Any, free: list[str], bounds: dict[str, tuple[float, float]]) -> Any:
        """(result, model) of one fit, None where it fails."""
        import warnings

        import sncosmo

        try:
            with warnings.catch_warnings():
                # Of bands that the model does not cover, and of steps into regions without flux.
                warnings.simplefilter("ignore")
                result, fitted = sncosmo.fit_lc(data, model, free, bounds=bounds, warn=False)
        except (RuntimeError, ValueError, sncosmo.fitting.DataQualityError):
            return None
        return (result, fitted) if result.success and np.isfinite(result.chisq) else None

    def _described(self, fitted: Any, data: Any) -> dict[str, Any]:
        result, model = fitted
        data = data[result.data_mask]  # without the bands that the model does not cover
        z, t0 = float(model.get("z")), float(model.get("t0"))
        phases = (np.asarray(data["time"], dtype=float) - t0) / (1 + z)
        covariance = result.covariance
        return {
            "model": self.source,
            "z": z,
            "success": True,
            "chisq": float(result.chisq),
            "ndof": int(result.ndof),
            "chisq_per_dof": float(result.chisq / result.ndof) if result.ndof > 0 else None,
            "n_points": len(data),
            "parameters": {
                name: float(value) for name, value in zip(result.param_names, result.parameters, strict=True)
            },
            "errors": {name: float(value) for name, value in result.errors.items()},
            "vparams": list(result.vparam_names),
            "covariance": covariance.tolist() if covariance is not None else None,
            "peak_abs_mag_b": _peak_abs_mag(model),
            "phase_first_days": float(phases.min()),
            "phase_last_days": float(phases.max()),
        }

    def _bandpasses(self) -> dict[str, Any]:
        return {b: load_band(b, self._folder / file, b in self.bands_in_nm) for b, file in self.bands.items()}


def _peak_abs_mag(model: Any) -> float | None:
    from astropy.cosmology import Planck18

    found = float(model.source_peakabsmag("bessellb", "ab", cosmo=Planck18))
    return found if np.isfinite(found) else None


@lru_cache(maxsize=8)
def load_source(kind: str, folder: Path) -> Any:
    """A model, read once by a process."""
    import sncosmo

    return {"salt2": sncosmo.SALT2Source, "salt3": sncosmo.SALT3Source}[kind](modeldir=str(folder))


@lru_cache(maxsize=64)
def load_band(name: str, file: Path, in_nm: bool = False) -> Any:
    """A filter curve, read once by a process."""
    import sncosmo

    wavelength, throughput = np.loadtxt(file, unpack=True, usecols=(0, 1))
    return sncosmo.Bandpass(wavelength * (10 if in_nm else 1), throughput, name=name, trim_level=_TRIM_LEVEL)


@lru_cache(maxsize=64)
def _folder_hash(path: Path) -> str:
    """64 bits of BLAKE2b of a file, or of a folder's files in the order of their names."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = blake2b(digest_size=8)
    for file in files:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
