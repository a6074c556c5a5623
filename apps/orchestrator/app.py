"""The orchestrator, put together. Read this first.

bus, http_api  ->  conductor  ->  turn (pure)
                      |-> journal, lights, inbox, stream
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import datetime

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from apps.orchestrator.access import Access
from apps.orchestrator.bus import Bus
from apps.orchestrator.conductor import Conductor
from apps.orchestrator.folder import SHOW, only_one
from apps.orchestrator.http_api import HttpApi, internal_error, refused
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.orchestrator.show import Limits, Listening
from apps.shared.access import make_token, publish_port
from apps.shared.clock import now_s
from apps.shared.errors import PortInUseError
from apps.shared.logs import never_log
from apps.shared.settings import Settings
from apps.shared.wire import FRAME_LIMIT_BYTES

log = structlog.get_logger()


async def run(settings: Settings, options: argparse.Namespace) -> None:
    """Run the show's centre until cancelled: `aivt run orchestrator`.

    Raises MissingError (data folder, journal), PortInUseError, AivtError (another show on this folder).
    """
    token = make_token(settings)
    never_log(token)
    with only_one(settings, SHOW), contextlib.closing(_listener(settings.aivt_port)) as listener:
        port = listener.getsockname()[1]
        publish_port(settings, port)
        started = datetime.now().astimezone()
        show_id = f"{started:%Y%m%d-%H%M%S}-{started.microsecond // 1000:03}"
        journal = Journal(settings.aivt_data_dir / "journal.db", show_id, started.isoformat())
        conductor = Conductor(
            show_id,
            journal,
            Limits(thinking_s=2 * settings.policy_first_token_s + settings.policy_stall_s + 5),
            Lights(options.show_without),
            now_s,
            listening=listening(settings),
            url=f"http://127.0.0.1:{port}/",
            rehearsal=options.show_rehearsal,
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(conductor.watch(os.getpid()))
                log.info("orchestrator listens", url=conductor.url)
                await _serve(build(conductor, token), listener, conductor.close)
        finally:
            journal.close(datetime.now().astimezone().isoformat())


def listening(settings: Settings) -> Listening:
    """How she treats the streamer's voice, as the settings want it."""
    return Listening(
        barge_in=settings.asr_barge_in,
        answer=settings.asr_answer,
        head_start=settings.asr_head_start,
        streamer=settings.streamer_name,
        mode=settings.asr_mode,
        echo=settings.echo_mode == "speakers",
        hotwords=settings.asr_hotwords,
    )


def build(conductor: Conductor, token: str) -> FastAPI:
    """The ASGI application over one conductor."""
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, title="AIVT", max_body_size=FRAME_LIMIT_BYTES
    )
    app.include_router(Bus(conductor).routes)
    app.include_router(HttpApi(conductor).routes)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, internal_error)
    app.add_middleware(Access, token=token)
    return app


class Server(uvicorn.Server):
    """uvicorn, without its signals and its ten looks a second at whether it should stop: we tell it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until `stop` is set."""
        await self.stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Pass over what uvicorn says of each websocket that Access refuses before the upgrade, as it should."""
    return record.msg != "ASGI callable returned without completing handshake."


async def _serve(app: FastAPI, listener: socket.socket, before_end: Callable[[], None]) -> None:
    logging.getLogger("uvicorn.error").addFilter(_worth_a_line)
    server = Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            ws="websockets-sansio",
            ws_max_size=FRAME_LIMIT_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=5,
            ws_ping_timeout=10,
            timeout_graceful_shutdown=1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        before_end()
        server.should_exit = True
        server.stop.set()
        await serving
        raise


def _listener(port: int) -> socket.socket:
    """Listen on loopback; bound here, so that a port in use is our own clear error.

    The protocol is named because asyncio switches Nagle's delay (40 ms now and then) off only where it is.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform == "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()  # until then another program may bind the same port
    except OSError as error:
        listener.close()
        raise PortInUseError(
            "port_in_use",
            f"port {port} is in use by another program",
            fix="Stop it (another show?), or set AIVT_PORT to another port.",
        ) from error
    return listener
