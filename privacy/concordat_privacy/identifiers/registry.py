"""Identifier kinds by their name, for configuration, files and messages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from .base import Identifier
from .china import ResidentId, UnifiedSocialCreditCode
from .phone import PhoneNumber


@dataclass(frozen=True, slots=True)
class IdentifierRegistry:
    """An immutable set of identifier kinds.

    Raises:
        ValueError: two kinds have one name.
    """

    kinds: tuple[type[Identifier], ...]
    _by_name: Mapping[str, type[Identifier]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {kind.kind: kind for kind in self.kinds}
        if len(by_name) != len(self.kinds):
            raise ValueError("two identifier kinds have the same name")
        object.__setattr__(self, "_by_name", MappingProxyType(by_name))

    def with_kind(self, kind: type[Identifier]) -> Self:
        """This registry and one kind more."""
        return type(self)((*self.kinds, kind))

    def parse(self, kind: str, text: str) -> Identifier:
        """The identifier of the named kind (``type/version``) that a text holds.

        Raises:
            KeyError: no such kind. IdentifierInvalid: the text is none of it.
        """
        return self._by_name[kind](text)


DEFAULT_REGISTRY: Final = IdentifierRegistry((ResidentId, UnifiedSocialCreditCode, PhoneNumber))
