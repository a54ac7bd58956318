"""T3 reactions: units that show, export or publish what a channel found; one file, one class, one line here.

Modules whose name begins with an underscore hold the parts of the reports and are no units.
"""

from ampel_dagster.units.t3.email import Email
from ampel_dagster.units.t3.file_archive import FileArchive
from ampel_dagster.units.t3.gcn_notice import GcnNotice
from ampel_dagster.units.t3.kafka_publisher import KafkaPublisher
from ampel_dagster.units.t3.light_curve_report import LightCurveReport
from ampel_dagster.units.t3.slack_summary import SlackSummary
from ampel_dagster.units.t3.tns_report import TnsReport
from ampel_dagster.units.t3.transient_table import TransientTable
from ampel_dagster.units.t3.voevent import VOEvent
from ampel_dagster.units.t3.webhook import Webhook

UNITS = (
    Email,
    FileArchive,
    GcnNotice,
    KafkaPublisher,
    LightCurveReport,
    SlackSummary,
    TnsReport,
    TransientTable,
    VOEvent,
    Webhook,
)
