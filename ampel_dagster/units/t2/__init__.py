"""T2 units: what is computed on points, states and stocks; one file, one class, one line here."""

from ampel_dagster.units.t2.bayesian_blocks import BayesianBlocks
from ampel_dagster.units.t2.bazin_fit import BazinFit
from ampel_dagster.units.t2.catalog_match import CatalogMatch
from ampel_dagster.units.t2.color_evolution import ColorEvolution
from ampel_dagster.units.t2.from_alert import FromAlert
from ampel_dagster.units.t2.galactic_extinction import GalacticExtinction
from ampel_dagster.units.t2.host_galaxy import HostGalaxy
from ampel_dagster.units.t2.last_limit import LastLimit
from ampel_dagster.units.t2.light_curve_features import LightCurveFeatures
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary
from ampel_dagster.units.t2.moc_member import MocMember
from ampel_dagster.units.t2.nearby_infant import NearbyInfant
from ampel_dagster.units.t2.observability import Observability
from ampel_dagster.units.t2.onnx_classifier import OnnxClassifier
from ampel_dagster.units.t2.periodogram import Periodogram
from ampel_dagster.units.t2.redshift_digest import RedshiftDigest
from ampel_dagster.units.t2.rise_decline import RiseDecline
from ampel_dagster.units.t2.sn_fit import SNFit
from ampel_dagster.units.t2.solar_system import SolarSystem
from ampel_dagster.units.t2.stack import Stack
from ampel_dagster.units.t2.star_veto import StarVeto
from ampel_dagster.units.t2.xgb_classifier import XgbClassifier

UNITS = (
    BayesianBlocks,
    BazinFit,
    CatalogMatch,
    ColorEvolution,
    FromAlert,
    GalacticExtinction,
    HostGalaxy,
    LastLimit,
    LightCurveFeatures,
    LightCurveSummary,
    MocMember,
    NearbyInfant,
    Observability,
    OnnxClassifier,
    Periodogram,
    RedshiftDigest,
    RiseDecline,
    SNFit,
    SolarSystem,
    Stack,
    StarVeto,
    XgbClassifier,
)
