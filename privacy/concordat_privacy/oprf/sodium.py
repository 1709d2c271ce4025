"""Finds libsodium once and binds the ristretto255 functions that the tokens need.

Search order: the system's library, then the one inside the wheel ``rbcl``. The variable
``CONCORDAT_SODIUM`` (``system`` or ``wheel``) restricts the search to one of them.

The wheel keeps its library as a hexadecimal literal in a Python file, and importing it leaves a
temporary file behind on every start. It is therefore not imported: the literal is read, loaded
from an anonymous memory file where the system has those (which also works where the temporary
folder is mounted noexec), else from a temporary file that is gone when this module returns.
"""

import contextlib
import ctypes
import ctypes.util
import importlib.util
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from .errors import SodiumUnavailable

SOURCE_VARIABLE: Final = "CONCORDAT_SODIUM"

# Bare names go through the dynamic loader's own search path. Homebrew's folder on Apple silicon is
# not on it. ctypes.util.find_library is asked last because it starts subprocesses on Linux.
_SYSTEM_NAMES: Final = (
    "libsodium.so.23",
    "libsodium.so.26",
    "libsodium.so",
    "libsodium.dylib",
    "/opt/homebrew/lib/libsodium.dylib",
    "/usr/local/lib/libsodium.dylib",
)

_WHEEL_LITERAL: Final = re.compile(rb"bytes\.fromhex\('([0-9a-fA-F]+)'\)")

_HELP: Final = (
    "install libsodium 1.0.18 or newer (Debian and Ubuntu: apt install libsodium23; "
    "macOS: brew install libsodium) or the Python extra that carries it "
    "(from a clone: pip install '.[sodium]')"
)

# Names and numbers of arguments, which are all addresses. These return 0 on success (is_valid: 1).
_POINT_FUNCTIONS: Final = {
    "crypto_core_ristretto255_is_valid_point": 1,
    "crypto_core_ristretto255_add": 3,
    "crypto_core_ristretto255_from_hash": 2,
    "crypto_core_ristretto255_scalar_invert": 2,
    "crypto_scalarmult_ristretto255": 3,
    "crypto_scalarmult_ristretto255_base": 2,
}
# These cannot fail.
_SCALAR_FUNCTIONS: Final = {
    "crypto_core_ristretto255_scalar_random": 1,
    "crypto_core_ristretto255_scalar_reduce": 2,
    "crypto_core_ristretto255_scalar_add": 3,
    "crypto_core_ristretto255_scalar_mul": 3,
    "crypto_core_ristretto255_scalar_sub": 3,
}


class Source(StrEnum):
    """Where a library came from."""

    SYSTEM = "system"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class Sodium:
    """A loaded and initialised libsodium.

    Its functions take addresses and check nothing: only :mod:`.ristretto` may call them.

    Attributes:
        calls: point functions. They take 4 to 60 µs and release the interpreter lock, so that
            threads use all cores.
        quick_calls: scalar functions of a microsecond. They keep the lock: handing it over would
            cost more than the call.
    """

    source: Source
    version: str
    calls: ctypes.CDLL
    quick_calls: ctypes.PyDLL


_lock = threading.Lock()
_loaded: Sodium | None = None


def load() -> Sodium:
    """Return the process's libsodium, loading it at the first call. Safe from any thread.

    Raises:
        SodiumUnavailable: neither the system nor the wheel has a usable one.
    """
    global _loaded  # a shared library is the process's, once
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _find()
    return _loaded


def _find() -> Sodium:
    failures: list[str] = []
    for source in _wanted_sources():
        for name, library in _candidates(source, failures):
            try:
                return _bind(source, library)
            except (AttributeError, OSError) as error:
                failures.append(f"{name}: {error}")
    raise SodiumUnavailable(f"libsodium not found ({'; '.join(failures)}): {_HELP}")


def _wanted_sources() -> tuple[Source, ...]:
    forced = os.environ.get(SOURCE_VARIABLE, "")
    if not forced:
        return tuple(Source)
    if forced not in set(Source):
        raise SodiumUnavailable(f"{SOURCE_VARIABLE} must be 'system' or 'wheel', not {forced!r}")
    return (Source(forced),)


def _candidates(source: Source, failures: list[str]) -> Iterator[tuple[str, ctypes.CDLL]]:
    """Yield the libraries of a source that open; say in ``failures`` why others do not."""
    if source is Source.WHEEL:
        try:
            yield "wheel rbcl", _open_wheel()
        except OSError as error:
            failures.append(f"wheel rbcl: {error}")
        return
    found = False
    for name in _system_names():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            found = True
            yield name, library
    if not found:
        failures.append("system: no libsodium on the loader's path")


def _system_names() -> Iterator[str]:
    yield from _SYSTEM_NAMES
    found = ctypes.util.find_library("sodium")
    if found is not None:
        yield found


def _open_wheel() -> ctypes.CDLL:
    """Open the wheel's library. Raises OSError if it is absent, changed or cannot be loaded."""
    spec = importlib.util.find_spec("rbcl")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("not installed")
    literal = _WHEEL_LITERAL.search(
        Path(spec.submodule_search_locations[0], "_sodium.py").read_bytes()
    )
    if literal is None:
        raise OSError("carries no library in the form that this version knows")
    return _open_image(bytes.fromhex(literal[1].decode("ascii")))


def _open_image(image: bytes) -> ctypes.CDLL:
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        # Sandboxes may forbid it, or hide /proc: the file below is the second way.
        with contextlib.suppress(OSError):
            return _open_from_memory(image)
    with tempfile.TemporaryDirectory(prefix="concordat-sodium-") as folder:
        path = Path(folder, "libsodium.so")
        path.write_bytes(image)
        # An open library outlives its file.
        return ctypes.CDLL(str(path))


def _open_from_memory(image: bytes) -> ctypes.CDLL:
    with os.fdopen(os.memfd_create("libsodium"), "wb") as file:
        file.write(image)
        file.flush()
        return ctypes.CDLL(f"/proc/self/fd/{file.fileno()}")


def _bind(source: Source, library: ctypes.CDLL) -> Sodium:
    """Declare every function and initialise. AttributeError: too old, or built without one."""
    quick = ctypes.PyDLL(library._name, handle=library._handle)
    _declare(library, _POINT_FUNCTIONS, ctypes.c_int)
    _declare(quick, _SCALAR_FUNCTIONS, None)
    library.sodium_init.restype = ctypes.c_int
    library.sodium_version_string.restype = ctypes.c_char_p
    if library.sodium_init() < 0:
        raise OSError("sodium_init failed")
    return Sodium(source, library.sodium_version_string().decode("ascii"), library, quick)


def _declare(
    library: ctypes.CDLL, functions: Mapping[str, int], result: type[ctypes.c_int] | None
) -> None:
    for name, arguments in functions.items():
        function = getattr(library, name)
        function.argtypes = [ctypes.c_void_p] * arguments
        function.restype = result
