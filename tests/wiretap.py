"""A listener on the wire: TLS ends here and begins again, so what passes can be read, or cut.

It presents the gateway's own certificate to the client and the client's to the gateway. Only a
test that has both keys can do that.
"""

import asyncio
import contextlib
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateways import Gateway

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER = 9
_DATA = 0


class Wiretap:
    """Everything that a client sent through it, and a pair of scissors."""

    def __init__(self, gateway: Gateway, profile: Path) -> None:
        self.port = 0
        self._gateway = gateway
        self._profile = profile
        self._loop = asyncio.new_event_loop()
        self._sent: list[bytearray] = []
        self._cut_after: int | None = None
        self._is_mute = False

    @property
    def sent(self) -> bytes:
        """All bytes of all connections from client to gateway, as they were on the wire in TLS."""
        return b"".join(bytes(one) for one in self._sent)

    @property
    def messages(self) -> bytes:
        """The same without HTTP/2: the content of each stream's DATA frames, put together."""
        return b"".join(_payloads(bytes(one)) for one in self._sent)

    def cut_answer_after(self, sent_bytes: int) -> None:
        """Once the client has sent so much more, break the connection instead of answering."""
        self._cut_after = len(self.sent) + sent_bytes

    def mute(self) -> None:
        """Bring nothing of what the gateway says to the client any more."""
        self._is_mute = True

    async def _serve(self, started: threading.Event) -> None:
        pki = self._gateway.folder
        listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listening.load_cert_chain(*_identity_of(pki))
        listening.set_alpn_protocols(["h2"])
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=listening)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await asyncio.Event().wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calling = ssl.create_default_context(cafile=str(self._profile / "ca.pem"))
        calling.load_cert_chain(self._profile / "cert.pem", self._profile / "key.pem")
        calling.set_alpn_protocols(["h2"])
        record = bytearray()
        self._sent.append(record)
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(
                "127.0.0.1", self._gateway.port, ssl=calling
            )
            await asyncio.gather(
                self._pump(reader, up_writer, record), self._pump(up_reader, writer, None)
            )
        writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        record: bytearray | None,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if record is not None:
                    record += data
                elif self._cut_after is not None and len(self.sent) >= self._cut_after:
                    self._cut_after = None
                    writer.transport.abort()
                    return
                elif self._is_mute:
                    continue
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def tapping(gateway: Gateway, profile: Path, folder: Path) -> Iterator[tuple[Wiretap, Path]]:
    """A wiretap, and a copy of the profile whose gateway it is."""
    tap = Wiretap(gateway, profile)
    started = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(tap._loop)
        with contextlib.suppress(asyncio.CancelledError):
            tap._loop.run_until_complete(task)

    task = tap._loop.create_task(tap._serve(started))
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    copied = folder / profile.name
    shutil.copytree(profile, copied)
    settings = copied / "profile.toml"
    settings.write_text(settings.read_text().replace(str(gateway.port), str(tap.port)))
    try:
        yield tap, copied
    finally:
        tap._loop.call_soon_threadsafe(task.cancel)
        thread.join(10)


def _payloads(data: bytes) -> bytes:
    assert data.startswith(_PREFACE) or not data, "HTTP/2 wanted"
    streams: dict[int, bytearray] = {}
    at = len(_PREFACE)
    while at + _FRAME_HEADER <= len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        kind = data[at + 3]
        stream = int.from_bytes(data[at + 5 : at + 9], "big")
        content = data[at + _FRAME_HEADER : at + _FRAME_HEADER + length]
        if kind == _DATA:
            streams.setdefault(stream, bytearray()).extend(content)
        at += _FRAME_HEADER + length
    return b"".join(bytes(one) for one in streams.values())


def _identity_of(folder: Path) -> tuple[Path, Path]:
    """The gateway's certificate and key, in its installation."""
    return folder / "gateway" / "cert.pem", folder / "gateway" / "key.pem"
