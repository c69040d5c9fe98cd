"""Changes to a configuration from the command line: NAME=VALUE, checked against the type of the field."""

import argparse
import types
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from configs.network import NetworkConfig

Config = TypeVar("Config", bound=NetworkConfig)
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_change(text: str) -> tuple[str, str]:
    """The text of an argument, such as "batch_size=8", as a pair, ("batch_size", "8")."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}: NAME=VALUE is expected, as in batch_size=8")
    return name.strip(), value.strip()


def change_config(config: Config, changes: Iterable[tuple[str, str]]) -> Config:
    """The configuration with some fields replaced; `changes` are pairs of a field's name and its value.

    Values are text, tuples separated by commas: decoder_channels=96,64,32,32. Raises ValueError for an
    unknown field, for text that is not of the field's type, and for a value that the configuration rejects.
    """
    kinds = get_type_hints(type(config))
    for name, text in changes:
        known = sorted(field.name for field in fields(config))
        if name not in known:
            raise ValueError(
                f"--set {name}: {type(config).__name__} has no such value, but {', '.join(known)}"
            )
        try:
            config = replace(config, **{name: read_value(text, kinds[name])})
        except ValueError as error:
            raise ValueError(f"--set {name}={text}: {error}") from None
    return config


def read_value(text: str, kind: Any) -> Any:
    """A text as a value of the type `kind`: bool, int, float, str or a tuple of these; else ValueError."""
    if kind is bool:
        if text.lower() not in BOOLEANS:
            raise ValueError("must be true or false")
        return BOOLEANS[text.lower()]
    if kind is str:
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {'a whole number' if kind is int else 'a number'}") from None
    if get_origin(kind) in (Union, types.UnionType):
        return read_value(text, next(part for part in get_args(kind) if part is not type(None)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        items = [item.strip() for item in text.strip("()").split(",") if item.strip()]
        if inner[-1] is not Ellipsis and len(items) != len(inner):
            raise ValueError(f"must be {len(inner)} values with commas between them")
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else inner
        return tuple(read_value(item, each) for item, each in zip(items, kinds, strict=True))
    raise ValueError("cannot be given on the command line")
