"""Every limit of the broker, once: its value, its unit and the reason for it.

Code reads the constants; the reference page and the tests at the edges read ``LIMITS``.
"""

from __future__ import annotations

from typing import NamedTuple


class Limit(NamedTuple):
    """A named bound. ``per_mailbox`` marks a default that ``mailbox_create`` may set otherwise."""

    value: int
    unit: str
    reason: str
    per_mailbox: bool = False


KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
DAY = 86_400

LIMITS: dict[str, Limit] = {
    # one message, one call
    "message_bytes_max": Limit(MIB, "bytes", "A message is words and references; files travel by url."),
    "request_bytes_max": Limit(16 * MIB, "bytes", "One call is held in memory as a whole."),
    "batch_messages_max": Limit(1_000, "messages", "A batch is one commit; larger ones delay everybody's."),
    "fetch_messages_max": Limit(1_000, "messages", "A reply that a worker can finish within one lease."),
    "fetch_bytes_max": Limit(4 * MIB, "bytes", "A reply that any host can take in one piece."),
    "fetch_mailboxes_max": Limit(
        16, "mailboxes", "An inbox and some team queues; each is looked at in turn."
    ),
    "ack_items_max": Limit(1_000, "items", "What one fetch can hand out, one call can settle."),
    "parts_max": Limit(64, "parts", "Each part is checked on its own."),
    "tags_max": Limit(16, "tags", "Tags are indexed in memory."),
    "tag_characters_max": Limit(64, "characters", "A tag is a word, not a text."),
    "metadata_bytes_max": Limit(16 * KIB, "bytes", "Metadata rides with every delivery."),
    "nesting_max": Limit(64, "levels", "Deeper JSON is an attack on parsers, not data."),
    "number_digits_max": Limit(
        4_300, "digits", "Longer integers are refused by most JSON readers, Python's too."
    ),
    "address_characters_max": Limit(
        96, "characters", "Fits a file name, a DNS name part and a screen column."
    ),
    "name_characters_max": Limit(96, "characters", "Groups and workers are named by people."),
    "key_characters_max": Limit(256, "characters", "Keys are kept in memory while they count."),
    "session_characters_max": Limit(128, "characters", "Holds any UUID or A2A contextId in use."),
    "reason_characters_max": Limit(256, "characters", "A reason is a word to count by."),
    "description_characters_max": Limit(
        2_000, "characters", "A paragraph for people; payloads go into parts."
    ),
    "trace_characters_max": Limit(512, "characters", "The bound that W3C Trace Context gives tracestate."),
    "query_limit_max": Limit(100, "messages", "A page for a screen or a model's context."),
    "query_limit_default": Limit(20, "messages", "A page that a person reads."),
    "session_limit_default": Limit(50, "entries", "A conversation on one screen."),
    "remaining_max": Limit(1_000, "messages", "Above it the exact number changes no decision."),
    # time
    "wait_s_max": Limit(50, "seconds", "Below the 60 s at which common hosts cut a call."),
    "lease_s_default": Limit(300, "seconds", "A model's turn with tools fits in it; heartbeats extend it."),
    "lease_s_max": Limit(43_200, "seconds", "Half a day, as with SQS; longer work extends."),
    "restart_lease_s": Limit(30, "seconds", "A worker gets time to find the broker again after a restart."),
    "delay_s_max": Limit(3_650 * DAY, "seconds", "Ten years: beyond it a date is a typing error."),
    "nack_delay_s_max": Limit(43_200, "seconds", "As long as the longest lease."),
    "group_idle_s": Limit(7 * DAY, "seconds", "A mistyped group name holds mail no longer than this."),
    "presence_s": Limit(120, "seconds", "Two heartbeats a minute may go astray before an agent is missed."),
    # agents
    "agents_max": Limit(10_000, "agents", "Cards are in memory; discovery looks at each of them."),
    "card_bytes_max": Limit(64 * KIB, "bytes", "A card is in memory and rides with every discovery."),
    "card_skills_max": Limit(128, "skills", "More is several agents; each skill is matched on its own."),
    "card_label_characters_max": Limit(256, "characters", "Names of agents and skills are read in lists."),
    "url_characters_max": Limit(2_048, "characters", "Longer ones are cut by proxies on the way."),
    "card_fetch_s": Limit(10, "seconds", "Whoever registers by card_url waits for it."),
    "card_fetch_bytes_max": Limit(256 * KIB, "bytes", "A card of full size with its line breaks."),
    "card_fetches_max": Limit(8, "fetches", "What callers name must not keep the broker busy; others wait."),
    "card_redirects_max": Limit(3, "redirects", "To https, to www and to the right path; more is a loop."),
    "mcp_arguments_max": Limit(64, "arguments", "A command line that a person can still read."),
    "mcp_argument_characters_max": Limit(4 * KIB, "characters", "Paths and short JSON fit in it."),
    "mcp_start_s": Limit(30, "seconds", "Whoever registers an MCP server waits until it tells its tools."),
    "mcp_starts_max": Limit(8, "starts", "What callers name must not keep the broker busy; others wait."),
    "skill_tags_max": Limit(32, "tags a skill", "Cards from elsewhere have more tags than messages."),
    "skill_examples_max": Limit(64, "examples a skill", "Beyond it examples do not find better."),
    "learnt_requests_max": Limit(
        150, "requests an agent", "What was done of late; more examples find hardly better."
    ),
    "learnt_asker_requests_max": Limit(
        24,
        "requests of one asker",
        "One asker takes no more of the room while others want it.",
    ),
    "learnt_request_characters_max": Limit(
        1_000, "characters", "A model reads the first 256 pieces of words."
    ),
    "outcomes_max": Limit(200, "ended tasks an agent", "How it did of late, not long ago."),
    "discover_text_characters_max": Limit(
        2_000, "characters", "A request in words; a paragraph describes any."
    ),
    "intent_text_characters_max": Limit(
        8_000, "characters", "A model reads the first 256 pieces of words; the work itself goes into parts."
    ),
    "parked_messages_max": Limit(
        10_000, "messages", "Each is in memory with its intent, and compared with every new agent."
    ),
    "parked_per_sender_max": Limit(
        1_000, "messages a sender", "Nobody's work without a taker keeps the work of others out."
    ),
    "parked_ttl_s": Limit(DAY, "seconds", "Work that nobody could do for a day is told to who asked for it."),
    "discover_bytes_max": Limit(MIB, "bytes", "A page of cards that a model's host takes in one piece."),
    "session_idle_s": Limit(
        30 * DAY, "seconds", "A conversation that rests for a month is over; its name is known as long again."
    ),
    # push
    "push_post_s": Limit(15, "seconds", "A receiver takes an event in and works on it afterwards."),
    "push_backoff_first_s": Limit(1, "seconds", "A receiver that restarts is soon back; each wait doubles."),
    "push_backoff_max_s": Limit(600, "seconds", "A receiver that is back hears within ten minutes."),
    "push_failing_s": Limit(
        DAY, "seconds", "A receiver gets a night and a morning to come back before it is given up."
    ),
    "push_tries_min": Limit(
        8, "tries", "A broker that was away for a day itself tries again before it gives a receiver up."
    ),
    "push_posts_max": Limit(64, "posts", "What callers name must not keep the broker busy; others wait."),
    "push_host_posts_max": Limit(
        16, "posts a host", "A slow receiver must not take the turns of all others."
    ),
    "push_secret_characters_max": Limit(4_096, "characters", "Holds the longest signed tokens in use."),
    "pushes_max": Limit(16, "push targets a task", "Each event is posted once for every one of them."),
    # memory and counts
    "turns_max": Limit(
        1_000, "messages a session", "Two agents that answer each other for ever are stopped."
    ),
    "turns_max_most": Limit(
        1_000_000, "messages a session", "What session_reopen may raise turns_max to; more is a feed."
    ),
    "session_places_in_memory": Limit(
        1_000_000,
        "places",
        "A session and each of its mailboxes and senders take one; older sessions are looked up in DuckDB.",
    ),
    "groups_max": Limit(256, "groups a mailbox", "Each group adds a place to every send."),
    "dedup_keys_in_memory": Limit(2_000_000, "keys", "About 500 MB; older keys are looked up in DuckDB."),
    "past_leases_max": Limit(
        16, "leases a message", "Enough for every lost reply of one message's attempts."
    ),
    "checkpoint_bytes_max": Limit(256 * KIB, "bytes", "A place to go on from; the work itself is elsewhere."),
    "task_artifacts_max": Limit(1_000, "pieces a task", "Each is found by its place, which memory holds."),
    "task_artifacts_bytes_max": Limit(16 * MIB, "bytes a task", "One call shows a task with all of them."),
    "follow_ups_max": Limit(1_000, "messages a task", "A worker reads them all at once with its next lease."),
    "ended_tasks_in_memory": Limit(
        1_000, "tasks", "Who waits for a task sees its end at once; later DuckDB tells."
    ),
    "task_retention_s": Limit(7 * DAY, "seconds", "A week to ask what became of a task."),
    "past_names_max": Limit(
        10_000, "names", "Events name mailboxes and groups that ended lately, to readers a little behind."
    ),
    "history_page": Limit(
        256, "messages", "Settled mail that a new group reads again, brought in at a time."
    ),
    "redrive_max": Limit(1_000, "letters a call", "One commit; the reply says how many remain."),
    "redrive_rate_max": Limit(10_000, "letters a second", "Above it there is no rate to speak of."),
    # defaults that a mailbox may set otherwise
    "max_attempts": Limit(
        5, "attempts", "Enough for a passing fault, few enough to spare a poisoned one.", True
    ),
    "backoff_first_s": Limit(
        1, "seconds", "The first retry is soon; each later one waits twice as long.", True
    ),
    "backoff_max_s": Limit(300, "seconds", "A worker that is back finds its mail within five minutes.", True),
    "dedup_window_s": Limit(600, "seconds", "Longer than any client retries one call.", True),
    "retention_age_s": Limit(7 * DAY, "seconds", "A week to look back, replay or audit.", True),
    "retention_bytes": Limit(GIB, "bytes", "Settled mail never fills the disk.", True),
    "messages_max": Limit(1_000_000, "messages", "A reader that is gone must not fill the memory.", True),
    "bytes_max": Limit(GIB, "bytes", "A reader that is gone must not fill the disk.", True),
}


def limit(name: str) -> int:
    """The value of the limit ``name``."""
    return LIMITS[name].value


NESTING_MAX = limit("nesting_max")
REMAINING_MAX = limit("remaining_max")
