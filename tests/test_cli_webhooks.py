"""The commands on webhooks, and `regulars listen` as a process."""

import signal
import subprocess
import sys
from pathlib import Path

from conftest import BOTH, new_store
from processes import make_book
from receiver import Receiver
from test_cli import call, table

URL = "https://shop.example.com/hook"


def test_endpoints_are_added_listed_changed_and_removed(book: str) -> None:
    call("init", "--tenant", "acme", "--user", "ann@example.com", store=book)
    add = ("webhooks", "add", URL, "--events", "customer.updated", "--members", "email, fax", "--description", "Shop")
    [added] = table(call(*add, store=book))
    assert (added["Events"], added["Members"], added["Enabled"]) == ("customer.updated", "Email, Fax", "yes")
    assert added.pop("Secret").startswith("whsec_")
    assert table(call("webhooks", "list", store=book)) == [added]
    [changed] = table(call("webhooks", "set", "1", "--members", "", "--no-enabled", store=book))
    assert changed == added | {"Members": "", "Enabled": "no", "Version": "2"}
    [rotated] = table(call("webhooks", "rotate", "1", store=book))
    assert rotated["Secret"].startswith("whsec_") and rotated["OldSecretUntil"]
    assert "None yet" in call("webhooks", "log", "1", store=book).output
    call("webhooks", "remove", "1", store=book)
    assert "None yet" in call("webhooks", "list", store=book).output


def test_what_is_wrong_is_said(book: str) -> None:
    call("init", "--tenant", "acme", "--user", "ann@example.com", store=book)
    for arguments, said in (
        (("add", "http://10.0.0.1/"), "Expected a public address"),
        (("add", URL, "--events", "x"), "Expected some of customer.created"),
        (("set", "7", "--enabled"), "There is no webhook endpoint 7"),
        (("log", "7"), "There is no webhook endpoint 7"),
        (("resend", "7", "1"), "There is no webhook endpoint 7"),
        (("remove", "7"), "There is no webhook endpoint 7"),
    ):
        assert said in call("webhooks", *arguments, store=book, ok=False).output
    call("webhooks", "add", "http://10.0.0.1/", "--webhook-allow-private", store=book)
    assert "came past, got 99" in call("webhooks", "resend", "1", "99", store=book, ok=False).output
    listen = ("listen", "--forward-to", "http://127.0.0.1:1/")
    assert "expected whsec_" in call(*listen, "--secret", "whsec_AAAA", store=book, ok=False).output


def test_listen_forwards_what_comes_and_says_where_it_stopped(tmp_path: Path) -> None:
    with new_store(BOTH[0], tmp_path) as url, Receiver() as receiver:
        make_book(url, 3)
        command = [sys.executable, "-m", "regulars", "listen", "--store", url, "--forward-to", receiver.url()]
        receiver.script = lambda request: "fail" if request.data["ID"] == 2 else "ok"
        with subprocess.Popen([*command, "--after", "0"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            secret = process.stdout.readline().removeprefix("Secret: ").strip()
            told = receiver.wait_for(3)
            assert [one.verify(secret)["data"]["ID"] for one in told] == [1, 2, 3]
            lines = [process.stdout.readline().split("\t") for _ in range(3)]
            assert [line[:2] for line in lines] == [[str(number), "customer.created"] for number in (1, 2, 3)]
            assert lines[1][3].startswith("500 in ") and lines[2][3].startswith("204 in ")
            call("sample", "--customers", "1", "--seed", "2", store=url)
            assert receiver.wait_for(4)[3].data["ID"] == 4
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.stdout.read() == "Stopped. To go on from here: --after 4\n"
        assert process.returncode == 0
