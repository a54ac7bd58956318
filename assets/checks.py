"""Asset checks: does the ledger balance, does no state see the future, do units fail, do tickets wait."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.codes import OPEN
from ampel_dagster.storage.audit import LedgerReport, future_points, ledger, left_out, reasons_text
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.figures import codes_of, t2_codes
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.bound import Product
from resources.metadata import markdown_table
from resources.mongo import MongoResource
from resources.partitions import split_partitions

#: Share of failed T2 documents from which a check warns.
MAX_FAILED_SHARE = 0.05
#: Rows of the ledger's table: a table is kept in the event log.
MOST_SOURCES = 50
#: Name of the check on filters, which the job `ingest` reports too.
FILTERS_WORK = "filters_work"


def survey_checks(config: Config, survey: str) -> list[dg.AssetChecksDefinition]:
    """Checks on T0 and T1 of a survey."""

    @dg.asset_check(
        asset=dg.AssetKey([survey, "t0"]),
        name="ledger_balances",
        blocking=True,
        description="packets read = new + known + rejected + quarantined, by source",
    )
    def ledger_balances(context: dg.AssetCheckExecutionContext, mongo: MongoResource) -> dg.AssetCheckResult:
        _, nights = _partitions(context, config)
        found = ledger(mongo.store, survey, nights)
        metadata: dict[str, Any] = {
            **found.total,
            "open_batches": found.open,
            "quarantine": reasons_text(found.quarantine),
            "by source": dg.MetadataValue.md(_sources(found)),
        }
        return dg.AssetCheckResult(passed=found.balanced, metadata=metadata)

    @dg.asset_check(
        asset=dg.AssetKey([survey, "t1"]),
        name="no_future_points",
        blocking=True,
        description="no state holds a datapoint later than its alert",
    )
    def no_future_points(context: dg.AssetCheckExecutionContext, mongo: MongoResource) -> dg.AssetCheckResult:
        channels, nights = _partitions(context, config)
        wrong = future_points(mongo.store.survey(survey), channels, nights)
        return dg.AssetCheckResult(passed=not wrong, metadata={"states": len(wrong), "first": str(wrong[:5])})

    @dg.asset_check(
        asset=dg.AssetKey([survey, "t0"]),
        name=FILTERS_WORK,
        description="no channel's filter failed so often that it was left out, with alerts that wait to be judged",
    )
    def filters_work(context: dg.AssetCheckExecutionContext, mongo: MongoResource) -> dg.AssetCheckResult:
        channels, nights = _partitions(context, config)
        rows = left_out(mongo.store, survey, channels, nights, context.run.run_id)
        return dg.AssetCheckResult(passed=not rows, metadata=left_out_metadata(rows))

    return [ledger_balances, filters_work, no_future_points]


def left_out_metadata(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Which filters were left out, why, and how many alerts wait for them."""
    found: dict[str, Any] = {"filters": len(rows), "alerts that wait": sum(row["wait"] for row in rows)}
    # The preview of documents hides the column `channel`, which is what this table is about.
    shown = [{"filter of": row["channel"], **row} for row in rows]
    return found | ({"left out": dg.MetadataValue.md(markdown_table(shown))} if rows else {})


def product_checks(config: Config, survey: str, product: Product) -> list[dg.AssetChecksDefinition]:
    """Checks on the results of a product."""
    key = dg.AssetKey([survey, "t2", product.name])

    @dg.asset_check(
        asset=key, name="few_failures", description=f"at most {MAX_FAILED_SHARE:.0%} of the documents failed"
    )
    def few_failures(context: dg.AssetCheckExecutionContext, mongo: MongoResource) -> dg.AssetCheckResult:
        codes = _codes(context, config, mongo.store.survey(survey), product)
        open_codes = {code.value for code in OPEN}
        failed = sum(n for code, n in codes.items() if code < 0 and code not in open_codes)
        total = sum(codes.values())
        return dg.AssetCheckResult(
            passed=failed <= MAX_FAILED_SHARE * total,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"failed": failed, "documents": total},
        )

    @dg.asset_check(asset=key, name="nothing_pending", description="no ticket waits")
    def nothing_pending(context: dg.AssetCheckExecutionContext, mongo: MongoResource) -> dg.AssetCheckResult:
        codes = _codes(context, config, mongo.store.survey(survey), product)
        pending = sum(codes.get(code.value, 0) for code in OPEN)
        return dg.AssetCheckResult(
            passed=pending == 0, severity=dg.AssetCheckSeverity.WARN, metadata={"pending": pending}
        )

    return [few_failures, nothing_pending]


def _sources(report: LedgerReport) -> str:
    """The ledger as markdown; names of files come from outside, and are escaped."""
    rows = [
        {key: row[key] for key in ("source", *LEDGER_KEYS)} | {"in quarantine now": reasons_text(row["quarantine"])}
        for row in report.short(MOST_SOURCES)
    ]
    return markdown_table(rows) if rows else "nothing was read"


def _codes(
    context: dg.AssetCheckExecutionContext, config: Config, survey: SurveyStore, product: Product
) -> dict[int, int]:
    """Number of a product's documents by code, in the partitions of the run."""
    channels, nights = _partitions(context, config)
    if nights:
        return codes_of(survey, product.id, channels, nights)
    return t2_codes(survey, {"product_id": product.id}, "product_id").get(product.id, {})


def _partitions(context: dg.AssetCheckExecutionContext, config: Config) -> tuple[Sequence[str], Sequence[str]]:
    """Channels and nights of the run; no night means all of them: a check that is run by itself has no partition."""
    op: Any = context.op_execution_context
    if op.has_partition_key or op.has_partition_key_range:
        return split_partitions(op.partition_keys)
    return sorted(config.channels), []
