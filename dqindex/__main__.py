"""``python -m dqindex``; and, run by its path, what is handed to ``spark-submit``."""

import sys
from pathlib import Path

# Its folder is then where libraries are looked for first, and ours would hide those of their names.
if sys.path and Path(sys.path[0]) == Path(__file__).parent:
    del sys.path[0]

from dqindex.cli import main

main()
