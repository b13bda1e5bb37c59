"""Settings as values: one strict pydantic class a task, filled from defaults, a TOML file, ``--set`` and options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bptt.nearest import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

S = TypeVar("S", bound="Settings")


def setting(default: Any, description: str, group: str, **limits: Any) -> Any:
    """A field whose description is also its option's help, listed under ``group``; ``limits`` are pydantic's (``ge=1``)."""
    return Field(default, description=description, json_schema_extra={"group": group}, **limits)


class Settings(BaseModel):
    """Frozen settings that refuse what they do not know; `settle` makes them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    movable: ClassVar[frozenset[str]] = frozenset()
    """What may change when a run goes on: how long it goes, and where it is computed."""
    files: ClassVar[frozenset[str]] = frozenset()
    """Settings that name a file or a folder: kept as absolute paths, so that a run goes on from any directory."""
    task: ClassVar[str | None] = None
    """The task whose public data ``data`` may name, with ``data_dir`` as a folder of a copy; see `bptt.data.named`."""


class TrainingSettings(Settings):
    """What every task that trains a recurrent network has in common."""

    movable: ClassVar[frozenset[str]] = frozenset({"epochs", "minutes", "observe", "threads", "backend"})

    files: ClassVar[frozenset[str]] = frozenset({"start"})

    data_dir: str | None = setting(None, "Folder that has a copy of public data, for --data NAME.", "Data")

    cell: Literal["lstm", "gru", "rnn"] = setting("lstm", "Recurrent cell.", "Network")
    layers: int = setting(1, "Recurrent layers on top of each other.", "Network", ge=1)
    hidden: int = setting(512, "Units in each recurrent layer.", "Network", ge=1)
    dropout: float = setting(0.0, "Share of activations dropped in training.", "Network", ge=0, lt=1)
    clip_step: float | None = setting(None, "Limit on the error passed back at every time step.", "Through time", gt=0)
    through: str = setting("truncated:k1=64", "How gradients travel back: full, truncated:k1=32,k2=128.", "Through time")
    rows: int = setting(32, "Sequences side by side in a batch.", "Training", ge=1)
    optimizer: str = setting("adamw", "sgd, adam, adamw or rmsprop, with settings as in sgd:momentum=0.9.", "Training")
    lr: float = setting(2e-3, "Learning rate.", "Training", gt=0)
    schedule: str = setting("cosine", "constant, cosine:warmup=100, linear, decay:after=4,rate=0.5, plateau.", "Training")
    clip: float | None = setting(1.0, "Limit on the norm of the gradient; 0 clips nothing.", "Training", ge=0)
    reduction: Literal["mean", "sum", "rows"] = setting(
        "mean", "Gradient of each window's mean, sum, or sum a row.", "Training"
    )
    epochs: int = setting(5, "Walks over the training part.", "Run", ge=1)
    minutes: float | None = setting(None, "Stop, and save, after this many minutes of training; 0: no limit.", "Run", ge=0)
    validate_every: int | None = setting(None, "Updates between validations; once an epoch, unless given.", "Run", ge=1)
    patience: int | None = setting(None, "Stop after this many validations without a better one.", "Run", ge=1)
    observe: int = setting(
        0, "Updates between two looks at the gradient through time, in 5 % of the time; 0: none. See bptt inspect.", "Run", ge=0
    )
    start: str | None = setting(None, "Begin with the weights of this run, and what it fitted to its data.", "Run")
    seed: int = setting(0, "Seed of weights, order and dropout.", "Run", ge=0, lt=2**63)
    threads: int | None = setting(None, "CPU threads; as many as torch takes, unless given.", "Run", ge=1)
    backend: str = setting("auto", "Kernel that executes the layers; see bptt doctor.", "Run")

    @property
    def network(self) -> dict[str, Any]:
        """What the models of all tasks are made with alike."""
        return {key: getattr(self, key) for key in ("cell", "hidden", "layers", "dropout", "clip_step", "backend")}

    @field_validator("through")
    @classmethod
    def _strategy(cls, text: str) -> str:
        from bptt.through import parse

        return str(parse(text))


def settle(
    kind: type[S],
    *,
    file: Path | None = None,
    sets: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> S:
    """The settings of one run: defaults, then a TOML file, then ``key=value`` items, then options, the later winning.

    **Raises** ``ValueError`` naming each setting that is unknown (with the nearest known one) or has a wrong value, and
    where it was given.
    """
    return build(kind, gather(kind, file=file, sets=sets, options=options))


def gather(
    kind: type[Settings],
    *,
    file: Path | None = None,
    sets: Iterable[str] = (),
    options: Mapping[str, Any] | None = None,
) -> dict[str, tuple[Any, str]]:
    """What was given, each with where: ``{"hidden": (512, "--hidden")}``; defaults are left out."""
    given: dict[str, tuple[Any, str]] = {}
    if file is not None:
        given |= {key: (value, f"in {file}") for key, value in _toml(file).items()}
    given |= {key: (value, f"--set {item}") for item in sets for key, value in [_item(kind, item)]}
    given |= {key: (value, option(key)) for key, value in (options or {}).items() if value is not None}
    if kind.task is not None:
        given = _by_name(kind.task, given)
    for key in kind.files & given.keys():
        value, where = given[key]
        given[key] = (_absolute(value), where)
    return given


def _by_name(task: str, given: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """With the files of the public data that ``data`` names in its place; other parts that were given stay."""
    from bptt.data.named import find, named

    given = dict(given)
    name, where = given.get("data", (None, ""))
    folder, _ = given.pop("data_dir", (None, ""))
    if not isinstance(name, str) or name not in named or Path(name).exists():
        if folder is not None:
            of_the_task = [each for each, known in named.items() if known.task == task]
            raise ValueError(
                f"--data-dir is where a copy of public data is: name them, as in --data {' or '.join(of_the_task)}"
            )
        return given
    if named[name].task != task:
        raise ValueError(f"{name} are data for another task: bptt train {named[name].task} --data {name}")
    files = find(name, folder)
    own = {**named[name].settings, **{key: str(path) for key, path in files.items()}}
    return {**{key: (value, where) for key, value in own.items()}, **given, "data": (str(files["data"]), where)}


def build(kind: type[S], given: Mapping[str, tuple[Any, str]]) -> S:
    """The settings from what was given; see `settle`."""
    try:
        return kind(**{key: value for key, (value, _) in given.items()})
    except ValidationError as error:
        raise ValueError("; ".join(_told(kind, dict(item), given) for item in error.errors())) from None


def option(key: str) -> str:
    """How a setting is spelled on the command line."""
    return "--" + key.replace("_", "-")


def _toml(path: Path) -> dict[str, Any]:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; --config expects a TOML file")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; --config expects a TOML file")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None


def _item(kind: type[Settings], item: str) -> tuple[str, Any]:
    key, equals, text = item.partition("=")
    key, text = key.strip().replace("-", "_"), text.strip()
    if not equals or not key:
        raise ValueError(f"--set {item}: expected key=value, as in --set hidden=256")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    field = kind.model_fields.get(key)
    if field is not None and field.annotation in (str, str | None) and not isinstance(value, str):
        value = text  # a column named 2020 is TOML's number, but the setting is a text
    return key, value


def spelled(settings: Settings, **changed: Any) -> str:
    """The options that make these settings, ``changed`` where that says so; those at their defaults are left out."""
    told = []
    for key, field in type(settings).model_fields.items():
        value = changed.get(key, getattr(settings, key))
        if key not in changed and (value == field.default or value is None):
            continue
        if isinstance(value, bool):
            told.append(option(key) if value else option("no_" + key))
        else:
            told += [f"{option(key)} {shlex.quote(str(item))}" for item in (value if isinstance(value, list) else [value])]
    return " ".join(told)


def share_or_file(value: Any, whole: str) -> Any:
    """A setting that holds out a share of ``whole`` or names a file: a share as the number that it spells.

    **Raises** ``ValueError`` for a number that is no share.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not 0 <= value < 1:
        raise ValueError(f"expected a share of {whole} of at least 0 and below 1, or a file, got {value}")
    return value


def names_a_file(value: Any) -> bool:
    """Whether the value of a setting that may name a file does, rather than a share or a number of rows."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return True
    return False


def _absolute(value: Any) -> Any:
    from bptt.data.files import is_address

    if not names_a_file(value) or is_address(value):
        return value
    return str(Path(value).expanduser().resolve())


def _told(kind: type[Settings], error: dict[str, Any], given: Mapping[str, tuple[Any, str]]) -> str:
    key = str(error["loc"][0]) if error["loc"] else ""
    value, where = given.get(key, (error.get("input"), ""))
    if error["type"] == "extra_forbidden":
        known = list(kind.model_fields)
        return f"unknown setting {key!r} ({where}){nearest(key, known)}; known: {', '.join(known)}"
    if error["type"] == "missing":
        return f"{option(key)} is needed: {kind.model_fields[key].description}"
    said = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "value_error":
        return f"{option(key)}: {said}" if key else said
    origin = "" if where == option(key) or not where else f" ({where})"
    return f"{option(key)} {said}, got {value!r}{origin}"
