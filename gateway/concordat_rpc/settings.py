"""Configuration files: TOML, read once, with errors that name file, entry and what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Self, TypeVar

_T = TypeVar("_T")

_NAMES = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


class SettingsError(Exception):
    """A configuration that cannot be used. The text is for the person who edits the file."""


class Settings:
    """One table of a configuration file. Ask for every entry, then call :meth:`finish`."""

    def __init__(self, file: Path, table: dict[str, Any], prefix: str = "") -> None:
        self._file = file
        self._table = table
        self._prefix = prefix
        self._asked: set[str] = set()

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a file; raises SettingsError."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise SettingsError(f"{file}: {error.strerror}") from None
        return cls.parse(file, content)

    @classmethod
    def parse(cls, file: Path, content: bytes) -> Self:
        """Parse what was read from `file`; raises SettingsError."""
        try:
            return cls(file.absolute(), tomllib.loads(content.decode()))
        except UnicodeDecodeError:
            raise SettingsError(f"{file}: not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{file}: {error}") from None

    @property
    def folder(self) -> Path:
        """The configuration file's own folder, which its paths are relative to."""
        return self._file.parent

    def wrong(self, key: str, problem: str) -> SettingsError:
        """The error for an entry whose value the caller cannot use."""
        return SettingsError(f"{self._file}: {self._prefix}{key}: {problem}")

    def has(self, key: str) -> bool:
        """Whether the entry is there."""
        return key in self._table

    def names(self) -> list[str]:
        """The names of all entries, for a table whose names are data."""
        return list(self._table)

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty text."""
        value = self._get(key, str, default)
        if not value and default is None:
            raise self.wrong(key, "must not be empty")
        return value

    def texts(self, key: str, default: list[str]) -> list[str]:
        """A list of non-empty texts, at least one, each once."""
        values = self._get(key, list, default)
        for value in values:
            if not isinstance(value, str) or not value:
                raise self.wrong(key, "must be a list of texts")
        if not values or len(values) != len(set(values)):
            raise self.wrong(key, "must have one or more, each once")
        return values

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number between `low` and `high`, both included."""
        value = self._get(key, int, default)
        if not low <= value <= high:
            raise self.wrong(key, f"must be {low} to {high}, is {value}")
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number between `low` and `high`, both included."""
        found = self._table.get(key)
        if isinstance(found, int) and not isinstance(found, bool):
            self._table[key] = float(found)
        value = self._get(key, float, default)
        if not low <= value <= high:
            raise self.wrong(key, f"must be {low:g} to {high:g}, is {value:g}")
        return value

    def path(self, key: str) -> Path:
        """A file or folder, relative to the configuration file's own folder."""
        return self.folder / self.text(key)

    def table(self, key: str) -> Settings:
        """A table within this one; empty where it is missing."""
        return Settings(self._file, self._get(key, dict, {}), f"{self._prefix}{key}.")

    def tables(self, key: str) -> list[Settings]:
        """A list of tables within this one; empty where it is missing."""
        entries = self._get(key, list, [])
        for entry in entries:
            if not isinstance(entry, dict):
                raise self.wrong(key, "must be a list of tables")
        return [
            Settings(self._file, entry, f"{self._prefix}{key}[{at}].")
            for at, entry in enumerate(entries)
        ]

    def finish(self) -> None:
        """Refuse entries that nobody asked for: they are mistyped more often than harmless."""
        for key in self._table:
            if key not in self._asked:
                raise self.wrong(key, "no such entry")

    def _get(self, key: str, kind: type[_T], default: _T | None) -> _T:
        self._asked.add(key)
        if key not in self._table:
            if default is None:
                raise self.wrong(key, "missing")
            return default
        value = self._table[key]
        # A bool is an int to Python, not to the person who writes the file.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"must be {_NAMES.get(kind, 'a number')}")
        return value


def toml_text(text: str) -> str:
    """A TOML basic string."""
    escaped = "".join(f"\\U{ord(c):08X}" if c in '"\\' or not c.isprintable() else c for c in text)
    return f'"{escaped}"'
