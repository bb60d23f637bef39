-- Statements that rebuild the state at start.

-- name: load_mailboxes
select
    m.number, m.address, m.owner, m.description, m.settings, m.created_at, m.expires_at, m.agent,
    coalesce(s.settled, 0), coalesce(s.bytes, 0), s.since
from mailboxes m
left join (
    select mailbox, count(*) settled, sum(size)::bigint bytes, min(ended_at) since
    from messages where ended_seq is not null group by mailbox
) s on s.mailbox = m.number
order by m.number

-- name: load_groups
select
    number, mailbox, name, start_id, start_at, seen_at, history_through, history_tier, history_visible_at,
    history_id
from groups order by number

-- name: load_messages
select
    id, mailbox, tier, visible_at, size, sender, position, expires_at, session, tags, state_key, only_group,
    letter, delayed, outside, ending
from messages where ended_seq is null order by visible_at, id

-- name: load_settled_once
select d.grp, d.message from deliveries d join messages m on m.id = d.message where m.ended_seq is null

-- name: load_open
select
    grp, message, state, attempts, fence, secret, until, worker, principal, lapsed, first_at, last_at,
    reason, past
from open_deliveries order by message

-- name: load_keys
select mailbox, key, message, sent_at, digest, session, task, coalesce(parked, false) from dedup_keys
order by sent_at, message limit ?
offset greatest(0, (select count(*) from dedup_keys) - ?)

-- name: count_keys
select mailbox, count(distinct key) from dedup_keys group by mailbox
