"""Build units out of specs, and tie names together."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ampel_dagster.config.instance import Instance
from ampel_dagster.config.paths import asked_products, conditions, path_problem, test_of, value_problem
from ampel_dagster.config.problems import problems_of
from ampel_dagster.config.spec import ChannelSpec, ProcessSpec, ProductSpec, StageSpec, SurveySpec, UnitSpec
from ampel_dagster.instruments import INSTRUMENTS
from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.errors import Problem
from ampel_dagster.model.selection import Inside, Region
from ampel_dagster.model.stream import Stream
from ampel_dagster.model.view import STATE_VALUES
from ampel_dagster.units.base import AlertFilter, ReactionUnit, T1Combiner, T1Compute, T2Unit, Unit
from ampel_dagster.units.bound import (
    Channel,
    ChannelRules,
    Gate,
    Limits,
    Process,
    Product,
    Request,
    Show,
    Stage,
    StateValue,
    Trigger,
    in_order,
)
from ampel_dagster.units.registry import find_unit

U = TypeVar("U", bound=Unit)
ChannelFile = tuple[ChannelSpec, Mapping[str, SurveySpec]]


def _rights(instrument: type[Instrument]) -> set[str]:
    return {*instrument.rights, *instrument.public_access}


def _limits(spec: ProductSpec) -> Limits:
    return Limits(
        isolate=spec.isolate,
        processes=spec.processes or 1,
        time_limit_s=spec.time_limit_s,
        memory_limit_mb=spec.memory_limit_mb,
        attempts=spec.attempts,
        retry_after_s=spec.retry_after_s,
        batch=spec.batch,
    )


class Builder:
    """Builds everything that can be built; adds a problem for everything that cannot."""

    def __init__(self, folder: Path, problems: list[Problem]) -> None:
        self._folder = folder
        self._problems = problems

    def streams(self, specs: Mapping[str, Stream]) -> dict[str, Stream]:
        """Streams of known surveys, one a survey."""
        taken: dict[str, str] = {}
        for name, stream in specs.items():
            file = f"streams/{name}.yaml"
            if stream.survey not in INSTRUMENTS:
                self._problem(file, "survey", f"{stream.survey!r} is not known", f"there are: {', '.join(INSTRUMENTS)}")
            elif stream.survey in taken:
                self._problem(file, "survey", f"{taken[stream.survey]} has it already", "keep one of the two")
            taken.setdefault(stream.survey, file)
            if stream.schemas and not Instance(self._folder).path(stream.schemas.folder).is_dir():
                self._problem(
                    file, "schemas.folder", f"there is no folder {stream.schemas.folder}", "make it, or mend it"
                )
        return dict(specs)

    def products(self, specs: Mapping[str, ProductSpec]) -> dict[str, Product]:
        """Products, each with those that it requires."""
        tried: dict[str, Product | None] = {}
        by_id: dict[int, str] = {}
        for name in specs:
            product = self._product(name, specs, tried, ())
            if product is None:
                continue
            twin = by_id.setdefault(product.id, name)
            if twin != name:
                self._problem(f"t2/{name}.yaml", "unit", f"computes the very same as {twin}", f"use {twin} instead")
        return {name: product for name, product in tried.items() if product is not None}

    def _product(
        self, name: str, specs: Mapping[str, ProductSpec], tried: dict[str, Product | None], above: tuple[str, ...]
    ) -> Product | None:
        """A product, or None where something is wrong with it; what was tried before is not reported again."""
        file = f"t2/{name}.yaml"
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            self._problem(file, "requires", f"goes in a circle: {circle}", "break the circle")
            return None
        if name not in tried:
            product = self._build_product(file, name, specs, tried, above)
            tried.setdefault(name, product)
        return tried[name]

    def _build_product(
        self,
        file: str,
        name: str,
        specs: Mapping[str, ProductSpec],
        tried: dict[str, Product | None],
        above: tuple[str, ...],
    ) -> Product | None:
        spec = specs[name]
        unit = self._unit(file, "", UnitSpec(unit=spec.unit, config=spec.config), T2Unit)
        required: list[Product] = []
        for other in spec.requires:
            if self._known(file, "requires", other, specs, "t2"):
                found = self._product(other, specs, tried, (*above, name))
                required += [found] if found else []
        if unit is None or len(required) < len(spec.requires):
            return None
        units = [type(product.unit).__name__ for product in required]
        for wanted in unit.requires:
            if units.count(wanted) != 1:
                remedy = f"name one product of unit {wanted} under requires:"
                self._problem(file, "requires", f"{spec.unit} builds upon {wanted}", remedy)
                return None
        product = Product(name, unit, tuple(required), _limits(spec))
        wrong = [base for base in required if not (base.of_stock or base.input_kind == product.input_kind)]
        for base in wrong:
            message = f"{base.name} is computed from {base.input_kind}s, {name} from {product.input_kind}s"
            self._problem(file, "requires", message, f"build upon a product of {product.input_kind}s or stocks")
        return None if wrong else product

    def processes(self, specs: Mapping[str, ProcessSpec], products: Mapping[str, Product]) -> dict[str, Process]:
        """Processes with their units."""
        built = {}
        for name, spec in specs.items():
            file = f"t3/{name}.yaml"
            names = [unit.unit for unit in spec.units]
            for name_ in sorted({n for n in names if names.count(n) > 1}):
                self._problem(file, "units", f"{name_} stands twice", "make a second process of it")
            self._check_conditions(file, "select.where", spec.select.where, products)
            if spec.select.order:
                self._check_path(file, "select.order", spec.select.order.removeprefix("-"), products)
            trigger = spec.trigger
            if trigger and not (trigger.on or trigger.schedule):
                self._problem(
                    file,
                    "trigger",
                    "says neither on nor schedule",
                    "{on: t2}, {schedule: '0 8 * * *'}, or none",
                )
            stages = [self._stage(file, f"units.{n}", unit, products) for n, unit in enumerate(spec.units)]
            found = tuple(stage for stage in stages if stage)
            built[name] = Process(
                name,
                tuple(stage.unit for stage in found),
                spec.select,
                Trigger(trigger.on, trigger.schedule, trigger.timezone, trigger.every_minutes) if trigger else None,
                react=spec.react,
                dry_run=spec.dry_run,
                staged=found,
                inside=self._regions(file, spec.select.region),
            )
        return built

    def _stage(self, file: str, at: str, spec: StageSpec, products: Mapping[str, Product]) -> Stage | None:
        """A unit of a process with its conditions, and what it is shown."""
        unit = self._unit(file, at, UnitSpec(unit=spec.unit, config=spec.config), ReactionUnit)
        self._check_conditions(file, f"{at}.where", spec.where, products)
        show = spec.show
        for product in (show.t2 or ()) if show else ():
            self._known(file, f"{at}.show.t2", product, products, "t2")
        if unit is None:
            return None
        for path in unit.paths:
            self._check_path(file, f"{at}.config", path, products)
        access = frozenset(show.access) if show and show.access is not None else None
        if access is not None:
            self._check_access(file, sorted(access), (), f"{at}.show.access")
        return Stage(unit, conditions(spec.where), Show(show.t2, show.points, access) if show else None)

    def _regions(self, file: str, regions: Sequence[Region]) -> tuple[Inside, ...]:
        """Tests of regions, whose files are read now."""
        tests = []
        for region in regions:
            try:
                tests.append(test_of(region, self._folder))
            except ValueError as error:
                message, _, remedy = str(error).partition("; ")
                self._problem(file, "select.region", message, remedy)
        return tuple(tests)

    def channels(
        self,
        specs: Mapping[str, ChannelFile],
        products: Mapping[str, Product],
        processes: Mapping[str, Process],
        streams: Mapping[str, Stream],
        place: str = "channels/{}.yaml",
    ) -> dict[str, Channel]:
        """Channels with their filters, combiners and requests; `place` is where their files are, for problems."""
        surveys = {stream.survey for stream in streams.values()}
        archived = {stream.survey for stream in streams.values() if stream.archive}
        built = {}
        for name, (spec, blocks) in specs.items():
            file = place.format(name)
            for process in spec.t3:
                if self._known(file, "t3", process, processes, "t3"):
                    self._check_asked(file, processes[process], spec, blocks, products)
            self._check_access(file, spec.access, list(blocks))
            rules = {}
            for survey, block in blocks.items():
                if survey not in surveys:
                    self._problem(file, survey, "has no stream", f"add streams/{survey}.yaml")
                elif block.history_days and survey not in archived:
                    remedy = f"add archive: to streams/{survey}.yaml, or leave out history_days"
                    self._problem(file, f"{survey}.history_days", "there is no archive to read it from", remedy)
                made = self._rules(file, spec, survey, block, products)
                if made is not None:
                    rules[survey] = made
                    self._check_values(file, made, [processes[p] for p in spec.t3 if p in processes], products)
            content = spec.model_dump(mode="json")
            built[name] = Channel(
                name, spec.contact, frozenset(spec.access), spec.members, rules, tuple(spec.t3), content
            )
        return built

    def _rules(
        self, file: str, spec: ChannelSpec, survey: str, block: SurveySpec, products: Mapping[str, Product]
    ) -> ChannelRules | None:
        combiner = self._unit(file, f"{survey}.combiner", block.combiner, T1Combiner)
        accept = self._unit(file, f"{survey}.filter", block.filter, AlertFilter) if block.filter else None
        requests = [
            Request(products[request.product], request.group)
            for request in block.t2
            if self._known(file, f"{survey}.t2", request.product, products, "t2")
        ]
        values = {
            name: self._unit(file, f"{survey}.compute.{name}", unit, T1Compute) for name, unit in block.compute.items()
        }
        if block.gate and not block.filter:
            self._problem(file, f"{survey}.gate", "there is no filter to be measured", "name one, or leave out gate")
        if combiner is None or (block.filter and accept is None):
            return None
        return ChannelRules.make(
            spec.channel,
            survey,
            filter=accept,
            known_stocks=block.known_stocks,
            access=frozenset(spec.access or INSTRUMENTS[survey].public_access),
            combiner=combiner,
            requests=tuple(requests),
            reactions=spec.t3,
            gate=Gate(block.gate.night.isoformat(), block.gate.max_share) if block.gate else None,
            values=tuple(StateValue(name, unit) for name, unit in values.items() if unit),
            history_days=block.history_days,
        )

    def _unit(self, file: str, at: str, spec: UnitSpec, kind: type[U]) -> U | None:
        prefix = f"{at}." if at else ""
        try:
            unit = find_unit(spec.unit, kind)
        except LookupError as error:
            message, _, remedy = str(error).partition("; ")
            self._problem(file, f"{prefix}unit", message, remedy)
            return None
        try:
            prepared = unit(**spec.config).prepare(self._folder)
        except ValidationError as error:
            self._problems += problems_of(error, file, f"{prefix}config")
            return None
        except Exception as error:  # noqa: BLE001  # units are foreign code
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            message, _, remedy = " ".join(said.split()).partition("; ")
            self._problem(file, f"{prefix}config", message, remedy)
            return None
        if not isinstance(prepared, kind):
            self._problem(file, f"{prefix}unit", f"{spec.unit}.prepare returned no unit", "let it return self")
            return None
        return prepared

    def _known(self, file: str, key: str, name: str, there: Mapping[str, object], folder: str) -> bool:
        if name in there:
            return True
        # A file that is wrong in itself has been reported already.
        if not (self._folder / folder / f"{name}.yaml").exists():
            near = get_close_matches(name, there, n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]}?" if near else f"add {folder}/{name}.yaml"
            self._problem(file, key, f"there is no {folder}/{name}.yaml", remedy)
        return False

    def _check_access(self, file: str, access: Sequence[str], surveys: Sequence[str], key: str = "access") -> None:
        """A right that no survey has is a spelling mistake; access without a right of a survey hides all of it."""
        known = sorted({tag for instrument in INSTRUMENTS.values() for tag in _rights(instrument)})
        for right in access:
            if right not in known:
                near = get_close_matches(right, known, n=1, cutoff=0.5)
                remedy = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
                self._problem(file, key, f"no survey has the right {right!r}", remedy)
        for survey in surveys if access else ():
            instrument = INSTRUMENTS[survey]
            # One that is misspelt has been reported.
            if set(access) <= set(known) and not instrument.rights.intersection(access):
                remedy = f"add {' or '.join(sorted(instrument.rights))}"
                self._problem(file, "access", f"holds no right of {survey}, so that nothing of it is seen", remedy)

    def companions(self, processes: Mapping[str, Process], channels: Mapping[str, ChannelFile]) -> None:
        """Channels that a selection asks about take part in the process: else it would tell of what is not its own."""
        for process in processes.values():
            for name in process.select.channels.names:
                file, key = f"t3/{process.name}.yaml", "select.channels"
                if self._known(file, key, name, channels, "channels") and process.name not in channels[name][0].t3:
                    remedy = f"name {process.name} under t3 in channels/{name}.yaml"
                    self._problem(file, key, f"{name} does not take part in {process.name}", remedy)

    def _check_asked(
        self,
        file: str,
        process: Process,
        spec: ChannelSpec,
        blocks: Mapping[str, SurveySpec],
        products: Mapping[str, Product],
    ) -> None:
        """Conditions on a product that a channel does not have computed would never hold."""
        named = [
            products[request.product]
            for block in blocks.values()
            for request in block.t2
            if request.product in products
        ]
        asked = {product.name for request in named for product in in_order(request)}
        for name in asked_products([condition.path for condition in process.select.conditions], products):
            if name in products and name not in asked:
                message = f"{process.name} selects by {name}, which {spec.channel} does not ask for"
                self._problem(file, "t3", message, f"add {name} to t2")

    def _check_values(
        self, file: str, rules: ChannelRules, processes: Sequence[Process], products: Mapping[str, Product]
    ) -> None:
        """Conditions on values of the state that a channel does not have computed would never hold."""
        units = {value.name: value.unit for value in rules.values}
        for process in processes:
            where = [*process.select.conditions, *(c for stage in process.stages for c in stage.where)]
            asked: list[tuple[str, Any]] = [(condition.path, condition.value) for condition in where]
            asked += [(path, None) for stage in process.stages for path in stage.unit.paths]
            for path, value in dict.fromkeys(asked):
                if path.startswith(f"{STATE_VALUES}.") and STATE_VALUES not in products:
                    problem = value_problem(path, units, value)
                    if problem:
                        self._problem(file, f"{rules.survey}.compute", f"{process.name}: {problem[0]}", problem[1])

    def _check_conditions(self, file: str, key: str, where: Sequence[str], products: Mapping[str, Product]) -> None:
        for condition in conditions(where):
            self._check_path(file, key, condition.path, products, condition.value)

    def _check_path(self, file: str, key: str, path: str, products: Mapping[str, Product], value: Any = None) -> None:
        """A dotted path: its product, the field if the unit tells of its fields, and whether `value` is of its type."""
        if all(self._known(file, key, name, products, "t2") for name in asked_products([path], products)):
            missing = [name for name in asked_products([path], products) if name not in products]
            problem = None if missing else path_problem(path, products, value)
            if problem:
                self._problem(file, key, *problem)

    def _problem(self, file: str, key: str, message: str, remedy: str) -> None:
        self._problems.append(Problem(file, key, message, remedy))
