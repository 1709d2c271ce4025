"""A TCP proxy on loopback that cuts connections, or lets nothing more through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 16 * 1024


class Proxy:
    """Forwards connections to a port of this machine."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        """May be changed: new connections go there."""
        self.connections = 0
        """So many were made so far."""
        self._budgets: list[tuple[int, bool]] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._silent = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, *sent_bytes: int) -> None:
        """Cut the next connections, one each, after so many bytes of the caller's."""
        with self._lock:
            self._budgets.extend((number, True) for number in sent_bytes)

    def hold_after(self, sent_bytes: int) -> None:
        """Let no more of the caller's through on the next connection after so many bytes."""
        with self._lock:
            self._budgets.append((sent_bytes, False))

    def cut(self) -> None:
        """Cut all connections now."""
        with self._lock:
            found, self._open = self._open, set()
        for one in found:
            _shut(one)

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Keep all connections, and let nothing through, until the block ends: then cut them."""
        self._silent.set()
        try:
            yield
        finally:
            self._silent.clear()
            self.cut()

    def close(self) -> None:
        """Take no more connections and cut those there are."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self._connect(caller)

    def _connect(self, caller: socket.socket) -> None:
        try:
            target = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            _shut(caller)
            return
        with self._lock:
            self.connections += 1
            budget = self._budgets.pop(0) if self._budgets else None
            self._open |= {caller, target}
        for way in ((caller, target, budget), (target, caller, None)):
            threading.Thread(target=self._forward, args=way, daemon=True).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, budget: tuple[int, bool] | None
    ) -> None:
        bytes_left, cutting = budget or (None, True)
        with suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                while self._silent.is_set():
                    self._silent.wait(0.01)
                    threading.Event().wait(0.01)
                if bytes_left is not None:
                    sink.sendall(data[:bytes_left])
                    bytes_left -= len(data)
                    if bytes_left <= 0 and cutting:
                        break
                    bytes_left = max(0, bytes_left)
                else:
                    sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def proxying(target_port: int) -> Iterator[Proxy]:
    """A proxy for the length of the block."""
    proxy = Proxy(target_port)
    try:
        yield proxy
    finally:
        proxy.close()
