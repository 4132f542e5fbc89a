"""The big book: memory, update latency and filtered lists with a million customers."""

import random
import statistics
import time
from pathlib import Path
from typing import Any

from bench.bodies import Bodies
from bench.load import Connections, request
from bench.peers import Peer, regulars

CONNECTIONS = 64
FILTER_SECONDS = 5.0
POOL = 40_000


def measure(folder: Path, customers: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Make a store with so many customers, serve it, load it; the medians over the rounds."""
    begin = time.monotonic()
    regulars.make_store(folder, customers)
    print(f"{customers:,} sample customers in {time.monotonic() - begin:.0f} s", flush=True)
    peer = regulars.start(folder)
    try:
        bodies = Bodies(regulars.ids_of(peer), regulars.companies_of(peer))
        before, rows, answers = regulars.change_rows(folder), [], 0
        for _ in range(rounds):
            figures, answered = update(peer, bodies, seconds)
            rows.append(figures)
            answers += answered
        filters = {name: timed(peer, paths) for name, paths in filtered(peer, bodies).items()}
        memory = regulars.anonymous_memory(peer)
        changes = regulars.change_rows(folder) - before
    finally:
        peer.stop()
    if changes != answers:
        raise SystemExit(f"{answers:,} updates were answered 200, but the store recorded {changes:,} changes")
    put = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return {"customers": customers, "memory_mb": memory, "put": put, "filters": filters}


def update(peer: Peer, bodies: Bodies, seconds: float) -> tuple[dict[str, float], int]:
    """Updates all over the book for so long, after a warm-up; the figures and the number of answers."""
    with Connections(peer.port, CONNECTIONS) as opened:
        warm = opened.run([peer.update(*one) for one in bodies.take(POOL)], seconds / 2)
        ready = [peer.update(*one) for one in bodies.take(int(warm.rate * seconds * 1.6) + 1000)]
        result = opened.run(ready, seconds)
    figures = {"rate": result.rate, "p50": result.percentile(0.5), "p99": result.percentile(0.99)}
    print(
        f"  put@64   {figures['rate']:,.0f}/s  p50 {figures['p50']:.2f}  p99 {figures['p99']:.2f} ms",
        flush=True,
    )
    return figures, warm.answers + result.answers


def filtered(peer: Peer, bodies: Bodies) -> dict[str, list[str]]:
    """Paths of lists by each kind of filter, with the values of customers chosen at random."""
    chosen = random.Random(7).sample(range(len(bodies.ids)), 100)
    found = regulars.customers_of(peer, [bodies.ids[n] for n in chosen])
    known = [members for _, members in found]
    pages = -(-len(bodies.ids) // 50)
    wanted = {
        "no filter, any page": [regulars.page_path(1 + n * pages // 100) for n in range(100)],
        "email": [regulars.filter_path(email=m["Email"]) for m in known],
        "lastName": [regulars.filter_path(lastName=m["Name"].split()[-1][:4]) for m in known],
        "keyword": [regulars.filter_path(keyword=m["Name"]) for m in known if m["Name"]],
        "corporateName": [
            regulars.filter_path(corporateName=m["BusinessName"][:6]) for m in known if m["BusinessName"]
        ],
        "phoneNumber": [regulars.filter_path(phoneNumber=p[-7:]) for m in known if len(p := digits(m["Phone1"])) > 6],
        "rating and company": [regulars.filter_path(rating=m["Rating"], companyIds=m["CompanyId"]) for m in known],
        "createdOn, one day": [regulars.filter_path(createdOnFrom=d, createdOnTo=d + "T23:59:59") for d in days(peer)],
    }
    return {name: paths for name, paths in wanted.items() if paths}


def digits(text: str) -> str:
    """The digits of a phone number."""
    return "".join(filter(str.isdigit, text))


def days(peer: Peer) -> list[str]:
    """Some days on which customers were created."""
    items, total = regulars.page_of(peer, regulars.page_path(1))
    last, _ = regulars.page_of(peer, regulars.page_path(max(1, total // 100)))
    found = [regulars.whole(peer, item["UserID"])["Internal"]["CreatedOn"][:10] for item in items[:5] + last[:5]]
    return sorted(set(found))


def timed(peer: Peer, paths: list[str]) -> dict[str, float]:
    """Each list once, one after the other over one connection, for a bounded time."""
    with Connections(peer.port, 1) as opened:
        result = opened.run([request("GET", path, peer.port, peer.token) for path in paths], FILTER_SECONDS)
    return {"p50": result.percentile(0.5), "p99": result.percentile(0.99)}
