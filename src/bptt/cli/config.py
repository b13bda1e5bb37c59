"""Options made from a task's settings: one place says what there is, its help and its limits."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import typer
from rich.markup import escape

from bptt.tasks.config import Settings, option

OUT = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder of the run; one that exists goes on where it stopped. New under runs/ unless given.",
        rich_help_panel="Run", metavar="FOLDER",
    ),
]  # fmt: skip
CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config", help="TOML file of settings; options on the command line win.", rich_help_panel="Run", metavar="FILE"
    ),
]
SET = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting as key=value, before options and after --config. Repeatable.",
                 rich_help_panel="Run", metavar="KEY=VALUE"),
]  # fmt: skip
SEEDS = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="Train so often, from --seed on, and tell what they reach together.",
                 rich_help_panel="Run", show_default=False),
]  # fmt: skip
SEARCH = Annotated[
    int | None,
    typer.Option("--search", min=1, help="Tune the main settings that are not given, in so many runs; see what mattered.",
                 rich_help_panel="Run", show_default=False, metavar="N"),
]  # fmt: skip
SEARCH_MINUTES = Annotated[
    float | None,
    typer.Option("--search-minutes", min=0.01, help="End the search after so many minutes.", rich_help_panel="Run",
                 show_default=False, metavar="X"),
]  # fmt: skip
STORAGE = Annotated[
    str | None,
    typer.Option("--storage", help="Where several machines share a search: sqlite:///FILE, postgresql://… A file in its "
                 "folder, unless given.", rich_help_panel="Run", show_default=False, metavar="ADDRESS"),
]  # fmt: skip

TIMEOUT = Annotated[
    float | None,
    typer.Option("--timeout", min=0.1, help="Of several processes: seconds until one that does not answer ends the others. "
                 "[dim]\\[600][/dim]", rich_help_panel="Run", show_default=False, metavar="X"),
]  # fmt: skip

_MANY: dict[str, Any] = {
    "seeds": SEEDS,
    "search": SEARCH,
    "search_minutes": SEARCH_MINUTES,
    "storage": STORAGE,
    "timeout": TIMEOUT,
}
PANELS = ("Data", "Alarm", "Network", "Through time", "Training", "Run")
"""The groups of settings in the order in which help texts show them."""


def with_options(command: Callable[..., None], settings: type[Settings], seeds: bool = False) -> Callable[..., None]:
    """``command(out, config, sets, many, chosen)`` as a function with one option for every setting; not given is ``None``.

    ``many``: those of ``seeds``, ``search``, ``search_minutes``, ``storage`` and ``timeout`` that were given.
    """

    def run(**given: Any) -> None:
        out, config, sets = (given.pop(name, None) for name in ("out", "config", "sets"))
        given = {key: value for key, value in given.items() if value not in (None, [])}
        many = {name: given.pop(name) for name in _MANY if name in given}
        command(out, config, sets or [], many, given)

    ordered = sorted(settings.model_fields.items(), key=lambda item: PANELS.index(_group(item[1])))
    parameters = [_parameter(key, field) for key, field in ordered]
    more = [("out", OUT), ("config", CONFIG), ("sets", SET)]
    more += [(name, annotation) for name, annotation in _MANY.items() if seeds or name != "seeds"]
    for name, annotation in more:
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameter(key: str, field: Any) -> inspect.Parameter:
    kind = _plain(field.annotation)
    shown = "required" if field.is_required() else _shown(field.default)
    help_text = escape(field.description or "") + (f" [dim]\\[{escape(shown)}][/dim]" if shown else "")
    names = [f"{option(key)}/--no-{key.replace('_', '-')}"] if kind is bool else [option(key)]
    made = typer.Option(*names, help=help_text, show_default=False, rich_help_panel=_group(field), metavar=_metavar(key, kind))
    annotation = Annotated[kind | None, made]  # type: ignore[valid-type]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(annotation: Any) -> Any:
    """The type typer parses: without ``None``, and text where a number or a text may be given."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        return str if str in kinds else kinds[0]
    return annotation


def _group(field: Any) -> str:
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else "Settings"


def _metavar(key: str, kind: Any) -> str | None:
    if kind is bool or typing.get_origin(kind) is Literal:
        return None
    if key in ("data", "start"):
        return {"data": "FILE", "start": "FOLDER"}[key]
    return {int: "N", float: "X"}.get(kind, "TEXT")


def _shown(default: Any) -> str:
    if default is None or default == [] or default == ():
        return ""
    return str(default)
