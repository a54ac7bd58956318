"""Classify by a model of XGBoost."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ampel_dagster.units.t2._classifier import Classifier

_INSTALL = "pip install 'ampel-dagster[ml]'"


class XgbClassifier(Classifier):
    """Classify by boosted trees (Chen & Guestrin 2016, doi:10.1145/2939672.2939785), in a file that XGBoost saved.

    Features are tied results, in the order in which the model was trained; trees take missing ones (`missing: nan`).
    With `classes` the result has `probabilities` by class, `best` and `p_best` (of a binary model, whose output is the
    probability of the second class, name two); without, the model's output as `score`. The model's hash is kept in
    `meta`. Code 1: features are missing, `missing` says which.
    """

    def prepare(self, folder: Path) -> "XgbClassifier":
        """The unit that reads its model from `folder`."""
        try:
            import xgboost  # noqa: F401
        except ImportError:
            raise ValueError(f"xgboost is not installed; {_INSTALL}") from None
        prepared = super().prepare(folder)
        assert isinstance(prepared, XgbClassifier)
        return prepared

    def outputs(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities, one column a class."""
        found = np.asarray(_booster(self.path).inplace_predict(features), dtype=np.float64)
        if found.ndim == 1 and len(self.classes) == 2:
            return np.column_stack([1 - found, found])
        return found.reshape(len(features), -1)


@lru_cache(maxsize=16)
def _booster(path: Path) -> Any:
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(str(path))
    return booster
