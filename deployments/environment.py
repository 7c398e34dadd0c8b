"""Which Prefect API a run uses, and the environments of the background server and of the processes that use it. Stdlib only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

URL = "PREFECT_API_URL"

# A process that outlives its terminal must not carry that terminal's secrets; what it needs to find programs, speak TLS and get
# through a proxy (automations call webhooks) is named here.
KEPT = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONPATH",
}
KEPT |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The background server's: little of the starter's, no PREFECT_* of it. Without PYTHONDONTWRITEBYTECODE, which costs 10 s."""
    kept = {name: value for name, value in environ.items() if name.upper() in KEPT or name.startswith("LC_")}
    return kept | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def server_settings(origin: str, auth: str, prefect_home: Path) -> dict[str, str]:
    """The background server's Prefect settings, each with its reason."""
    return {
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_PROFILES_PATH": str(prefect_home / "profiles.toml"),
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        # A default server answers any web page that the user visits.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        # Relative: the UI then works under any name of loopback, and through a forwarded port.
        "PREFECT_UI_API_URL": "/api",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # In memory by default: a restart would leak every slot of a concurrency limit.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # 1.3 s at a first start, needed only to create blocks in the UI: serve.py does it later, in the background.
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
        "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }


def client_settings(url: str, auth: str, prefect_home: Path, pages: Path) -> dict[str, str]:
    """What a flow process needs to use the background server."""
    return {
        URL: url,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_HOME": str(prefect_home),
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Where runs leave what the server shows of them, and under which URL it does: contender/pages.py.
        "CONTENDER_PAGES": str(pages),
        "CONTENDER_PAGES_URL": f"{url.removesuffix('/api')}/contender/runs",
    }


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Flows that are run within send no heartbeats: stopping their thread takes up to a second at the end of every run.

    For a run that a person watches. Nothing acts on a missed heartbeat of such a run, and no environment variable can turn them
    off (the setting wants an integer there). Imports prefect.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def chosen_api(environ: Mapping[str, str], folder: Path | None = None) -> str | None:
    """The Prefect API that the user's own settings name, or None. Reads what prefect reads, in its order, without importing it.

    Order: environment, .env, prefect.toml, pyproject.toml, the active profile; the files in `folder` (the current one).
    """
    here = folder or Path.cwd()
    if environ.get(URL):
        return environ[URL]
    for place in (_dotenv(here).get(URL), *_project_files(here), _profile(environ, here).get(URL)):
        if isinstance(place, str) and place:
            return place
    return None


def _profile(environ: Mapping[str, str], here: Path) -> Mapping[str, Any]:
    path = _profiles_path(environ, here)
    if path is None:
        # Prefect's own template: of its profiles, one has a URL.
        return {URL: "http://127.0.0.1:4200/api"} if environ.get("PREFECT_PROFILE") == "local" else {}
    data = _toml(path)
    return _table(data, "profiles", str(environ.get("PREFECT_PROFILE") or data.get("active")))


def _profiles_path(environ: Mapping[str, str], here: Path) -> Path | None:
    named = (
        environ.get("PREFECT_PROFILES_PATH")
        or _dotenv(here).get("PREFECT_PROFILES_PATH")
        or _toml(here / "prefect.toml").get("profiles_path")
        or _table(_toml(here / "pyproject.toml"), "tool", "prefect").get("profiles_path")
    )
    if named:
        return Path(named)
    if environ.get("PREFECT_HOME"):
        return Path(environ["PREFECT_HOME"]) / "profiles.toml"
    default = Path.home() / ".prefect" / "profiles.toml"
    return default if default.exists() else None


def _project_files(here: Path) -> Iterator[Any]:
    yield _table(_toml(here / "prefect.toml"), "api").get("url")
    yield _table(_toml(here / "pyproject.toml"), "tool", "prefect", "api").get("url")


def _dotenv(here: Path) -> dict[str, str]:
    """The plain NAME=value lines of a .env file; enough for the two names that are looked up."""
    try:
        lines = (here / ".env").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.strip().removeprefix("export ").partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, separator, value in pairs if separator}


def _toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return {}  # prefect says what is wrong with it when it starts


def _table(data: Any, *names: str) -> dict[str, Any]:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}
