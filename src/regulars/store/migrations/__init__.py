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
