"""The background Prefect server's process: `python -P -m deployments.serve HOME INSTANCE LISTENER ALIVE IDLE_MINUTES`.

LISTENER and ALIVE are file descriptors that the starter opened: the socket to accept on, and the lock that says this server
lives. Prefect's own app runs under uvicorn behind `deployments.guard`; it ends itself after idle minutes.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import importlib.util
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from deployments.environment import server_settings
from deployments.guard import Activity, Guard
from deployments.home import Home, State, take_lock
from deployments.pages import Pages

if TYPE_CHECKING:
    import uvicorn
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

GRACE_SECONDS = 3  # for open requests at the end; a browser's websocket would wait for ever
BLOCKS_AFTER_SECONDS = 30  # block types are registered when the first run has had the server to itself


def main(arguments: list[str]) -> None:
    folder, instance, listener_fd, alive_fd, idle_minutes = arguments
    os.umask(0o077)
    os.set_inheritable(int(alive_fd), False)
    home = Home(Path(folder))
    listener = socket.socket(fileno=int(listener_fd))
    listener.set_inheritable(False)
    port = listener.getsockname()[1]
    state = State(f"http://127.0.0.1:{port}", os.getpid(), instance, importlib.metadata.version("prefect"))
    home.write_state(state)
    os.environ.update(server_settings(state.url, home.auth(), home.prefect) | _ui_folder(home))
    try:
        activity = Activity()
        _server(home, instance, activity, float(idle_minutes) * 60).run(sockets=[listener])
    finally:
        home.forget_state()


def _ui_folder(home: Home) -> dict[str, str]:
    """Where Prefect unpacks its UI: beside its code, as it does by default, or in our home where that cannot be written."""
    spec = importlib.util.find_spec("prefect")
    code = Path(spec.origin).parent / "server" if spec and spec.origin else home.folder
    unpacked = (code / "ui_v2_build").is_dir() and (code / "ui_build").is_dir()
    return {} if unpacked or os.access(code, os.W_OK) else {"PREFECT_UI_STATIC_DIRECTORY": str(home.folder / "ui")}


def _server(home: Home, instance: str, activity: Activity, idle_seconds: float) -> uvicorn.Server:
    app = _prefect_app()
    import uvicorn

    class Server(uvicorn.Server):
        """Tells its own idle time, and ends by it."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            await _remember_events()
            gc.collect()
            gc.freeze()
            activity.touch()
            self.chores = [asyncio.create_task(_end_when_idle(self, home, activity, idle_seconds))]
            self.chores.append(asyncio.create_task(_register_blocks(home)))

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            home.forget_state()
            for chore in self.chores:
                chore.cancel()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            Guard(app, instance, activity, Pages(home.pages)),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=60,  # a client that pauses between two stages keeps its connection
            server_header=False,
        )
    )


def _prefect_app() -> Any:
    """Prefect's app. Its 2,000 modules are made of objects that live for ever: collecting meanwhile costs 20% of the time."""
    gc.disable()
    from prefect.server.api.server import create_app

    _let_writers_wait()
    app = create_app(final=True)
    gc.enable()
    return app


def _let_writers_wait() -> None:
    """Lets every transaction that Prefect opens wait for its turn to write.

    By default most begin DEFERRED: where one has read, and another one writes before it does, SQLite refuses it at once, and the answer
    is 503. Prefect's client asks again; the Run button of its UI does not.
    """
    from prefect.server.database import configurations, dependencies
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    class WaitsToWrite(configurations.AioSqliteConfiguration):
        @asynccontextmanager
        async def begin_transaction(
            self, session: AsyncSession, with_for_update: bool = True
        ) -> AsyncGenerator[AsyncSessionTransaction, None]:
            async with super().begin_transaction(session, with_for_update=True) as transaction:
                yield transaction

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    dependencies.MODELS_DEPENDENCIES["database_config"] = WaitsToWrite(connection_url=url)


async def _remember_events() -> None:
    """Tells the automations which events the server before this one has seen.

    Prefect keeps that in memory: an event that follows one from before a restart would wait for it for 15 minutes, and with it all
    later ones of its run. A run that crashed meanwhile would not be continued for so long.
    """
    from prefect.server.database import provide_database_interface
    from prefect.server.events.ordering import PRECEDING_EVENT_LOOKBACK, get_triggers_causal_ordering
    from sqlalchemy import select

    database, ordering = provide_database_interface(), get_triggers_causal_ordering()
    recent = datetime.now(UTC) - PRECEDING_EVENT_LOOKBACK
    async with database.session_context() as session:
        found = await session.execute(select(database.Event.id).where(database.Event.received >= recent))
    for event_id in found.scalars():
        seen: Any = SimpleNamespace(id=event_id)
        await ordering.record_event_as_seen(seen)


async def _end_when_idle(server: uvicorn.Server, home: Home, activity: Activity, idle_seconds: float) -> None:
    """Ends the server when nobody asked it anything for so long, and no process that uses it lives."""
    while True:
        await asyncio.sleep(max(0.05, min(idle_seconds - activity.idle_seconds(), 60.0)))
        if activity.idle_seconds() < idle_seconds:
            continue
        # Kept until this process ends: whoever wants to become a client now waits for that, and starts a new server.
        if take_lock(home.clients_lock) is not None:
            server.should_exit = True
            return
        activity.touch()


async def _register_blocks(home: Home) -> None:
    """Registers Prefect's block types once per version, so that the UI can create them."""
    marker = home.prefect / f"blocks-{importlib.metadata.version('prefect')}"
    if marker.exists():
        return
    await asyncio.sleep(BLOCKS_AFTER_SECONDS)
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    session = await provide_database_interface().session()
    async with session:
        await run_block_auto_registration(session=session)
    marker.touch()


if __name__ == "__main__":
    main(sys.argv[1:])
