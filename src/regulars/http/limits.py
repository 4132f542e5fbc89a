"""How many calls an hour one user may make from one address (contract §5)."""

import time
from dataclasses import dataclass

WINDOW = 3600
MOST_KNOWN = 100_000


@dataclass(slots=True)
class _Window:
    ends: float
    left: int


class RateLimit:
    """Counts calls in windows of an hour that begin with the first call. `limit` 0 means no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._windows: dict[tuple[int, int, str], _Window] = {}

    def take(self, key: tuple[int, int, str]) -> tuple[int, float]:
        """Count one call of (tenant, employee, address); returns how many are left (-1: none was) and the seconds
        until the window ends."""
        now = time.monotonic()
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            self._windows.pop(key, None)
            if len(self._windows) >= MOST_KNOWN:
                self._windows.pop(next(iter(self._windows)))
            window = self._windows[key] = _Window(now + WINDOW, self.limit)
        window.left = max(window.left - 1, -1)
        return window.left, window.ends - now

    def headers(self, left: int, seconds: float) -> list[tuple[bytes, bytes]]:
        """The RateLimit fields of an answer."""
        return [
            (b"ratelimit-policy", b'"hour";q=%d;w=%d' % (self.limit, WINDOW)),
            (b"ratelimit", b'"hour";r=%d;t=%d' % (max(left, 0), int(seconds) + 1)),
        ]
