"""What classifiers with trained models have in common: features from tied results, classes, probabilities."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, PrivateAttr

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._model_file import content_hash, existing
from ampel_dagster.units.t2._paths import heads, value_at

#: Code of a result where features are missing and nothing may stand for them.
MISSING_FEATURES = 1


class Classifier(LightCurveUnit):
    """Base: reads features, asks the model, tells classes."""

    model_config = ConfigDict(protected_namespaces=(), allow_inf_nan=False)

    model: str = Field(description="file of the model, relative to the instance")
    features: tuple[str, ...] = Field(
        min_length=1,
        description="the model's inputs in order: paths in tied results, as in LightCurveFeatures.g.Kurtosis",
    )
    missing: Literal["skip", "fill", "nan"] = Field(
        "skip",
        description="features that are not there: no result, the value of `fill`, or NaN for models that take it",
    )
    fill: tuple[float, ...] = Field((), description="values for missing features, in the order of `features`")
    classes: tuple[str, ...] = Field((), description="names of the classes, in the order of the model's outputs")

    _folder: Path = PrivateAttr(default=Path())

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """Units whose results hold the features, where the paths name units."""
        return heads(self.features)

    def prepare(self, folder: Path) -> "Classifier":
        """The unit that reads its model from `folder`, after a try with zeros."""
        if self.missing == "fill" and len(self.fill) != len(self.features):
            raise ValueError(f"fill has {len(self.fill)} values for {len(self.features)} features; give as many")
        prepared = self.model_copy()
        prepared._folder = folder
        existing(folder, self.model)
        outputs = prepared.outputs(np.zeros((1, len(self.features)), dtype=np.float32))
        wanted = len(self.classes)
        if wanted and outputs.shape[1] != wanted:
            raise ValueError(f"the model has {outputs.shape[1]} outputs, classes names {wanted}; make them agree")
        return prepared

    def data_versions(self) -> Mapping[str, str]:
        """Content hash of the model."""
        return {"model": content_hash(self.path)}

    def fields(self) -> dict[str, str]:
        """A score, or a number a class."""
        return {"score": "number", "best": "text", "p_best": "number", "probabilities.*": "number", "missing": "list"}

    @property
    def path(self) -> Path:
        """The model's file."""
        return self._folder / Path(self.model).expanduser()

    def process(self, light_curve: LightCurve, tied: Tied) -> UnitResult:
        """Probabilities by class, or the score of a model with one output."""
        found = [value_at(tied, path) for path in self.features]
        absent = [path for path, value in zip(self.features, found, strict=True) if not _is_number(value)]
        if absent and self.missing == "skip":
            return UnitResult({"missing": absent}, code=MISSING_FEATURES)
        outputs = self.outputs(np.array([self._filled(found)], dtype=np.float32))[0]
        result = {**self._named(outputs), **({"missing": absent} if absent else {})}
        return UnitResult(result)

    def _filled(self, values: Sequence[Any]) -> list[float]:
        instead = self.fill if self.missing == "fill" else (float("nan"),) * len(values)
        return [float(value) if _is_number(value) else other for value, other in zip(values, instead, strict=True)]

    def _named(self, outputs: NDArray[np.float64]) -> dict[str, Any]:
        if not self.classes:
            return {"score": float(outputs[0])}
        probabilities = dict(zip(self.classes, map(float, outputs), strict=True))
        best = max(probabilities, key=lambda name: probabilities[name])
        return {"best": best, "p_best": probabilities[best], "probabilities": probabilities}

    @abstractmethod
    def outputs(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The model's outputs, one row a row of features."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)
