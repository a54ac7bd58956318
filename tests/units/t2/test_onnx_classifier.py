"""A model of real use."""

import csv
import zipfile
from pathlib import Path

import pytest

from ampel_dagster.units.t2.onnx_classifier import OnnxClassifier
from tests.units.t2.test_light_curve_summary import detection, light_curve

CURVE = light_curve(detection(1.0, "g", 18.0))


def test_anomaly_forest_of_real_use(data: Path, tmp_path: Path) -> None:
    """The forests of Fink's anomaly search: unusual features have lower scores than the mean object's."""
    pytest.importorskip("onnxruntime")
    source = data / "models" / "fink_aad"
    with zipfile.ZipFile(source / "anomaly_detection_forest_AAD.zip") as archive:
        archive.extractall(tmp_path)
    (model,) = [path for path in tmp_path.rglob("*.onnx") if "_g" in path.name]
    with (source / "g_means.csv").open() as file:
        rows = list(csv.reader(file))
    means = dict(zip(*rows[:2], strict=False)) if len(rows[0]) > 2 else {row[0]: row[1] for row in rows}
    names, values = zip(*((name, float(value)) for name, value in means.items() if _is_float(value)), strict=True)
    names, values = names[-18:], values[-18:]
    unit = OnnxClassifier(
        model=str(model.relative_to(tmp_path)),
        features=tuple(f"features.g.{name}" for name in names),
        missing="fill",
        fill=values,
    ).prepare(tmp_path)
    usual = unit.process(CURVE, {"features": {"g": {}}})
    assert usual.code == 0
    assert len(usual.body["missing"]) == 18
    strange = unit.process(CURVE, {"features": {"g": {name: 50.0 * value for name, value in zip(names, values)}}})  # noqa: B905
    assert isinstance(usual.body["score"], float)
    assert strange.body["score"] != usual.body["score"]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
