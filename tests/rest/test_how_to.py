"""The curl lines of the how-to page do what the page says; what it shows has the shape of what comes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.docs.markdown import fences
from tests.house.source import ROOT
from tests.serve.process import serving

PAGE = ROOT / "docs" / "how-to" / "call-over-http.md"
HERE = "http://127.0.0.1:9009"
EVENTS = "curl -sN "


def shape(value: Any) -> Any:
    """Names and kinds, without the values."""
    if isinstance(value, dict):
        return {name: shape(child) for name, child in value.items()}
    if isinstance(value, list):
        return [shape(child) for child in value]
    return type(value).__name__


def test_the_curl_lines_do_what_the_page_says(tmp_path: Path) -> None:
    code = [one for one in fences(PAGE.read_text(encoding="utf-8")) if one.language in ("sh", "json")]
    told, streams = "", []
    environment = dict(os.environ)
    with serving(tmp_path / "data") as server:
        for one in code:
            if one.language == "json":
                found = json.loads(told.splitlines()[-1])
                assert shape(found) == shape(json.loads(one.text)), one.line
                continue
            line = one.text.replace(HERE, server.url).replace(EVENTS, f"{EVENTS}--max-time 1 ")
            line = re.sub(r"^curl -s (.*)", r"curl -s -w '\\n' \1", line, flags=re.MULTILINE)
            told = subprocess.run(
                ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=60
            ).stdout
            assert told, one.line
            if EVENTS in one.text:
                streams.append(told)
            if lease := re.search(r'"lease":"([^"]+)"', told):
                environment["LEASE"] = lease[1]
    events, task = streams
    kinds = re.findall(r'"event":"(\w+)"', events)
    assert kinds[:3] == ["mailbox_created", "mailbox_created", "sent"]
    assert {"leased", "acked"} <= {*kinds}
    assert '"state":"submitted"' in task
