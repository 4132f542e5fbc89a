"""`python -m regulars` is the command `regulars`."""

from regulars.cli import main

main()
