"""Runs the studio's server."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn

from foleyflow.errors import UsageError
from foleyflow.studio.access import Keys
from foleyflow.studio.server import make_app
from foleyflow.studio.settings import StudioSettings
from foleyflow.studio.studio import Studio

SHUTDOWN_S = 2  # for requests, then for jobs
HTTP_PORT = 80  # which browsers leave out
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the server is.

    Attributes:
        url: without a token.
        link: with the token that opens the page.
        api_key: for programs.
    """

    url: str
    link: str
    api_key: str


class _Server(uvicorn.Server):
    """A server that ends its event streams when it stops."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles SIGINT and SIGTERM."""
        self._studio.close()
        super().handle_exit(sig, frame)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def serve(
    settings: StudioSettings,
    *,
    host: str,
    port: int,
    allow_remote: bool,
    started: Callable[[Address], None],
    used: Callable[[str], None],
) -> None:
    """Serves the studio until SIGINT or SIGTERM.

    Args:
        settings: of the studio.
        host, port: address; port 0 chooses a free one.
        allow_remote: allow a host that other machines can reach.
        started: called with the address before the first request is answered.
        used: called with the next link when a link was opened.

    Raises:
        UsageError: the address can't be used.
    """
    if not is_loopback(host) and not allow_remote:
        raise UsageError(
            f"--host {host}: other machines can reach this address",
            hint="add --allow-remote if they may; the connection is not encrypted",
        )
    with _bound(host, port) as listener:
        # Names of the server
        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{port}"
        keys = Keys(lambda token: used(f"{url}/?token={token}"))
        names = {shown, *(LOOPBACK_NAMES if is_loopback(host) else ())}
        if host in ("0.0.0.0", "::"):
            names |= {*LOOPBACK_NAMES, socket.gethostname(), *_own_addresses()}
        hosts = [f"{name}:{port}" for name in names] + (list(names) if port == HTTP_PORT else [])
        # The application
        studio = Studio(settings)
        config = uvicorn.Config(
            make_app(studio, keys, hosts, port=port),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_S,
            http="h11",
            ws="none",
            lifespan="on",
        )
        started(Address(url=url, link=f"{url}/?token={keys.token}", api_key=keys.api_key))
        try:
            _Server(config, studio).run(sockets=[listener])
        finally:
            studio.close()
            # A thread within a computation would abort the process while Python shuts down
            if not (studio.jobs.join(SHUTDOWN_S) and studio.engine.join(SHUTDOWN_S)):
                os._exit(128 + signal.SIGINT)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--host {host} --port {port}: can't be used ({reason})",
            hint="--port 0 chooses a free port",
        ) from error
    return listener


def _own_addresses() -> set[str]:
    """The addresses of this machine's name."""
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        return set()
    hosts = {str(each[4][0]).partition("%")[0] for each in found}
    return {f"[{host}]" if ":" in host else host for host in hosts}
