"""TransientTable: what a view says, as rows."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from ampel_dagster.model.result import T2Result
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3 import TransientTable

NOW = datetime(2018, 8, 20, 3, tzinfo=UTC)


def view(name: str, stock: int = 1, **fit: Any) -> TransientView:
    t2 = {"fit": T2Result("fit", "Fit", "1", 0, fit, 5, 3, "run-1", 6, NOW)} if fit else {}

    def no_light_curve(_: TransientView) -> Any:
        raise AssertionError("a table of other columns must not read the light curve")

    return TransientView(
        survey="ztf",
        channel="BRIGHT",
        night="2018-08-19",
        stock=stock,
        name=name,
        tag=(),
        ra_deg=10.5,
        dec_deg=-3.25,
        alerts=(7,),
        source="a.tar.gz",
        offset=0,
        run="run-0",
        link=3,
        points=(),
        states=(3,),
        t2=t2,
        build_light_curve=no_light_curve,
    )


@pytest.fixture
def context(tmp_path: Path) -> ReactionContext:
    folder = tmp_path / "not" / "there" / "yet"
    return ReactionContext("daily", "BRIGHT", "2018-08-19", "run-9", NOW, folder)


def test_writes_the_columns_in_both_formats(context: ReactionContext) -> None:
    table = TransientTable(columns=["name", "stock", "fit.chi2", "fit.deep.er"])
    artefacts = table.write([view("A", 2**62 + 1, chi2=1.5, deep={"er": "x"}), view("B")], context)

    assert [artefact.path.name for artefact in artefacts] == ["table.csv", "table.parquet"]
    assert {artefact.rows for artefact in artefacts} == {2}
    assert artefacts[0].path.read_text() == (f"name,stock,fit.chi2,fit.deep.er\nA,{2**62 + 1},1.5,x\nB,1,,\n")
    parquet = pd.read_parquet(artefacts[1].path)
    assert parquet["stock"].tolist() == [2**62 + 1, 1]
    assert parquet["fit.chi2"].isna().tolist() == [False, True]
    assert sorted(path.name for path in context.folder.iterdir()) == ["table.csv", "table.parquet"]


def test_writes_one_format_where_one_is_asked_for(context: ReactionContext) -> None:
    TransientTable(columns=["name"], formats=["csv"]).write([view("A")], context)
    assert [path.name for path in context.folder.iterdir()] == ["table.csv"]


def test_an_empty_selection_gives_a_head_without_rows(context: ReactionContext) -> None:
    csv, parquet = TransientTable(columns=["name", "fit.chi2"], sort_by="fit.chi2").write([], context)
    assert csv.path.read_text() == "name,fit.chi2\n"
    assert list(pd.read_parquet(parquet.path).columns) == ["name", "fit.chi2"]
    assert csv.rows == 0


def test_the_same_views_give_the_same_bytes(context: ReactionContext) -> None:
    table = TransientTable(columns=["name", "fit.body"], formats=["csv"])
    one = table.write([view("A", body={"b": 1, "a": [1, 2]})], context)[0].path.read_bytes()
    two = table.write([view("A", body={"a": [1, 2], "b": 1})], context)[0].path.read_bytes()
    assert one == two


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([{"b": 1, "a": None}, None], ['{"a": null, "b": 1}', None]),
        ([[1, 2.5], []], ["[1, 2.5]", "[]"]),
        ([2**60, None], [2**60, None]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, None], [True, None]),
        ([1, "one"], ["1", "one"]),
        ([True, 2], ["True", "2"]),
        ([None, None], [None, None]),
        ([2**70, 1], [str(2**70), "1"]),
    ],
    ids=["dict", "list", "large id", "int and float", "bool", "number and text", "bool and int", "none", "huge"],
)
def test_a_column_has_one_type_that_any_file_can_hold(
    context: ReactionContext, values: list[Any], expected: list[Any]
) -> None:
    table = TransientTable(columns=["fit.value"], formats=["parquet"])
    path = table.write([view("A", value=value, other=1) for value in values], context)[0].path
    found = pd.read_parquet(path)["fit.value"]
    assert [None if pd.isna(value) else value for value in found] == expected


def test_times_stay_times() -> None:
    naive = datetime(2018, 8, 20, 3)  # as MongoDB hands it over
    frame = TransientTable(columns=["fit.when"]).frame([view("A", when=NOW), view("B", when=naive), view("C")])
    assert frame["fit.when"].tolist()[:2] == [pd.Timestamp(NOW), pd.Timestamp(NOW)]
    assert pd.isna(frame["fit.when"][2])


@pytest.mark.parametrize(("descending", "names"), [(False, "BACD"), (True, "CABD")])
def test_sorts_by_a_path_that_need_not_be_a_column(descending: bool, names: str) -> None:
    views = [view("A", chi2=2), view("B", chi2=1), view("C", chi2=3), view("D")]
    table = TransientTable(columns=["name"], sort_by="fit.chi2", descending=descending)
    frame = table.frame(views)
    assert "".join(frame["name"]) == names
    assert list(frame.columns) == ["name"]


def test_without_a_sort_the_order_of_the_selection_stays() -> None:
    assert TransientTable(columns=["name"]).frame([view("B"), view("A")])["name"].tolist() == ["B", "A"]


@pytest.mark.parametrize(
    ("config", "remedy"),
    [
        ({"columns": ["nmae"]}, "use one of survey, channel"),
        ({"columns": ["fit..chi2"]}, "product.field"),
        ({"columns": [""]}, "product.field"),
        ({"columns": ["name", "name"]}, "named twice: name"),
        ({"columns": []}, "at least 1 item"),
        ({"columns": ["name"], "sort_by": "peak"}, "is unknown"),
        ({"columns": ["name"], "formats": ["xlsx"]}, "'csv' or 'parquet'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_a_remedy(config: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        TransientTable(**config)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    context: ReactionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TransientTable(columns=["name"], formats=["csv"])
    table.write([view("A")], context)

    def half(_: pd.DataFrame, path: Path, **__: object) -> None:
        path.write_text("na")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(OSError, match="disk full"):
        table.write([view("B")], context)
    assert [path.name for path in context.folder.iterdir()] == ["table.csv"]
    assert (context.folder / "table.csv").read_text() == "name\nA\n"


def test_the_configuration_can_be_written_as_json() -> None:
    assert json.loads(json.dumps(TransientTable(columns=["name"]).explicit_config())) == {"columns": ["name"]}


def test_whole_numbers_of_the_database_are_whole_numbers(context: ReactionContext) -> None:
    """MongoDB's driver returns integers of 64 bits as a kind of its own."""

    class Int64(int):
        pass

    frame = TransientTable(columns=["stock", "fit.n"]).frame([view("A", Int64(2**40), n=Int64(7))])
    assert frame.to_dict("list") == {"stock": [2**40], "fit.n": [7]}
    assert str(frame.dtypes["stock"]) == "Int64"
