"""Reading a mapping's tables: every wrong entry is one MappingError with its key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final, TypeVar

from concordat.bulk.errors import MappingError

_NO: Final = object()
_Text = TypeVar("_Text", bound=str)


@dataclass(slots=True)
class Settings:
    """One table of a TOML file. What was not asked for when `finish` is called is an error."""

    path: str
    table: Mapping[str, Any]
    _read: set[str] = field(default_factory=set)

    def __contains__(self, key: str) -> bool:
        return key in self.table

    def error(self, key: str, message: str) -> MappingError:
        """The error about one entry, or about the table where key is empty."""
        return MappingError(message, key=".".join(part for part in (self.path, key) if part))

    def finish(self) -> None:
        """Raise MappingError for an entry that nothing has read."""
        unknown = [key for key in self.table if key not in self._read]
        if unknown:
            raise self.error(
                unknown[0], "no such setting here; there are " + ", ".join(sorted(self._read))
            )

    def value(self, key: str, default: object = _NO) -> Any:
        """An entry as it stands."""
        self._read.add(key)
        found = self.table.get(key, default)
        if found is _NO:
            raise self.error(key, "is missing")
        return found

    def text(self, key: str, default: object = _NO) -> str:
        """A text that is not empty."""
        found = self.value(key, default)
        if not isinstance(found, str) or not found:
            raise self.error(key, "a text wanted")
        return found

    def texts(self, key: str, default: object = _NO) -> list[str]:
        """A list of texts."""
        found = self.value(key, default)
        if isinstance(found, str) or not isinstance(found, Collection):
            raise self.error(key, "a list of texts wanted")
        if not all(isinstance(text, str) for text in found):
            raise self.error(key, "a list of texts wanted")
        return list(found)

    def column_list(self, key: str) -> tuple[str, ...]:
        """One or more names of columns, each once."""
        found = self.texts(key)
        if not found or not all(found) or len(set(found)) != len(found):
            raise self.error(key, "one or more names of columns wanted, each once")
        return tuple(found)

    def choice(self, key: str, choices: Sequence[_Text], default: object = _NO) -> _Text:
        """One of some texts."""
        found = self.value(key, default)
        chosen = next((choice for choice in choices if choice == found), None)
        if chosen is None:
            raise self.error(key, f"{found!r}; one of {', '.join(map(repr, choices))} wanted")
        return chosen

    def flag(self, key: str, default: object = _NO) -> bool:
        """true or false."""
        found = self.value(key, default)
        if not isinstance(found, bool):
            raise self.error(key, "true or false wanted")
        return found

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        found = self.value(key, default)
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
            raise self.error(key, f"a whole number from {low} to {high} wanted")
        return found

    def positive(self, key: str) -> Decimal:
        """A number above 0; 1 where none is given."""
        found = self.value(key, 1)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self.error(key, "a number wanted")
        number = Decimal(repr(found))
        if not number.is_finite() or not 0 < number <= 10**12:
            raise self.error(key, "a number above 0, at most a million millions, wanted")
        return number

    def date(self, key: str) -> date:
        """A date of TOML, or a text such as "2026-10" for its first day."""
        found = self.value(key)
        if isinstance(found, date) and not isinstance(found, datetime):
            return found
        try:
            return date.fromisoformat(f"{found}-01" if len(str(found)) == 7 else str(found))
        except ValueError:
            raise self.error(key, 'a date such as "2026-10-31", or "2026-10", wanted') from None

    def member(self, key: str, kind: type[IntEnum]) -> IntEnum:
        """A member of an enumeration, by its name."""
        return self._member(key, self.value(key), kind)

    def members(self, key: str, kind: type[IntEnum]) -> dict[str, int]:
        """A table of codes; each stands for a member by its name."""
        table = self.subtable(key)
        return {code: table._member(code, name, kind) for code, name in table.table.items()}

    def subtable(self, key: str, default: object = _NO) -> "Settings":
        """A table within this one."""
        found = self.value(key, default)
        if not isinstance(found, Mapping):
            raise self.error(key, "a table wanted")
        return Settings(".".join(part for part in (self.path, key) if part), found)

    def _member(self, key: str, name: object, kind: type[IntEnum]) -> IntEnum:
        try:
            return kind[name] if isinstance(name, str) else kind["-"]
        except KeyError:
            known = ", ".join(member.name for member in kind)
            raise self.error(key, f"{name!r} is no {kind.__name__}; there are {known}") from None
