"""``mq9 doctor DIR``: what is damaged in a data directory, what it means, what to do; and the repair."""

from __future__ import annotations

import argparse
from pathlib import Path

from mq9_mcp.cli.connect import add_json, wants_json
from mq9_mcp.cli.exits import DAMAGED, FAILED, OK
from mq9_mcp.cli.parser import Parser, Run
from mq9_mcp.cli.printing import print_json
from mq9_mcp.cli.saying import fail
from mq9_mcp.domain.errors import Unavailable


def add(parser: Parser) -> Run:
    """The options of ``mq9 doctor``."""
    parser.epilog = f"Ends with {OK} if all is sound, {DAMAGED} if not, {FAILED} if it could not look."
    parser.add_argument("folder", metavar="DIR", type=Path, help="the data directory; no broker may have it")
    parser.add_argument(
        "--repair",
        action="store_true",
        default=False,
        help="mend it; what is replaced is kept in DIR/damaged-<time>",
    )
    parser.add_argument(
        "--owner", default="local", metavar="NAME", help="who gets mailboxes whose owner is lost (local)"
    )
    add_json(parser)
    return _run


def _run(chosen: argparse.Namespace) -> int:
    from mq9_mcp.engine.embedded.doctor import examine
    from mq9_mcp.engine.embedded.frame import Damaged, Newer
    from mq9_mcp.engine.embedded.prescription import written
    from mq9_mcp.engine.embedded.repair import Repaired, repair

    repaired: Repaired | None = None
    try:
        if chosen.repair:
            repaired = repair(chosen.folder, chosen.owner)
        report = repaired.after if repaired is not None else examine(chosen.folder)
    except FileNotFoundError as error:
        return fail(str(error), "name the directory that a broker was opened with")
    except Newer as error:
        return fail(str(error), "use that version's doctor")
    except Damaged as error:
        fail("nothing was changed", str(error))
        return DAMAGED
    except Unavailable as error:
        return fail(error.message, error.hint)
    except OSError as error:
        return fail(f"{error.filename or chosen.folder}: {error.strerror}", "nothing more was done")
    if wants_json(chosen):
        print_json(report.as_dict() | (repaired.as_dict() if repaired is not None else {}))
    else:
        print("\n".join(written(report, repaired)))
    return OK if report.sound else DAMAGED
