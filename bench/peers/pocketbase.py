"""PocketBase with its defaults: one collection, a field for each field of the seed, for logged-in users only.

Its defaults do not flush an update to the disk before answering, and keep no history; Regulars does both.
"""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.load import HOST, Connections, request
from bench.peers import Peer, call, free_port, launch, program

EMAIL, PASSWORD = "bench@example.com", "a long enough password"
TEXTS = ("Title", "Name", "EmailCC", "BusinessName", "SourceId", "Salesman", "Comments")
PHONES = ("Phone1", "Phone2", "Phone3", "Mobile", "Fax")
NUMBERS = (
    "CompanyId",
    "Rating",
    *(f"AccountManager{n}{what}" for n in (1, 2, 3) for what in ("Id", "Commission")),
)
LOGGED_IN = '@request.auth.id != ""'
LOAD_SECONDS = 120


def start(folder: Path) -> Peer:
    """Start PocketBase on an empty folder, make the collection and a user, and log in."""
    command = program("pocketbase")
    if command is None:
        raise RuntimeError("pocketbase is not installed: pip install -r bench/requirements.txt")
    port = free_port()
    paths = [f"--{name}Dir={folder / name}" for name in ("migrations", "hooks", "public")] + [
        f"--dir={folder / 'data'}"
    ]
    folder.mkdir(parents=True)
    make_superuser = [str(command), "superuser", "upsert", EMAIL, PASSWORD, *paths]
    subprocess.run(make_superuser, check=True, capture_output=True, timeout=60)
    serve = [str(command), "serve", f"--http={HOST}:{port}", *paths]
    process = launch(serve, port, "/api/health", folder / "log.txt", {})
    peer = Peer("PocketBase", process, port, "", "PATCH", record_path, page_path)
    try:
        admin = log_in(port, "_superusers")
        make_collection(port, admin)
        user = {"email": EMAIL, "password": PASSWORD, "passwordConfirm": PASSWORD, "verified": True}
        call(port, "POST", "/api/collections/users/records", admin, user)
        peer.token = log_in(port, "users")
    except BaseException:
        peer.stop()
        raise
    return peer


def record_path(customer: int) -> str:
    """The path of one customer; PocketBase's ids have fifteen characters."""
    return f"/api/collections/customers/records/{customer:015d}"


def page_path(number: int) -> str:
    """The path of one page of fifty customers, with the total, as the default is."""
    return f"/api/collections/customers/records?perPage=50&page={number}"


def log_in(port: int, collection: str) -> str:
    """A token for the user of this benchmark."""
    path = f"/api/collections/{collection}/auth-with-password"
    return str(call(port, "POST", path, body={"identity": EMAIL, "password": PASSWORD})["token"])


def make_collection(port: int, admin: str) -> None:
    """Make the collection: one field for each field of the seed."""
    fields = [{"name": name, "type": "text"} for name in TEXTS + PHONES]
    fields += [{"name": name, "type": "number"} for name in NUMBERS]
    fields += [
        {"name": "Email", "type": "email"},
        {"name": "IsWholesale", "type": "bool"},
        {"name": "BusinessAliases", "type": "json"},
    ]
    rules = dict.fromkeys(("listRule", "viewRule", "updateRule"), LOGGED_IN)
    call(
        port,
        "POST",
        "/api/collections",
        admin,
        {"name": "customers", "type": "base", "fields": fields} | rules,
    )


def fill(peer: Peer, customers: Iterable[tuple[int, dict[str, Any]]]) -> None:
    """Load customers, given as (id, members of the seed)."""
    admin = log_in(peer.port, "_superusers")
    rows = [
        request(
            "POST",
            "/api/collections/customers/records",
            peer.port,
            admin,
            json.dumps(members | {"id": f"{customer:015d}"}).encode(),
        )
        for customer, members in customers
    ]
    with Connections(peer.port, 16) as connections:
        done = connections.run(rows, LOAD_SECONDS).answers
    if done != len(rows):
        raise RuntimeError(f"PocketBase took only {done} of {len(rows)} customers in {LOAD_SECONDS} s")
