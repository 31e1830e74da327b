"""An error of msgspec says what is wrong and where; what would have been right there is said here."""

import re
import types
import typing
from typing import Any

from ..._support.checks import did_you_mean


def advice(whole: Any, message: str) -> str:
    """What would have been right at the path that `message` names, for a file that should be the struct `whole`."""
    found = re.search(r" - at `\$\.?(.*)`$", message)
    keys = [key for key in re.sub(r"\[.*?\]", "", found[1] if found else "").split(".") if key]
    if "unknown field" in message or "missing required" in message:
        structs = _structs(whole, keys)
        names = {
            name: None for struct in structs for name in (_tags([struct]) and ["name"]) + [*struct.__struct_fields__]
        }
        unknown = re.search(r"unknown field `(.*?)`", message)
        hint = did_you_mean(unknown[1], names) if unknown else ""
        return f"; the keys there are {', '.join(names)}{hint}" if names else ""
    if message.startswith("Invalid"):
        structs = _structs(whole, keys[:-1])
        return f"; the choices are {', '.join(_tags(structs) or _choices(structs, keys[-1]))}"
    return ""


def _structs(struct: Any, keys: list[str]) -> list[Any]:
    structs = [struct]
    for key in keys:
        kinds = [typing.get_type_hints(one).get(key) for one in structs]
        structs = [part for kind in kinds for part in _members(kind) if hasattr(part, "__struct_fields__")]
    return structs


def _members(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (types.UnionType, typing.Union) else (kind,)


def _tags(structs: list[Any]) -> list[str]:
    return [str(one.__struct_config__.tag) for one in structs if one.__struct_config__.tag is not None]


def _choices(structs: list[Any], key: str) -> list[str]:
    members = [member for one in structs for member in _members(typing.get_type_hints(one)[key])]
    return [str(choice) for member in members for choice in typing.get_args(member)]
