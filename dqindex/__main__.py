"""``python -m dqindex``."""

from dqindex.cli import main

main()
