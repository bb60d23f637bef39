"""The command an MCP host will start says plainly that it is not there yet."""

import pytest

from mq9_mcp import bridge


def test_the_bridge_says_what_is_missing_and_what_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert bridge.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "MCP bridge" in err
    assert "mq9 demo" in err
