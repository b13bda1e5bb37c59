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

PANELS = ("Data", "Alarm", "Network", "Through time", "Training", "Run")
"""The groups of settings in the order in which help texts show them."""


def with_options(command: Callable[..., None], settings: type[Settings], seeds: bool = False) -> Callable[..., None]:
    """``command(out, config, sets, seeds, chosen)`` as a function with one option for every setting; not given is ``None``."""

    def run(**given: Any) -> None:
        out, config, sets, number = (given.pop(name, None) for name in ("out", "config", "sets", "seeds"))
        command(out, config, sets or [], number, {key: value for key, value in given.items() if value not in (None, [])})

    ordered = sorted(settings.model_fields.items(), key=lambda item: PANELS.index(_group(item[1])))
    parameters = [_parameter(key, field) for key, field in ordered]
    more = [("out", OUT), ("config", CONFIG), ("sets", SET), *([("seeds", SEEDS)] if seeds else [])]
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
