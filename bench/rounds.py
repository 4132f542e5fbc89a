"""What a run measures, one stretch at a time: a warm-up, the measurement, and the medians over the rounds."""

import itertools
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.bodies import Bodies
from bench.load import Connections, Result, own_cost
from bench.peers import Peer

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "bench" / ".data"
CUSTOMERS = 10_000
WARM_UP_SHARE = 0.25
FIRST_POOL = 40_000
HEADROOM = 1.6


@dataclass
class Run:
    """What one run has measured so far: per scenario and peer the figures of each round."""

    figures: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    raw: list[float] = field(default_factory=list)
    updates: int = 0

    def add(self, scenario: str, peer: str, result: Result, **more: float) -> None:
        """Keep one measured stretch, and what else was seen of it."""
        row = {
            "rate": result.rate,
            "p50": result.percentile(0.5),
            "p99": result.percentile(0.99),
            "client_us": result.client_us,
            **more,
        }
        self.figures.setdefault((scenario, peer), []).append(row)
        print(
            f"  {scenario:8} {peer:24} {row['rate']:9,.0f}/s  p50 {row['p50']:8.2f}  p99 {row['p99']:8.2f}",
            flush=True,
        )

    def medians(self) -> dict[str, dict[str, dict[str, float]]]:
        """Per scenario and peer, the median over the rounds of each figure."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for (scenario, peer), rows in self.figures.items():
            middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
            found.setdefault(scenario, {})[peer] = middle
        return found


def own_figures(seconds: float) -> dict[str, float]:
    """What the load generator itself costs, and how fast it could go."""
    cost = own_cost(seconds)
    return {"rate": cost.rate, "client_us": cost.client_us}


def stretch(peer: Peer, kind: str, connections: int, bodies: Bodies, seconds: float) -> tuple[Result, Result]:
    """A warm-up, then the measurement, on the same connections; the requests are made beforehand."""
    warm_up = seconds * WARM_UP_SHARE
    first = FIRST_POOL if kind == "put" else 1000
    with Connections(peer.port, connections) as opened:
        warm = opened.run(requests(peer, kind, bodies, int(first * min(1.0, warm_up))), warm_up)
        return warm, opened.run(requests(peer, kind, bodies, int(warm.rate * seconds * HEADROOM) + 1000), seconds)


def requests(peer: Peer, kind: str, bodies: Bodies, count: int) -> Iterator[bytes]:
    """Ready-made requests: so many different updates, or reads chosen at random and repeated without end."""
    if kind == "put":
        return iter([peer.update(customer, body) for customer, body in bodies.take(count)])
    picked = random.Random(count)
    if kind == "get":
        return itertools.cycle([peer.get(customer) for customer in picked.choices(bodies.ids, k=20_000)])
    pages = range(1, -(-len(bodies.ids) // 50) + 1)
    return itertools.cycle([peer.list(number) for number in picked.choices(pages, k=2_000)])
