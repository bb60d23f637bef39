"""Generated calls against a live server: no fault, and every answer is one that the document describes.

``MQ9_EXAMPLES`` asks for so many calls of each operation, and for every case that the document defines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mq9_mcp.doors.rest.openapi import as_dict
from tests.serve.process import serving

EXAMPLES = int(os.environ.get("MQ9_EXAMPLES", "5"))
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": "MQ9_EXAMPLES" in os.environ}}})
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(as_dict(), config=CONFIG).exclude(operation_id="events")  # has no end


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("generated") / "data") as server:
        yield server.url


@SCHEMA.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
def test_any_call_is_answered_as_described(case: schemathesis.Case[Any], url: str) -> None:
    _hurry(case.body)
    case.call_and_validate(base_url=url, checks=CHECKS, timeout=60)


def _hurry(body: Any) -> None:
    """A call that would wait for nothing does so only for a moment."""
    if isinstance(body, dict) and isinstance(wait_s := body.get("wait_s"), int | float) and 0 < wait_s <= 50:
        body["wait_s"] = 0.01
