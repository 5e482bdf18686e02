"""The base of every settings class that a run folder keeps: values checked by a table, to JSON and back."""

import dataclasses
import json
import math
import numbers
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import write_json


@dataclass(frozen=True)
class Rule:
    """What a value must be, and the words that say so behind it: "--epochs -1 must not be negative"."""

    holds: Callable[[Any], bool]
    text: str


ABOVE_0 = Rule(lambda value: 0 < value < math.inf, "must be above 0")
NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "must not be negative")
AT_LEAST_1 = Rule(lambda value: value >= 1, "must be at least 1")
FROM_0_TO_1 = Rule(lambda value: 0 <= value <= 1, "must be from 0 to 1")
BELOW_1 = Rule(lambda value: 0 <= value < 1, "must be at least 0 and below 1")


class StoredSettings:
    """Settings that check themselves when they are made, and that JSON files keep. Its subclasses are dataclasses."""

    NOT_STORED: ClassVar[frozenset[str]] = frozenset()  # they say how a command runs, not what it makes

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            if field.type is int and not isinstance(value, numbers.Integral):
                raise UserError(f"{option} {value} must be a whole number")
            if get_origin(field.type) is Literal and value not in (choices := get_args(field.type)):
                raise UserError(f"{option} {value} is unknown: {', '.join(choices[:-1])} or {choices[-1]}")

    def check_values(self, **rules: Rule) -> None:
        """Raise `UserError` for the first value that breaks its rule, given as dropout=BELOW_1."""
        for name, rule in rules.items():
            if not rule.holds(value := getattr(self, name)):
                raise UserError(f"--{name.replace('_', '-')} {value} {rule.text}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, without those that are not stored."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return str(value) if isinstance(value, Path) else value

        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: plain(value) for name, value in values.items() if name not in self.NOT_STORED}

    def save(self, file: Path) -> None:
        """Write the settings as JSON."""
        write_json(file, self.to_dict())

    @classmethod
    def load(cls, file: Path, ignore_others: bool = False) -> Self:
        """The settings in a JSON file; what it leaves out has its default.

        Raises `UserError` for a damaged file, and for a key that is no setting of this class.

        Args:
            ignore_others: pass over such keys: the file holds the settings of a whole training, these are a part of it.
        """
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is damaged ({error}): get a sound copy, or train again") from error
        if ignore_others:
            own = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
            values = {name: value for name, value in values.items() if name in own}
        return cls.from_dict(values, str(file))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "the settings") -> Self:
        """The settings from plain JSON values; `where` they are from begins the sentence of an error."""
        types_of = {field.name: field.type for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - set(types_of)):
            raise UserError(f"{where} has a setting that does not exist: {', '.join(unknown)}")
        return cls(**{name: _from_json(types_of[name], value) for name, value in values.items()})


def _from_json(kind: Any, value: Any) -> Any:
    """A JSON value as the type that its field declares: lists become tuples, and text a path where one is asked for."""
    if isinstance(value, list):
        return tuple(Path(v) for v in value) if "Path" in str(kind) else tuple(value)
    if isinstance(value, dict):
        return {k: Path(v) for k, v in value.items()} if "Path" in str(kind) else dict(value)
    if kind is Path or (isinstance(kind, types.UnionType) and Path in kind.__args__):
        return None if value is None else Path(value)
    return bool(value) if kind is bool else value  # painter_known was a weight once
