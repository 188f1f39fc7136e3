"""A TCP proxy before an HTTP server that is slow or fails as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

CHUNK = 65536


@dataclass
class Loss:
    """The answer to be lost: that to the `count`-th request from now on whose first line has `part` in it."""

    part: str
    count: int
    lost: bool = False


class Proxy:
    """Listens on 127.0.0.1 at a free port and passes everything to the port `target`, in a thread of its own.

    It knows requests by their beginning: what a client sends first, or next after it was answered (HTTP/1.1 without
    pipelining, as requests speaks it). `requests` holds the first line of each.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.requests: list[str] = []
        self.pause = 0.0
        self.drop_size, self.drop_pause = CHUNK, 0.0
        self.losses: list[Loss] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.pass_on()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pass_on(self) -> None:
        """Listen, and pass everything unchanged and at once."""
        self.pause, self.drop_size, self.drop_pause, self.losses = 0.0, CHUNK, 0.0, []
        if self._listener is None:
            self._do(self._listen())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._do(self._cut())

    def delay(self, seconds: float) -> None:
        """Hold each request back for so long."""
        self.pause = seconds

    def drip(self, size: int, seconds: float) -> None:
        """Pass the answers in drops of so many bytes, and wait between them."""
        self.drop_size, self.drop_pause = size, seconds

    def lose_answer(self, part: str, count: int = 1) -> Loss:
        """Let the `count`-th request with `part` in its first line be carried out, and cut the line for its answer."""
        loss = Loss(part, count)
        self.losses.append(loss)
        return loss

    def close(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, with one of its own to the target."""
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, target_writer}
        line = _Line(self)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(line.carry(reader, target_writer), line.answer(target_reader, writer))
        finally:
            self._writers -= {writer, target_writer}
            for each in (writer, target_writer):
                each.transport.abort()


class _Line:
    """The two directions of one connection."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.answered = True
        self.loss: Loss | None = None

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the client to the server."""
        while data := await reader.read(CHUNK):
            if self.answered:
                self.answered = False
                self._note(data.partition(b"\r\n")[0].decode("latin-1"))
                await asyncio.sleep(self.proxy.pause)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # which ends the other direction too

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to the client."""
        while data := await reader.read(CHUNK):
            if self.loss:
                self.loss.lost = True
                raise ConnectionResetError
            self.answered = True
            size = self.proxy.drop_size
            for first in range(0, len(data), size):
                writer.write(data[first : first + size])
                await writer.drain()
                await asyncio.sleep(self.proxy.drop_pause)
        raise ConnectionResetError

    def _note(self, request: str) -> None:
        """Count the request, and see whether its answer is to be lost."""
        self.proxy.requests.append(request)
        for loss in self.proxy.losses:
            loss.count -= loss.part in request
            if loss.count == 0 and loss.part in request:
                self.loss = loss
