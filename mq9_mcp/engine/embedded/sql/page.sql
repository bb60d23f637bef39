-- Statements that bring in what memory does not hold.

-- name: history_size
select count(*), coalesce(sum(size), 0)
from messages
where mailbox = $mailbox and ended_seq <= $through and ending is null and not delayed
    and (only_group is null) and (id >= $start_id or visible_at > $start_at)
    and (case when $ordered then (0, 0, id) else (tier::bigint, visible_at, id) end)
        > ($tier::bigint, $visible_at::bigint, $id::bigint)

-- name: history_page
select
    id, mailbox, tier, visible_at, size, sender, position, expires_at, session, tags, state_key, letter
from messages
where mailbox = $mailbox and ended_seq <= $through and ending is null and not delayed
    and (only_group is null) and (id >= $start_id or visible_at > $start_at)
    and (case when $ordered then (0, 0, id) else (tier::bigint, visible_at, id) end)
        > ($tier::bigint, $visible_at::bigint, $id::bigint)
order by case when $ordered then (0, 0, id) else (tier::bigint, visible_at, id) end
limit $page

-- name: page_message
select mailbox, sender, session, body, (select task from task_messages where message = $1 limit 1)
from messages where id = $1

-- name: page_delivery
select secret, state, outcome, attempts, principal, receipts
from deliveries where grp = ? and message = ? order by settled_at desc limit 1

-- name: page_key
select message, sent_at, digest, session, task, coalesce(parked, false) from dedup_keys
where mailbox = ? and key = ? order by message desc limit 1

-- name: page_settled
select id, size, ended_seq, tier, visible_at, ending is null and not delayed and only_group is null
from messages
where mailbox = ? and ended_seq is not null and id between ? and ? and list_contains(?, id)

-- name: page_bodies
select id, body from messages where id between ? and ? and list_contains(?, id)

-- name: prune_by_age
select coalesce(max(ended_seq), 0) from messages where mailbox = ? and ended_at <= ?

-- name: prune_by_bytes
select coalesce(max(ended_seq), 0) from (
    select ended_seq, sum(size) over (order by ended_seq desc, id desc) held
    from messages where mailbox = ? and ended_seq is not null
) where held > ?

-- name: prune_size
select count(*), coalesce(sum(size), 0)::bigint from messages where mailbox = ? and ended_seq <= ?

-- name: prune_oldest
select min(ended_at) from messages where mailbox = ? and ended_seq > ?

-- name: standing
select d.state from deliveries d join groups g on g.number = d.grp
where g.name = 'default' and d.message = ?

-- name: standing_message
select ending, ended_seq is not null from messages where id = ?

-- name: reply_to_message
select min(id) from messages where in_reply_to = ? and id > ?

-- name: page_copies
select
    m.id, m.mailbox, m.tier, m.visible_at, m.size, m.sender, m.position, m.expires_at, m.session, m.letter,
    m.only_group, m.body, b.address, t.task
from messages m join mailboxes b on b.number = m.mailbox left join task_messages t on t.message = m.id
where m.id between ? and ? and list_contains(?, m.id) order by m.id
