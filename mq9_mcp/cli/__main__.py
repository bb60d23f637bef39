"""``python -m mq9_mcp.cli`` is ``mq9``."""

import sys

from mq9_mcp.cli import main

if __name__ == "__main__":
    sys.exit(main())
