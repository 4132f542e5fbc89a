"""Regulars with its defaults, on SQLite unless told otherwise; all but the count of changes is asked over HTTP."""

import http.client
import json
import os
import re
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.load import HOST, request
from bench.peers import Peer, call, family, free_port, launch, program

TENANT = "demo"
USER, PASSWORD = "bench@example.com", "a long enough password"
ENVIRONMENT = {"REGULARS_PASSWORD": PASSWORD}
FILL_SECONDS = 1800
READS_BACK = {
    "General": ("Title", "Name", "Email", "EmailCC", "BusinessAliases", "SourceId"),
    "Personal": ("Phone1", "Phone2", "Phone3", "Mobile", "Fax"),
}


def installed() -> bool:
    """Whether the `regulars` command is there."""
    return program("regulars") is not None


def store(folder: Path) -> Path:
    """The SQLite file of a server started in `folder`."""
    return folder / "book.db"


def file_url(folder: Path) -> str:
    """The URL of the SQLite file of a server started in `folder`."""
    return f"sqlite:///{store(folder)}"


def make_store(folder: Path, customers: int, url: str = "") -> None:
    """A new store with a user and so many sample customers: a file in `folder`, which must be new, or at the URL."""
    folder.mkdir(parents=True)
    make_tenant(url or file_url(folder), TENANT, customers)


def make_tenant(url: str, tenant: str, customers: int) -> None:
    """A tenant with a user and so many sample customers, in a store that is made when it is not there yet."""
    on = ["--store", url, "--tenant", tenant]
    run(["init", *on, "--user", USER])
    run(["sample", *on, "--customers", str(customers), "--seed", "1"])
    for company in ("1", "2", "3"):  # so that any customer may move to any company
        run(["company", "set", company, *on, "--allow-shipping-unpaid-orders"])


def run(arguments: list[str]) -> None:
    """Run a `regulars` command to its end. Raises RuntimeError with its output if it fails."""
    done = subprocess.run(
        [str(program("regulars")), *arguments],
        env=os.environ | ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=FILL_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"regulars {arguments[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")


def start(folder: Path, url: str = "", workers: int = 1, name: str = "Regulars") -> Peer:
    """Serve the store in `folder`, or at the URL, and log in."""
    port = free_port()
    serve = [str(program("regulars")), "serve", "--store", url or file_url(folder), "--host", HOST]
    serve += ["--port", str(port), "--workers", str(workers)]
    process = launch(serve, port, "/readyz", folder / "log.txt", ENVIRONMENT)
    peer = Peer(name, process, port, "", "PUT", record_path, page_path)
    try:
        peer.token = log_in(port, TENANT)
    except BaseException:
        peer.stop()
        raise
    return peer


def log_in(port: int, tenant: str) -> str:
    """A token for the user of this benchmark in a tenant."""
    login = {"Username": USER, "Password": PASSWORD}
    return str(call(port, "POST", "/rest/api/token", body=login, host=f"{tenant}.example.com")["access_token"])


@dataclass
class TwoTenants(Peer):
    """A server of two tenants, whose updates go to one or the other by the number of the customer."""

    second: str = ""

    def update(self, customer: int, body: bytes) -> bytes:
        return request(self.verb, self.record(customer), self.port, self.second if customer % 2 else self.token, body)


def with_tenant(peer: Peer, tenant: str) -> Peer:
    """The same server, for its own tenant and this one."""
    return TwoTenants(**vars(peer), second=log_in(peer.port, tenant))


def record_path(customer: int) -> str:
    """The path of one customer."""
    return f"/rest/api/Customers/{customer}"


def page_path(number: int) -> str:
    """The path of one page of fifty customers, newest first."""
    return f"/rest/api/Customers?pageSize=50&pageNumber={number}"


def filter_path(**filters: str | int) -> str:
    """The path of the first page of fifty customers that match."""
    return "/rest/api/Customers?" + urlencode({"pageSize": 50, **filters})


def page_of(peer: Peer, path: str) -> tuple[list[dict[str, Any]], int]:
    """The items of one page, and the total."""
    answer = call(peer.port, "GET", path, peer.token)
    return answer["Items"], answer["TotalResults"]


def ids_of(peer: Peer) -> list[int]:
    """Every customer's id: by the ends of the list when ids have no gaps, else page by page."""
    first, total = page_of(peer, page_path(1))
    pages = -(-total // 50)
    last, _ = page_of(peer, page_path(pages))
    highest, lowest = first[0]["UserID"], last[-1]["UserID"]
    if highest - lowest + 1 == total:
        return list(range(lowest, highest + 1))
    return [item["UserID"] for number in range(1, pages + 1) for item in page_of(peer, page_path(number))[0]]


def companies_of(peer: Peer) -> list[int]:
    """The ids of the companies a customer may belong to."""
    answer = call(peer.port, "GET", "/rest/api/Companies", peer.token)
    items = answer.get("Items", []) if isinstance(answer, dict) else answer
    return [value for item in items for key, value in item.items() if key.lower() in ("id", "companyid")]


def customers_of(peer: Peer, ids: list[int]) -> list[tuple[int, dict[str, Any]]]:
    """Customers as (id, members of the seed), read one by one over one connection."""
    connection = http.client.HTTPConnection(HOST, peer.port, timeout=60)
    headers = {"Authorization": f"Bearer {peer.token}"}
    found = []
    for customer in ids:
        connection.request("GET", record_path(customer), headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET {record_path(customer)}: {answer.status} {text[:500]!r}")
        found.append((customer, members_of(json.loads(text))))
    connection.close()
    return found


def members_of(whole: dict[str, Any]) -> dict[str, Any]:
    """The members of the seed out of a whole customer (contract §4.2, 'reads back as')."""
    general, internal = whole["General"], whole["Internal"]
    members = {name: whole[section][name] for section, names in READS_BACK.items() for name in names}
    for n in ("1", "2", "3"):
        at = "AccountManager" + n.replace("1", "")
        members |= {f"AccountManager{n}Id": internal[f"{at}Id"]}
        members |= {f"AccountManager{n}Commission": internal[f"{at}Commission"]}
    return members | {
        "BusinessName": general["CorporateName"],
        "IsWholesale": general["IsWholeSaleUser"],
        "CompanyId": internal["CompanyID"],
        "Salesman": internal["SalesMan"],
        "Comments": internal["Comment"],
        "Rating": internal["LocalRating"],
    }


def whole(peer: Peer, customer: int) -> dict[str, Any]:
    """One customer, whole."""
    found: dict[str, Any] = call(peer.port, "GET", record_path(customer), peer.token)
    return found


def change_rows(folder: Path) -> int:
    """How many changes the store has recorded that came through the API."""
    connection = sqlite3.connect(f"file:{store(folder)}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM changes WHERE door = 'api'").fetchone()[0])
    finally:
        connection.close()


def anonymous_memory(peer: Peer) -> float:
    """The anonymous memory of the server in megabytes (RssAnon), all its processes together."""
    kilobytes = 0
    for process in family(peer.process.pid):
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
        kilobytes += int(found[1]) if found else 0
    return kilobytes * 1024 / 1e6
