"""Runs the benchmark of the store on PostgreSQL, into docs/benchmark-postgres.md and .svg.

Regulars with one process and with two, pgbench doing the same update, and a service of FastAPI and SQLAlchemy: each on
its own copy of one book, in alternating rounds on one server that flushes every commit. Each must hold exactly one
change for each update that was answered.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import raw, report, report_postgres
from bench.bodies import Bodies
from bench.embedded import Server, drop_database, execute, make_database, named_database, rows
from bench.load import Result
from bench.peers import Peer, busy_seconds, cpu_seconds, fastapi, pgbench, regulars
from bench.report_postgres import AT_ONCE, FASTAPI, ONE, QUIET, STEPS, TENANTS, TWO
from bench.rounds import CUSTOMERS, DATA, ROOT, WARM_UP_SHARE, Run, own_figures, stretch

CONNECTIONS = (1, 64)
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SETTINGS = DURABLE | {
    "shared_buffers": "1GB",
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1h",
    "wal_buffers": "64MB",
    "max_connections": "300",
}
"""How the throw-away server is tuned: the book fits, and no checkpoint comes in the middle of somebody's turn."""
DISK = "/var/tmp" if Path("/var/tmp").is_dir() else None
"""Where its folder is made: on a disk, which /tmp need not be, and with a path that is short enough for sockets."""
SECOND = "second"
"""The tenant that one of them has beside the usual one."""
WORDS = {"regulars": (ONE, TWO, TENANTS), "pgbench": (STEPS, AT_ONCE), "fastapi": (FASTAPI,)}
"""What --only takes, and whom it means."""

Measure = Callable[[int, float], tuple[int, Result]]
"""From connections and seconds to how many updates were answered in all, and the measured stretch."""


@dataclass
class Subject:
    """One of those compared: its copy of the book, its process if it is a server, and how it is measured."""

    name: str
    url: str
    measure: Measure
    peer: Peer | None = None
    answered: int = 0

    @property
    def changes(self) -> int:
        """How many changes its book holds."""
        return int(rows(self.url, "SELECT count(*) FROM changes")[0][0])


def main() -> int:
    """Run what the options ask for."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    wanted = [name for word in options.only.split(",") if word for name in WORDS[word]]
    names = [name for some in WORDS.values() for name in some if not wanted or name in wanted]
    if pgbench.program() is None and {STEPS, AT_ONCE} & set(names):
        raise SystemExit(pgbench.MISSING)
    packages = fastapi.install(DATA / "fastapi") if FASTAPI in names else None
    folder = DATA / f"run-{int(time.time())}"
    folder.mkdir(parents=True)
    results: dict[str, Any] = {"rounds": options.rounds, "seconds": options.seconds, "customers": CUSTOMERS}
    try:
        with tempfile.TemporaryDirectory(dir=DISK) as place:
            results |= {"flush_ms": raw.flush_ms(Path(place)), "own": own_figures(options.seconds / 3)}
        with server(options.server) as (url, made):
            results["machine"] = report.machine() | versions(url, packages)
            results |= {"settings": settings(url), "ours": made is not None}
            results |= compare(folder, url, made.pid if made else None, names, packages, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + report_postgres.table(results))
    others = report_postgres.others(results) if results["ours"] else 0.0
    if options.write or not (wanted or options.quick or options.server or others > QUIET):
        report.keep(results, ROOT / "bench" / "results-postgres.json")
        report_postgres.write(results, ROOT / "docs")
    elif others > QUIET:
        print(f"Not written, as all else on the machine used {others:.2f} cores. Measure when it is quiet, or --write.")
    return 0


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench-postgres", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure each (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="how long each measurement takes (default 4; pgbench: whole seconds)"
    )
    parser.add_argument("--quick", action="store_true", help="one short round, nothing written: does it run at all?")
    parser.add_argument("--only", default="", type=known_words, help=f"comma-separated: {', '.join(WORDS)}")
    parser.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="a PostgreSQL server to use instead of a new one, as a superuser; databases are made there and dropped",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the page even after a partial run, or a disturbed one"
    )
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1.0
    return options


def known_words(text: str) -> str:
    """The value of --only, if every word of it is known."""
    if unknown := set(filter(None, text.split(","))) - set(WORDS):
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(WORDS)}, got {', '.join(sorted(unknown))}")
    return text


@contextmanager
def server(named: str) -> Iterator[tuple[str, Server | None]]:
    """The URL of a server that flushes: a new one, which goes when the block ends, or the one named."""
    if named:
        must_flush(settings(named))
        yield named, None
        return
    made = Server(Path(tempfile.mkdtemp(prefix="regulars-bench-", dir=DISK)))
    try:
        made.make(**SETTINGS)
        made.start()
        try:
            must_flush(settings(made.url))
            yield made.url, made
        finally:
            made.control("stop", "-m", "fast")
    finally:
        shutil.rmtree(made.folder, ignore_errors=True)


def settings(url: str) -> dict[str, str]:
    """How the server is set, as far as it matters here."""
    listed = ", ".join(f"'{name}'" for name in SETTINGS)
    return dict(rows(url, f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({listed})"))


def must_flush(found: dict[str, str]) -> None:
    """Stop when the server does not do with each commit what it must."""
    for name, value in DURABLE.items():
        if found[name] != value:
            raise SystemExit(f"the server has {name} = {found[name]}; only figures with {value} compare")


def versions(url: str, packages: Path | None) -> dict[str, str]:
    """The versions of what takes part."""
    found = {"postgresql": str(rows(url, "SHOW server_version")[0][0]), "asyncpg": report.version("asyncpg")}
    found |= {"uvicorn": report.version("uvicorn"), "pgbench": pgbench.version() if pgbench.program() else "?"}
    there = fastapi.versions(packages) if packages else {}
    return found | {name: there.get(name, "?") for name in ("fastapi", "sqlalchemy")}


def compare(
    folder: Path, url: str, pid: int | None, names: list[str], packages: Path | None, options: argparse.Namespace
) -> dict[str, Any]:
    """All of them under the same load, in alternating rounds."""
    run, prefix = Run(), f"regulars_bench_{os.getpid()}"
    book = f"{prefix}_book"
    copies = {name: f"{prefix}_{number}" for number, name in enumerate(names)}
    subjects: list[Subject] = []
    try:
        make_database(url, book)
        regulars.make_store(folder / "made", CUSTOMERS, named_database(url, book))
        execute(named_database(url, book), "VACUUM (ANALYZE)")
        bodies = Bodies(list(range(1, CUSTOMERS + 1)), [1, 2])
        for name, copy in copies.items():
            make_database(url, copy, book)
            subjects.append(prepared(name, folder / copy, named_database(url, copy), bodies, packages))
        execute(url, "CHECKPOINT")
        before = {one.name: one.changes for one in subjects}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            for connections in CONNECTIONS:
                for one in subjects[:: -1 if number % 2 else 1]:
                    measure(run, one, connections, options.seconds, pid)
        changes = {one.name: one.changes - before[one.name] for one in subjects}
        width = {one.name: change_bytes(one) for one in subjects}
    finally:
        for one in subjects:
            if one.peer:
                one.peer.stop()
        for name in [book, *copies.values()]:
            drop_database(url, name)
    must_add_up(changes, {one.name: one.answered for one in subjects})
    return {"scenarios": run.medians(), "changes": changes, "change_bytes": width}


def must_add_up(changes: dict[str, int], answered: dict[str, int]) -> None:
    """Stop unless each book holds exactly one change for each update that was answered."""
    for name, count in answered.items():
        if changes[name] != count:
            raise SystemExit(f"{name}: {count:,} updates were answered, {changes[name]:,} changes recorded")


def prepared(name: str, folder: Path, url: str, bodies: Bodies, packages: Path | None) -> Subject:
    """One of those compared, ready on its copy of the book."""
    if name in (STEPS, AT_ONCE):
        pgbench.prepare(url)
        script = pgbench.STEPS if name == STEPS else pgbench.AT_ONCE
        return Subject(name, url, partial(load_pgbench, url, script, folder))
    if name == FASTAPI:
        assert packages is not None
        fastapi.ordinary(url)
        peer = fastapi.start(folder, url, packages, 2, name)
    else:
        folder.mkdir(parents=True)
        if name == TENANTS:
            regulars.make_tenant(url, SECOND, CUSTOMERS)
        peer = regulars.start(folder, url, 1 if name == ONE else 2, name)
        peer = regulars.with_tenant(peer, SECOND) if name == TENANTS else peer
        bodies.companies = regulars.companies_of(peer)
    return Subject(name, url, partial(load_server, peer, bodies), peer)


def load_server(peer: Peer, bodies: Bodies, connections: int, seconds: float) -> tuple[int, Result]:
    """One measurement of a server, by this project's load generator."""
    warm, result = stretch(peer, "put", connections, bodies, seconds)
    return warm.answers + result.answers, result


def load_pgbench(url: str, script: Path, folder: Path, connections: int, seconds: float) -> tuple[int, Result]:
    """One measurement of pgbench, which is its own load generator."""
    warm = pgbench.measure(url, script, CUSTOMERS, connections, seconds * WARM_UP_SHARE, folder)
    result = pgbench.measure(url, script, CUSTOMERS, connections, seconds, folder)
    return warm.answers + result.answers, result


def measure(run: Run, subject: Subject, connections: int, seconds: float, pid: int | None) -> None:
    """One measurement, and what CPU it took; before it the server tidies up, so that none pays for another."""
    execute(subject.url, "VACUUM (ANALYZE)")
    watched = {"server_us": subject.peer.process.pid if subject.peer else None, "postgres_us": pid}
    before = {key: cpu_seconds(process) for key, process in watched.items() if process is not None}
    began, own, busy = time.monotonic(), sum(os.times()[:4]), busy_seconds()
    answers, result = subject.measure(connections, seconds)
    spent = {key: cpu_seconds(watched[key] or 0) - used for key, used in before.items()}
    others = busy_seconds() - busy - (sum(os.times()[:4]) - own) - sum(spent.values())
    subject.answered += answers
    cost = {key: used / answers * 1e6 for key, used in spent.items()}
    run.add(f"put@{connections}", subject.name, result, **cost, others=others / (time.monotonic() - began))


def change_bytes(subject: Subject) -> float:
    """The mean size of the rows of changes that the updates made, in bytes."""
    return float(rows(subject.url, "SELECT avg(pg_column_size(c.*)) FROM changes AS c WHERE kind = 'updated'")[0][0])


if __name__ == "__main__":
    sys.exit(main())
