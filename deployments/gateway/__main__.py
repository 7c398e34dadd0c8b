"""`python -P -m deployments.gateway --port P --journal FILE [--public-url URL]`: the gateway, on loopback, until it is told to end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from contender.errors import ContenderError, UsageError
from deployments.home import is_port


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 when it was told to end (130 by Ctrl-C), 2 where it cannot start as it was told to."""
    parser = argparse.ArgumentParser(prog="python -P -m deployments.gateway", description="The webhook gateway.")
    parser.add_argument("--port", type=int, required=True, help="of 127.0.0.1")
    parser.add_argument(
        "--journal", type=Path, required=True, metavar="FILE", help="where deliveries are kept; made if missing"
    )
    parser.add_argument(
        "--public-url",
        default="",
        metavar="URL",
        help="how senders reach it through a reverse proxy, with its base path",
    )
    given = parser.parse_args(arguments)
    try:
        if not is_port(given.port):
            raise UsageError(f"--port {given.port} is no port", "Give one from 1 to 65535.")
        from deployments.gateway.app import Settings
        from deployments.gateway.server import serve

        serve(given.port, Settings(given.journal, given.public_url))
    except ContenderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
