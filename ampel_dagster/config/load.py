"""Load, validate and build a configuration; every problem is reported at once."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ampel_dagster.config.build import Builder
from ampel_dagster.config.instance import Instance
from ampel_dagster.config.problems import problems_of
from ampel_dagster.config.spec import ChannelSpec, ProcessSpec, ProductSpec, SurveySpec, WorkersSpec
from ampel_dagster.instruments import INSTRUMENTS
from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.errors import ConfigError, Problem
from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.stream import Stream
from ampel_dagster.units.bound import Channel, ChannelRules, Process, Product, in_order

M = TypeVar("M", bound=BaseModel)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Config:
    """Everything that the files of an instance say, checked and built."""

    folder: Path
    streams: Mapping[str, Stream]
    channels: Mapping[str, Channel]
    products: Mapping[str, Product]
    processes: Mapping[str, Process]
    #: The validated content of all files, by folder and name.
    content: Mapping[str, Any] = field(repr=False)
    #: Where T2 is computed; no part of the content, as it changes no result.
    workers: WorkersSpec = field(default_factory=WorkersSpec)

    @cached_property
    def id(self) -> int:
        """Hash of the content."""
        return hash_json(self.content)

    @cached_property
    def surveys(self) -> tuple[str, ...]:
        """Surveys that have a stream, sorted."""
        return tuple(sorted({stream.survey for stream in self.streams.values()}))

    def stream(self, survey: str) -> Stream:
        """The stream of a survey."""
        return next(stream for stream in self.streams.values() if stream.survey == survey)

    def packet_folders(self, survey: str) -> list[Path]:
        """Where files of packets may lie: archive, landing folder, the instance, here."""
        stream, instance = self.stream(survey), Instance(self.folder)
        places = [instance.path(place.folder) for place in (stream.archive, stream.landing) if place]
        return [*places, *(place.parent for place in places), self.folder, Path.cwd()]

    def instrument(self, survey: str) -> Instrument:
        """A reader of the survey's packets."""
        schemas = self.stream(survey).schemas
        return INSTRUMENTS[survey].with_schemas(Instance(self.folder).path(schemas.folder) if schemas else None)

    def rules(self, survey: str, channels: tuple[str, ...] = ()) -> list[ChannelRules]:
        """Rules of the given channels (none: all) that want something of a survey."""
        chosen = channels or tuple(self.channels)
        return [self.channels[name].surveys[survey] for name in chosen if survey in self.channels[name].surveys]

    def neighbours(self, survey: str, rules: Sequence[ChannelRules]) -> list[ChannelRules]:
        """Rules of all other channels that see the same states as one of these."""
        views, names = {r.view for r in rules}, {r.channel for r in rules}
        return [r for r in self.rules(survey) if r.view in views and r.channel not in names]

    def products_of(self, survey: str) -> list[Product]:
        """Products that channels of a survey ask for, each after those that it requires."""
        found: dict[str, Product] = {}
        for rules in self.rules(survey):
            for request in rules.requests:
                for product in in_order(request.product):
                    found.setdefault(product.name, product)
        return list(found.values())

    @cached_property
    def product_names(self) -> dict[int, str]:
        """Names of the products by id."""
        return {product.id: name for name, product in self.products.items()}

    @cached_property
    def reactions(self) -> dict[str, tuple[str, ...]]:
        """Names of the processes of each channel."""
        return {name: channel.t3 for name, channel in self.channels.items()}

    def channels_of(self, process: str) -> list[Channel]:
        """Channels that a process reacts for."""
        return [channel for channel in self.channels.values() if process in channel.t3]


def load(folder: Path) -> Config:
    """Read and build all files of an instance. Raises ConfigError that lists every problem."""
    reader = _Reader(folder)
    streams = reader.read("streams", lambda file, content: reader.validate(file, Stream, content))
    products = reader.read("t2", lambda file, content: reader.validate(file, ProductSpec, content))
    processes = reader.read("t3", lambda file, content: reader.validate(file, ProcessSpec, content))
    channels = reader.read("channels", reader.channel)
    workers = reader.single("workers.yaml", WorkersSpec)
    builder = Builder(folder, reader.problems)
    built_streams = builder.streams(streams)
    built_products = builder.products(products)
    built_processes = builder.processes(processes, built_products)
    built_channels = builder.channels(channels, built_products, built_processes, built_streams)
    builder.companions(built_processes, channels)
    if reader.problems:
        raise ConfigError(reader.problems)
    content = {
        "streams": {name: spec.model_dump(mode="json") for name, spec in streams.items()},
        "t2": {name: spec.model_dump(mode="json") for name, spec in products.items()},
        "t3": {name: spec.model_dump(mode="json", by_alias=True) for name, spec in processes.items()},
        "channels": {
            name: spec.model_dump(mode="json") | {s: block.model_dump(mode="json") for s, block in blocks.items()}
            for name, (spec, blocks) in channels.items()
        },
    }
    return Config(folder, built_streams, built_channels, built_products, built_processes, content, workers)


def load_channel(config: Config, path: Path) -> Channel:
    """A channel of an instance out of a file anywhere, such as another version of one of its own.

    Raises ConfigError.
    """
    reader = _Reader(config.folder)
    file = str(path)
    content = reader.yaml(path, file)
    found = reader.any_channel(file, content) if content is not None else None
    if found is not None:
        builder = Builder(config.folder, reader.problems)
        parts = {file: found}
        built = builder.channels(parts, config.products, config.processes, config.streams, "{}")
    if reader.problems or found is None:
        raise ConfigError(reader.problems)
    return built[file]


class _Reader:
    """Reads folders of YAML files; collects problems."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.problems: list[Problem] = []

    def read(self, kind: str, make: Callable[[str, dict[str, Any]], Any]) -> dict[str, Any]:
        """Files of one folder by name; those that are wrong are left out."""
        found: dict[str, Any] = {}
        read: dict[str, str] = {}
        for path in sorted((self._folder / kind).glob("*.y*ml")):
            file = f"{kind}/{path.name}"
            if path.name.startswith("."):
                continue  # an editor's or a file manager's
            if _NAME.fullmatch(path.stem) is None:
                self._problem(
                    file,
                    "",
                    "a file's name names what it holds",
                    "letters, digits and _ only, a letter first",
                )
                continue
            content = self.yaml(path, file)
            made = make(file, content) if content is not None else None
            if path.stem in read:
                self._problem(file, "", f"{kind}/{read[path.stem]} has the name already", "keep one of the two")
            read.setdefault(path.stem, path.name)
            if made is not None:
                found[path.stem] = made
        return found

    def single(self, file: str, model: type[M]) -> M:
        """A file of the instance's folder; where it is not there, or wrong, all of the model's defaults."""
        path = self._folder / file
        content = self.yaml(path, file) if path.is_file() else None
        return (self.validate(file, model, content) if content is not None else None) or model()

    def channel(self, file: str, content: dict[str, Any]) -> tuple[ChannelSpec, dict[str, SurveySpec]] | None:
        """A channel whose file has its name."""
        found = self.any_channel(file, content)
        if found is not None and found[0].channel != Path(file).stem:
            self._problem(
                file, "channel", f"is {found[0].channel}, but the file is {Path(file).name}", "give both one name"
            )
        return found

    def any_channel(self, file: str, content: dict[str, Any]) -> tuple[ChannelSpec, dict[str, SurveySpec]] | None:
        """A channel: its survey blocks are the keys that are no fields of it."""
        own = {key: value for key, value in content.items() if key in ChannelSpec.model_fields}
        spec = self.validate(file, ChannelSpec, own)
        blocks = {}
        for key, value in content.items():
            if key in own:
                continue
            if key not in INSTRUMENTS:
                known = ", ".join((*ChannelSpec.model_fields, *INSTRUMENTS))
                self._problem(file, str(key), "is neither a key of a channel nor a survey", f"there are: {known}")
                continue
            block = self.validate(file, SurveySpec, value if value is not None else {}, key)
            if block is not None:
                blocks[key] = block
        return (spec, blocks) if spec is not None else None

    def validate(self, file: str, model: type[M], content: Any, at: str = "") -> M | None:
        """Content as a model, or None and problems."""
        try:
            return model.model_validate(content)
        except ValidationError as error:
            self.problems += problems_of(error, file, at)
            return None

    def yaml(self, path: Path, file: str) -> dict[str, Any] | None:
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 (a SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
            self._problem(file, "", "is no valid YAML: " + " ".join(str(error).split()), "mend the marked place")
            return None
        if not isinstance(content, dict):
            self._problem(file, "", "holds no keys", "see the commented examples of: ampel-dagster init DIR")
            return None
        return content

    def _problem(self, file: str, key: str, message: str, remedy: str) -> None:
        self.problems.append(Problem(file, key, message, remedy))


class _UniqueKeys(yaml.SafeLoader):
    """YAML without two of its traps.

    A key that stands twice is refused, where the second would win in silence; and ``on``, ``off``, ``yes``, ``no``
    are words, as in YAML 1.2 (``trigger: {on: t2}``, ``cutouts: off``): only ``true`` and ``false`` are booleans.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # the parent's form
        letter: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:bool" or letter in "tTfF"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        # "<<" stands for the keys of another mapping, which may be named here again.
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in own]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
