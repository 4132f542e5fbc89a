"""What a run found, as a table on the terminal and as docs/benchmark.md with its plot."""

import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import plot

LABELS = {
    "put@1": "update, 1 connection",
    "put@16": "update, 16 connections",
    "put@64": "update, 64 connections",
    "put@256": "update, 256 connections",
    "get@1": "one customer, 1 connection",
    "get@64": "one customer, 64 connections",
    "list@64": "page of 50, 64 connections",
}
OURS, THEIRS = "Regulars", "PocketBase"
TITLE = "Regulars and PocketBase, side by side on one machine"
PAIR = ((OURS, "ours"), (THEIRS, "theirs"))
Check = tuple[str, str, Callable[[], float], Callable[[float], bool]]
"""What an aim is about, the aim, how it is measured and what is enough."""
INTRODUCTION = """# Benchmark

Regulars beside [PocketBase](https://pocketbase.io) {pocketbase}, both with their defaults, on one machine
({cores} cores, {cpu}, {memory} of memory, {system}, Python {python}; flushing 4 KiB to its disk takes
{flush}). `make bench` runs all of it again, `bench/run --million` with the big book as well.

The two do not promise the same. A 200 of Regulars means that the update **and** a record of who changed
what are flushed to the disk. By default, a 200 of PocketBase means that the row is in a log which the
system will write soon (`synchronous=NORMAL`), with no history. Its updates answer with the record; ours,
like the vendor's, with an empty body.

![Throughput and latency of Regulars and PocketBase](benchmark.svg)
"""
METHOD = """## How it is measured

- {customers} sample customers, the same in both. PocketBase keeps them in one collection with a field for
  each field of `PUT /rest/api/Customers/{{id}}`, for logged-in users only; both servers are asked with a
  bearer token.
- An update changes three to eight fields of a customer chosen at random, contact data and notes more
  often than bookkeeping (account managers and IsWholesale are left
  alone, and every company may ship unpaid orders, so that no move between companies is refused).
  Every update carries a value that was never
  sent before, so every update changes something; the run fails unless the store holds exactly one change
  for each answer 200. In this run: **{changes} answers, {changes} changes**.
- A page is one of all pages of fifty, chosen at random, with the total count.
- {rounds} rounds of {seconds:g} s for each line and server, after a warm-up; within a round the two take
  turns, and the next round starts with the other. The tables give the median over the rounds of the
  throughput and of the exact 50th and 99th percentile.
- The load generator runs beside the server on the same cores, with one request in flight on each
  connection. Against a server that does nothing it reaches {own_rate} requests/s at {own_us:.1f} µs of
  CPU each; what it cost in each measurement is in the table. A latency ends when the generator has read
  the whole answer, its own queue included.
- *Raw store*: the product's own SQL statements in a loop, 64 updates for each transaction, without HTTP,
  commands and rules.
"""


def machine() -> dict[str, Any]:
    """What this run ran on."""
    cpu = next((line.split(":")[1].strip() for line in lines("/proc/cpuinfo") if line.startswith("model name")), "")
    kilobytes = next((int(line.split()[1]) for line in lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu or platform.machine(),
        "memory": f"{kilobytes / 2**20:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "regulars": version("regulars"),
    }


def lines(path: str) -> list[str]:
    """The lines of a file of the system, none if it is not there."""
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "?"


def keep(results: dict[str, Any], path: Path) -> dict[str, Any]:
    """Store the results; what this run left out (the million) stays as the last run found it."""
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    kept |= results
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    return kept


def write(results: dict[str, Any], docs: Path) -> None:
    """Write docs/benchmark.md and docs/benchmark.svg."""
    docs.mkdir(exist_ok=True)
    ran, own = results["machine"], results["own"]
    top = INTRODUCTION.format(**ran, flush=milliseconds(results["flush_ms"]) + " ms")
    method = METHOD.format(
        customers=f"{results.get('customers', 0):,}",
        changes=f"{results.get('changes', 0):,}",
        rounds=results["rounds"],
        seconds=results["seconds"],
        own_rate=f"{round(own['rate'], -3):,.0f}",
        own_us=own["client_us"],
    )
    (docs / "benchmark.md").write_text("\n".join([top, table(results), method]))
    (docs / "benchmark.svg").write_text(plot.draw(results.get("scenarios", {}), LABELS, TITLE, PAIR))


def table(results: dict[str, Any]) -> str:
    """The tables, in Markdown that also reads well on a terminal."""
    parts = []
    if scenarios := results.get("scenarios"):
        parts += ["## Side by side", "", side_by_side(scenarios), ""]
        parts += ["Latencies in milliseconds. Ratios are Regulars to PocketBase: high is good for throughput, low "]
        parts[-1] += "for latency."
        parts += [
            "*client* is the load generator's own CPU for a request, in µs (Regulars / PocketBase).",
            "",
        ]
    if checked := aims(results):
        parts += ["## Aims", "", checked, ""]
    if million := results.get("million"):
        parts += [f"## {million['customers']:,} customers", "", big_book(million), ""]
    parts += [f"Disk: 4 KiB written and flushed in {milliseconds(results['flush_ms'])} ms (median)."]
    if "raw" in results:
        parts[-1] += f" Raw store: {results['raw']:,.0f} updates/s."
    return "\n".join([*parts, ""])


def side_by_side(scenarios: dict[str, dict[str, dict[str, float]]]) -> str:
    """One line for each scenario: both servers and their ratios."""
    head = [
        "",
        "Regulars /s",
        "p50",
        "p99",
        "PocketBase /s",
        "p50",
        "p99",
        "throughput",
        "p50",
        "p99",
        "client",
    ]
    rows = []
    for scenario, peers in scenarios.items():
        ours, theirs = peers.get(OURS), peers.get(THEIRS)
        cells = [LABELS[scenario]]
        for one in (ours, theirs):
            cells += [f"{one['rate']:,.0f}", *(milliseconds(one[key]) for key in ("p50", "p99"))] if one else ["–"] * 3
        cells += [ratio(ours[key] / theirs[key]) for key in ("rate", "p50", "p99")] if ours and theirs else ["–"] * 3
        cells += [" / ".join(f"{one['client_us']:.0f}" if one else "–" for one in (ours, theirs))]
        rows.append(cells)
    return markdown(head, rows)


def aims(results: dict[str, Any]) -> str:
    """What the project set out to reach, what this run found, and whether that is enough."""
    checks: list[Check] = [
        (
            "update, 64 connections: throughput",
            "≥ 6 × PocketBase",
            versus(results, "put@64", "rate"),
            lambda x: x >= 6,
        ),
        (
            "update, 64 connections: p99",
            "≤ ⅛ of PocketBase's",
            versus(results, "put@64", "p99"),
            lambda x: x <= 1 / 8,
        ),
        ("update, 1 connection: p50", "≤ PocketBase's", versus(results, "put@1", "p50"), lambda x: x <= 1),
        (
            "one customer, 64 connections",
            "≥ 5 × PocketBase",
            versus(results, "get@64", "rate"),
            lambda x: x >= 5,
        ),
        (
            "page of 50, 64 connections",
            "≥ 4 × PocketBase",
            versus(results, "list@64", "rate"),
            lambda x: x >= 4,
        ),
        ("update, 64 connections: of the raw store", "≥ 0.45", lambda: of_raw(results), lambda x: x >= 0.45),
        (
            "a million customers: anonymous memory, MB",
            "≤ 150",
            lambda: big(results)["memory_mb"],
            lambda x: x <= 150,
        ),
        (
            "a million customers: p99 of updates, ms",
            "≤ 80",
            lambda: big(results)["put"]["p99"],
            lambda x: x <= 80,
        ),
    ]
    return verdicts(checks)


def verdicts(checks: list[Check]) -> str:
    """The aims as a table: what was found, and whether that is enough; those that this run did not measure are left
    out (`measure` raises KeyError)."""
    rows = []
    for what, aim, measure, enough in checks:
        try:
            found = measure()
        except KeyError:
            continue  # not part of this run
        rows.append([what, aim, ratio(found), "yes" if enough(found) else "**no**"])
    return markdown(["", "aim", "found", "reached"], rows) if rows else ""


def versus(results: dict[str, Any], scenario: str, key: str) -> Callable[[], float]:
    """Our figure divided by PocketBase's."""

    def measure() -> float:
        peers = results["scenarios"][scenario]
        return float(peers[OURS][key] / peers[THEIRS][key])

    return measure


def of_raw(results: dict[str, Any]) -> float:
    """Our updates at 64 connections as a share of what the store alone can do."""
    return float(results["scenarios"]["put@64"][OURS]["rate"] / results["raw"])


def big(results: dict[str, Any]) -> Any:
    """The figures of the big book, if this or an earlier run took them at full size; else KeyError."""
    if results["million"]["customers"] < 1_000_000:
        raise KeyError("million")
    return results["million"]


def big_book(million: dict[str, Any]) -> str:
    """The figures of the big book."""
    put = million["put"]
    rows = [["update, 64 connections", f"{put['rate']:,.0f}", milliseconds(put["p50"]), milliseconds(put["p99"])]]
    rows += [
        [f"list by filter: {name}", "", milliseconds(one["p50"]), milliseconds(one["p99"])]
        for name, one in million["filters"].items()
    ]
    after = f"\n\nAnonymous memory of the server after all of that: {million['memory_mb']:.0f} MB."
    return markdown(["", "/s", "p50 ms", "p99 ms"], rows) + after


def milliseconds(value: float) -> str:
    """A latency with as many digits as it can bear."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def ratio(value: float) -> str:
    """A ratio with three digits or so."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns, numbers to the right."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    shown = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    top = [head[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(head[1:], widths[1:], strict=True))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [top, rule, *shown])
