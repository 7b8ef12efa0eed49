"""``python -m dqindex.cli``."""

from dqindex.cli import main

main()
