"""The customer book you host yourself, speaking the Sellercloud Customers REST API."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regulars.client import AsyncClient, Client
    from regulars.errors import (
        Conflict,
        Denied,
        NotFound,
        Refused,
        RegularsError,
        Reused,
        Running,
        TooMany,
        Unauthenticated,
        Unavailable,
        Unconditional,
    )

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "Denied",
    "NotFound",
    "Refused",
    "RegularsError",
    "Reused",
    "Running",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "Unconditional",
]


def __getattr__(name: str) -> Any:
    """Names are imported when they are first used, so that `import regulars.store` does not load the client."""
    if name not in __all__:
        raise AttributeError(f"module 'regulars' has no attribute {name!r}")
    from importlib import import_module

    module = import_module("regulars.client" if name in ("Client", "AsyncClient") else "regulars.errors")
    return globals().setdefault(name, getattr(module, name))
