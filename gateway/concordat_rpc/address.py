"""``host:port``, as configurations and command lines write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens or is reached."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``127.0.0.1:7443``, ``name:7443`` or ``[::1]:7443``; raises ValueError."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isascii() or not port.isdigit():
            raise ValueError(f"{text!r} is not host:port")
        if int(port) > 65535:
            raise ValueError(f"{port} is not a port number")
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"{text!r}: an IPv6 address stands in square brackets")
        return cls(host.strip("[]"), int(port))

    def with_port(self, port: int) -> Address:
        """The same host, another port."""
        return Address(self.host, port)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    @property
    def is_any(self) -> bool:
        """Whether it stands for every interface of the machine."""
        return self.host in {"0.0.0.0", "::"}  # noqa: S104  compared with, not bound

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
