"""The numbered list of migrations: the written history of the declarations. Never edit one that was released."""

from importlib.resources import files


class Schema(Exception):
    """The store is not of the version that this program works with; the text says which command to run."""


def migrations(database: str) -> list[tuple[int, str]]:
    """The migrations of one kind of database in order: (number, SQL)."""
    found = sorted(
        (int(file.name.removesuffix(".sql").rsplit("_", 1)[1]), file.read_text("utf-8"))
        for file in files(__name__).iterdir()
        if file.name.startswith(f"{database}_")
    )
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return found


def lacking(database: str, version: int, url: str) -> list[tuple[int, str]]:
    """The migrations that a store of this version lacks. Raises `Schema` when it is newer than this program."""
    known = migrations(database)
    if version > len(known):
        raise Schema(
            f"{url} has schema {version}, this regulars knows up to {len(known)}. "
            "Install a newer regulars: pip install --upgrade regulars"
        )
    return known[version:]


def check(database: str, version: int, url: str) -> None:
    """Raise `Schema` unless a store is of the version that this program works with."""
    if missing := lacking(database, version, url):
        raise Schema(
            f"{url} has schema {version}, this regulars needs {missing[-1][0]}. "
            f"{'Upgrade' if version else 'Create'} it: regulars {'migrate' if version else 'init'} --store {url}"
        )
