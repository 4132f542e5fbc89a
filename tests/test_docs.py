"""What exists is documented, what is documented exists: pages are fresh, links lead somewhere, commands can be run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import generate_docs
import pytest

from regulars.cli import demo_text, main
from regulars.errors import RegularsError
from regulars.fields import fields_of
from regulars.http.messages import STATUS
from regulars.http.routes import ALIASES, ROUTES, Router
from regulars.record import Tenant
from regulars.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GENERATED = generate_docs.pages()
OTHER_PROGRAMS = {
    *("curl", "export", "python3", "~/regulars/bin/pip"),
    *("sqlite3", "psql", "createdb", "pg_dump", "pg_restore"),
}
"""What examples call besides `make`, `scripts/…` and `regulars`."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# ---- generated pages


@pytest.mark.parametrize("path", GENERATED, ids=name_of)
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.read_text("utf-8") == GENERATED[path], f"{name_of(path)} is stale; write it again: make docs"


def test_every_setting_is_documented() -> None:
    page = read("docs/settings.md")
    for one in fields(Settings):
        assert f"`{one.name}`" in page
        assert f"`{PREFIX}{one.name.upper()}`" in page
        assert one.metadata["help"] in page
    for name, spec in fields_of(Tenant).items():
        if spec.type is bool:
            assert f"`{name}`" in page


def test_every_route_is_documented() -> None:
    page = read("docs/api.md")
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in page
        assert f"### {route.name}\n" in page
        assert route.summary in page


def test_every_command_is_documented() -> None:
    page = read("docs/commands.md")
    for path, one in generate_docs.commands(main):
        assert f"## regulars {' '.join(path)}\n" in page
        for option in (parameter for parameter in one.params if isinstance(parameter, click.Option)):
            assert f"`{option.opts[0]}`" in page
            assert option.help, f"regulars {' '.join(path)} {option.opts[0]} has no help"


def test_every_error_is_documented() -> None:
    page = read("docs/api.md")
    for kind in RegularsError.__subclasses__():
        assert f"`{kind.code}`" in page, f"{kind.__name__} is not in docs/api.md"
        if kind in STATUS:
            assert f"| {STATUS[kind]} | `{kind.code}` |" in page


def test_every_body_is_documented() -> None:
    page = read("docs/api.md")
    for route in ROUTES:
        assert not re.search(rf"^A `{route.body}`\.$", page, re.M), f"generate_docs knows no body {route.body}"


# ---- links


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.is_file(), f"{name_of(path)}: {target} leads nowhere"
        assert not anchor or anchor in anchors(found), f"{name_of(path)}: {target} has no such heading"


def test_every_page_can_be_reached() -> None:
    linked = {"README.md"}
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s#]+)", without_code(path.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", target):
                linked.add(name_of((path.parent / target).resolve()))
    assert {name_of(path) for path in PAGES} <= linked


# ---- examples


def lines(text: str) -> Iterator[str]:
    """The commands of a page's shell examples, each in one line."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M):
        yield from filter(None, (line.strip() for line in block.replace("\\\n", " ").splitlines()))


def examples() -> Iterator[tuple[str, str]]:
    for path in PAGES:
        for line in lines(path.read_text("utf-8")):
            yield name_of(path), line


def test_the_readme_shows_what_the_demo_prints() -> None:
    printed = list(lines(f"```sh\n{demo_text(8080).partition('In another terminal:')[2]}```"))
    shown = set(lines(read("README.md")))
    assert [line for line in printed if line.startswith(("TOKEN=", "curl ")) and line not in shown] == []


def call(words: list[str]) -> None:
    """Fail unless `regulars` takes these words."""
    command: click.Command = main
    context = click.Context(main, info_name="regulars")
    while isinstance(command, click.Group):
        assert words, "a command is missing"
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    command.make_context(command.name, list(words), parent=context)


@pytest.mark.parametrize(("page", "line"), sorted(set(examples())))
def test_an_example_can_be_run(page: str, line: str) -> None:
    inner = re.match(r"\w+=\$\((.*)\)$", line)
    words = shlex.split(inner[1] if inner else line, comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    program = words.pop(0).removeprefix(".venv/bin/")
    if program == "make":
        for target in words:
            assert re.search(rf"^{target}:|^\.PHONY:.*\b{target}\b", read("Makefile"), re.M)
            assert (ROOT / "scripts" / target).is_file()
    elif program.startswith("scripts/"):
        assert (ROOT / program).is_file()
    elif program == "regulars":
        call(words)
    else:
        assert program in OTHER_PROGRAMS
    if program == "curl":
        follow(words)


def follow(words: list[str]) -> None:
    """Fail unless the server has the route that curl is told to call."""
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if "-d" in words else "GET"
    url = next(word for word in words if word.startswith("http://"))
    path = re.sub(r"^http://[^/]+", "", url).partition("?")[0]
    for short, long in ALIASES.items():
        path = re.sub(f"^{short}", long, path)
    assert method in Router(ROUTES).find(path)[0]
