"""Every setting once: name, type, default, help, and whether it is a secret.

A setting is taken from the command line, else from `REGULARS_NAME` in the environment, else from the TOML file that
`--config` (or `REGULARS_CONFIG`) names, else it has its default.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

PREFIX = "REGULARS_"


class BadSetting(ValueError):
    """A setting that makes no sense; the text names it and what would be right."""


def setting(default: Any, help: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"help": help, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a running server can be told."""

    store: str = setting(
        "sqlite:///regulars.db",
        "Where the book is kept: sqlite:///PATH (four slashes: absolute) or postgresql://USER:PASSWORD@HOST/DATABASE.",
    )
    host: str = setting("127.0.0.1", "The address to listen on; 0.0.0.0 for every one.")
    port: int = setting(8080, "The port to listen on.")
    workers: int = setting(
        1, "Processes that serve. For PostgreSQL; a SQLite file has one writer, so with more they wait for each other."
    )
    token_minutes: int = setting(60, "How long an access token is valid, in minutes.")
    rate_limit: int = setting(
        0, "Calls an hour that one user may make from one address; 0: no limit. The vendor's own limit is 10800."
    )
    body_limit: int = setting(1 << 20, "The largest request body, in bytes.")
    body_seconds: float = setting(10.0, "How long a client may take to send a request, in seconds.")
    idempotency_hours: int = setting(
        24, "How long the answer to a request with an Idempotency-Key is kept at least, in hours."
    )
    trusted_proxies: str = setting(
        "", "Addresses of proxies whose X-Forwarded-For is believed, separated by commas; * for any; empty: none."
    )
    public_url: str = setting(
        "", "The address that clients reach the server by, such as https://tt.api.example.com; empty: as requested."
    )
    webhooks: bool = setting(True, "Deliver webhooks from this process; off where others do.")
    webhook_allow_private: bool = setting(
        False, "Let webhooks go to private and loopback addresses too: for tests, and where all tenants are trusted."
    )
    log_format: str = setting("auto", "json, pretty, or auto: pretty on a terminal, else json.")
    log_level: str = setting("info", "debug, info, warning or error.")
    access_log: bool = setting(False, "Log one line for each request.")


def load(given: Mapping[str, Any], environment: Mapping[str, str] = os.environ, config: str | None = None) -> Settings:
    """The settings from what the command line gave (None: not given), the environment and a TOML file."""
    file = config or environment.get(PREFIX + "CONFIG")
    table = read_file(Path(file)) if file else {}
    values: dict[str, Any] = {}
    for one in fields(Settings):
        for source, value in (
            ("the command line", given.get(one.name)),
            (PREFIX + one.name.upper(), environment.get(PREFIX + one.name.upper())),
            (str(file), table.get(one.name)),
        ):
            if value is not None:
                values[one.name] = converted(one.name, type(one.default), value, source)
                break
    return Settings(**values)


def read_file(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSetting(f"The configuration file {path} cannot be read: {error}") from error
    known = [one.name for one in fields(Settings)]
    for name in table:
        if name not in known:
            raise BadSetting(f"{path}: unknown setting {name}. Known are {', '.join(known)}.")
    return table


def converted(name: str, kind: type, value: Any, source: str) -> Any:
    """A setting's value in its own type; texts are read as numbers and booleans where those are wanted."""
    if (
        kind is bool
        and isinstance(value, str)
        and value.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off")
    ):
        return value.lower() in ("1", "true", "yes", "on")
    try:
        if (kind is bool) == isinstance(value, bool) and kind is not bool:
            return kind(value)
        if isinstance(value, kind):
            return value
    except ValueError:
        pass
    raise BadSetting(f"{name} from {source}: expected {kind.__name__}, got {value!r}.")


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for the worker processes."""
    return {PREFIX + one.name.upper(): str(getattr(settings, one.name)) for one in fields(Settings)}


def shown(url: str) -> str:
    """A store's URL as it may be shown and logged: without its password."""
    url = re.sub(r"(//[^:/?#]*):.*@", r"\1:***@", url, flags=re.S)
    return re.sub(r"([?&][a-z]*password=)[^&]*", r"\1***", url)
