"""An HTTP server that answers with the very bytes that the test has written down."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def answering(*packets: bytes) -> AsyncIterator[str]:
    """Answer whatever is asked with these packets, and close; gives the server's address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        # What is left unread when the connection is closed would reset it.
        if length := re.search(rb"Content-Length: (\d+)", head):
            await reader.readexactly(int(length[1]))
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0)  # each in a packet of its own
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def whole(body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> bytes:
    """Return an answer with its head; more: further header lines, each with its CRLF."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def chunked(*chunks: bytes, kind: str = "text/event-stream") -> list[bytes]:
    """Return the packets of an answer that comes piece by piece and ends as it should."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return [head, *(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks), b"0\r\n\r\n"]
