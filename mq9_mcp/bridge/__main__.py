"""``python -m mq9_mcp.bridge``: the same as ``mq9-mcp``."""

import sys

from mq9_mcp.bridge.main import main

sys.exit(main())
