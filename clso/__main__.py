"""`python -m clso`."""

from clso.cli import main

main()
