"""Classify by a model in the ONNX format."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ampel_dagster.units.t2._classifier import Classifier

_INSTALL = "pip install 'ampel-dagster[ml]'"


class OnnxClassifier(Classifier):
    """Classify by an ONNX model (https://onnx.ai), which scikit-learn, PyTorch and others can write.

    Features are tied results, in the order of the model's one input (float32). With `classes` the result has
    `probabilities` by class, `best` and `p_best`; without, the first output as `score`. The model's hash is kept in
    `meta`. Code 1: features are missing, `missing` says which.
    """

    output: str | None = Field(None, description="name of the model's output; none: the last one")

    def prepare(self, folder: Path) -> "OnnxClassifier":
        """The unit that reads its model from `folder`."""
        try:
            import onnxruntime  # noqa: F401
        except ImportError:
            raise ValueError(f"onnxruntime is not installed; {_INSTALL}") from None
        prepared = super().prepare(folder)
        assert isinstance(prepared, OnnxClassifier)
        return prepared

    def outputs(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """The output of the session; of a list of probabilities by class, their values in the classes' order."""
        session = _session(self.path)
        names = [found.name for found in session.get_outputs()]
        name = self.output or names[-1]
        if name not in names:
            raise ValueError(f"the model has no output {name!r}; there are: {', '.join(names)}")
        (found,) = session.run([name], {session.get_inputs()[0].name: features})
        if found and isinstance(found[0], dict):
            found = [list(row.values()) for row in found]
        return np.asarray(found, dtype=np.float64).reshape(len(features), -1)


@lru_cache(maxsize=16)
def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One document a call: threads would cost more than they bring, and workers are processes.
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
