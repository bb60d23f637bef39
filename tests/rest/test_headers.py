"""mq9's headers on a send: each stands for one argument, a bad value is refused by the header's name."""

from __future__ import annotations

import json
from pathlib import Path

from tests.rest.site import Site, error_of, run_site

NOTE = json.dumps({"to": "box", "text": "x"}).encode()


def test_every_header_is_its_argument(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        headers = {
            "mq9_key": "invoice-7",
            "mq9_tags": "red, dark blue",
            "mq9_delay": "60",
            "mq9_ttl": "0.5",
            "mq9_priority": "urgent",
        }
        answer = await site.post("mailbox_send", NOTE, **headers)
        assert answer.status_code == 200, answer.text
        again = await site.post("mailbox_send", NOTE, mq9_key="invoice-7")
        assert again.json()["receipts"][0]["duplicate"]
        [message] = (await site.call("mailbox_query", mailbox="box"))["messages"]
        assert (message["dedup_key"], message["tags"], message["priority"]) == (
            "invoice-7",
            ["red", "dark blue"],
            "urgent",
        )
        assert (message["deliver_at"], message["expires_at"]) == (
            "2027-01-15T08:01:00.000Z",
            "2027-01-15T08:01:00.500Z",
        )

    run_site(body, tmp_path, "box")


def test_tags_in_two_headers_are_one_list(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        headers = [("content-type", "application/json"), ("mq9-tags", "red"), ("mq9-tags", "blue")]
        answer = await site.client.post("/v1/mailbox_send", content=NOTE, headers=headers)
        assert answer.status_code == 200, answer.text
        [message] = (await site.call("mailbox_query", mailbox="box"))["messages"]
        assert message["tags"] == ["red", "blue"]

    run_site(body, tmp_path, "box")


BAD_VALUES = [
    ("mq9-key", "", "mq9-key: 0 characters; expected"),
    ("mq9-key", "x" * 257, "mq9-key: 257 characters; expected"),
    ("mq9-tags", "", "mq9-tags[0]: 0 characters; expected"),
    ("mq9-tags", "red,,blue", "mq9-tags[1]: 0 characters; expected"),
    ("mq9-tags", ",".join("abcdefghijklmnopq"), "mq9-tags: 17 items; expected"),
    ("mq9-delay", "soon", "mq9-delay: 'soon'; accepted: a number of seconds"),
    ("mq9-delay", "-1", "mq9-delay: '-1'; accepted: a number of seconds"),
    ("mq9-delay", "nan", "mq9-delay: 'nan'; accepted: a number of seconds"),
    ("mq9-delay", "999999999999", "mq9-delay: 999999999999.0; accepted"),
    ("mq9-ttl", "1e3", "mq9-ttl: '1e3'; accepted: a number of seconds"),
    ("mq9-ttl", "0", "mq9-ttl: 0.0; accepted"),
    ("mq9-priority", "high", "mq9-priority: 'high'; accepted: critical, normal, urgent"),
    ("mq9-prio", "urgent", "mq9-prio: unknown; accepted: mq9-key, mq9-tags"),
]


def test_a_bad_value_is_refused_by_the_header(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        for header, value, message in BAD_VALUES:
            answer = await site.post("mailbox_send", NOTE, **{header: value})
            assert error_of(answer, 400).startswith(message)

    run_site(body, tmp_path, "box")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        headers = [(b"content-type", b"application/json"), (b"mq9-key", b"\xff")]
        answer = await site.client.post("/v1/mailbox_send", content=NOTE, headers=headers)
        assert error_of(answer, 400) == "mq9-key: not UTF-8; accepted: text in UTF-8"

    run_site(body, tmp_path, "box")


def test_a_header_beside_the_argument_is_refused(tmp_path: Path) -> None:
    async def body(site: Site) -> None:
        both = json.dumps({"to": "box", "text": "x", "priority": "normal"}).encode()
        message = error_of(await site.post("mailbox_send", both, mq9_priority="urgent"), 400)
        assert message == "mq9-priority: the body has priority too; accepted: one of the two"
        several = json.dumps({"messages": [{"to": "box", "text": "x"}]}).encode()
        message = error_of(await site.post("mailbox_send", several, mq9_key="k"), 400)
        assert message == "mq9-key: stands beside messages; accepted: with one message only"
        twice = [("content-type", "application/json"), ("mq9-key", "a"), ("mq9-key", "b")]
        answer = await site.client.post("/v1/mailbox_send", content=NOTE, headers=twice)
        assert error_of(answer, 400) == "mq9-key: stands twice; accepted: once"
        message = error_of(await site.post("mailbox_fetch", mq9_delay="1"), 400)
        assert message == "mq9-delay: mailbox_fetch takes no such header; mailbox_send does"
        assert (await site.call("mailbox_query", mailbox="box"))["messages"] == []

    run_site(body, tmp_path, "box")
