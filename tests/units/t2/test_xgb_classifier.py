"""Trees that were trained elsewhere."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampel_dagster.units.t2._classifier import MISSING_FEATURES
from ampel_dagster.units.t2.xgb_classifier import XgbClassifier
from tests.units.t2.test_light_curve_summary import detection, light_curve

CURVE = light_curve(detection(1.0, "g", 18.0))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees that learnt to tell positive from negative x, and do without y."""
    xgboost = pytest.importorskip("xgboost")
    folder = tmp_path_factory.mktemp("trees")
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 2, "nthread": 1},
        xgboost.DMatrix(x, (x[:, 0] > 0).astype(int)),
        num_boost_round=20,
    )
    booster.save_model(folder / "sign.ubj")
    return folder


def sign(folder: Path, **config: Any) -> XgbClassifier:
    settings = {"model": "sign.ubj", "features": ["RiseDecline.x", "other.y"], "classes": ["minus", "plus"], **config}
    unit = XgbClassifier(**settings).prepare(folder)
    assert isinstance(unit, XgbClassifier)
    return unit


def test_trees_tell_classes(trees: Path) -> None:
    unit = sign(trees)
    assert unit.requires == ("RiseDecline",)
    for x, best in ((1.5, "plus"), (-1.5, "minus")):
        found = unit.process(CURVE, {"RiseDecline": {"x": x}, "other": {"y": 0.1}})
        assert (found.code, found.body["best"]) == (0, best)
        assert found.body["p_best"] > 0.9
        assert sum(found.body["probabilities"].values()) == pytest.approx(1)


def test_missing_features(trees: Path) -> None:
    tied = {"RiseDecline": {"x": 1.5}, "other": {"y": None}}
    found = sign(trees).process(CURVE, tied)
    assert (found.code, found.body) == (MISSING_FEATURES, {"missing": ["other.y"]})
    assert sign(trees, missing="nan").process(CURVE, tied).body["best"] == "plus"
    filled = sign(trees, missing="fill", fill=(-2.0, 0.0)).process(CURVE, {"RiseDecline": {}, "other": {"y": 1.0}})
    assert (filled.body["best"], filled.body["missing"]) == ("minus", ["RiseDecline.x"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "absent.ubj"}, "there is no file"),
        ({"classes": ["a", "b", "c"]}, "classes names 3"),
        ({"missing": "fill", "fill": (1.0,)}, "fill has 1 values for 2 features"),
    ],
)
def test_mistakes_are_found_when_the_configuration_is_read(trees: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sign(trees, **config)


def test_hash_of_the_model_is_part_of_the_results_origin(trees: Path) -> None:
    versions = sign(trees).data_versions()
    copy = trees / "copy.ubj"
    copy.write_bytes((trees / "sign.ubj").read_bytes())
    assert sign(trees, model="copy.ubj").data_versions() == versions
    assert len(versions["model"]) == 16
