-- Statements of sessions. A session is gone, as if it had never been, when it was closed long enough ago.

-- name: make_session_changes
create or replace temp table session_changes (
    name varchar, fresh boolean, turns bigint, turns_max bigint, closed boolean, changed_at bigint,
    changed_seq bigint, mailboxes bigint[], senders varchar[], first_at bigint
)

-- name: make_sessions_merged
create or replace temp table sessions_merged (
    name varchar, turns bigint, turns_max bigint, closed boolean, changed_at bigint, changed_seq bigint,
    mailboxes bigint[], senders varchar[]
)

-- name: merge_sessions
insert into sessions_merged
select
    c.name, coalesce(s.turns, 0) + c.turns, coalesce(c.turns_max, s.turns_max, 0), c.closed,
    c.changed_at, c.changed_seq, list_distinct(list_concat(s.mailboxes, c.mailboxes)),
    list_distinct(list_concat(s.senders, c.senders))
from session_changes c left join sessions s on s.name = c.name and not c.fresh
    and c.first_at < s.changed_at + case when s.closed then $idle else 2 * $idle end

-- name: delete_merged
delete from sessions using session_changes c where sessions.name = c.name

-- name: insert_merged
insert into sessions select * from sessions_merged

-- name: forget_sessions
delete from sessions where changed_at + case when closed then $idle else 2 * $idle end <= $now

-- name: load_sessions
select name, turns, turns_max, changed_at, mailboxes, senders, closed from (
    select *, sum(1 + len(mailboxes) + len(senders)) over (order by changed_seq desc) places from sessions
) where places <= ? order by changed_seq

-- name: count_sessions
select count(*) from sessions

-- name: page_session
select name, turns, turns_max, changed_at, mailboxes, senders, closed from sessions where name = ?

-- name: session_taken_part
select
    coalesce(bool_or(b.owner = $principal), false),
    list(b.address order by b.address) filter (where b.owner = $principal)
from (select unnest(mailboxes) number from sessions where name = $session) s
join mailboxes b on b.number = s.number

-- name: session_seen
select
    count(*) filter (where m.letter is null and m.only_group is null),
    list(distinct b.address) filter (where b.owner = $principal or m.sender = $name)
from messages m join mailboxes b on b.number = m.mailbox
where m.session = $session or (m.session is null and m.id = $own)

-- name: session_messages
select
    m.id, m.mailbox, m.tier, m.visible_at, m.size, m.sender, m.position, m.expires_at, m.session, m.letter,
    m.only_group, m.body, b.address, t.task
from messages m join mailboxes b on b.number = m.mailbox left join task_messages t on t.message = m.id
where (m.session = $session or (m.session is null and m.id = $own))
    and (b.owner = $principal or m.sender = $name) and m.id > $after
order by m.id limit $limit

-- name: session_task_states
select after_message, happened_at, first, number, task, state, who, reason from (
    select e.*, t.first, lag(e.state) over (partition by e.task order by e.number) before
    from task_events e join tasks t on t.id = e.task
    where t.session = $session and (t.owner = $principal or t.principal = $principal)
        and (t.ended_at is null or t.ended_at > $kept)
)
where before is distinct from state
    and (after_message, happened_at, first, number) > ($after, $at, $first, $number)
order by after_message, happened_at, first, number limit $limit

-- name: session_page
select s.name, s.turns, s.turns_max, s.changed_at, s.mailboxes, s.senders, s.closed
from sessions s
where s.name > $cursor and s.changed_at + case when s.closed then $idle else 2 * $idle end > $now
    and ($since is null or s.changed_at >= $since)
    and ($sender is null or list_contains(s.senders, $sender))
    and ($number is null or list_contains(s.mailboxes, $number))
    and ($state is null or $state = case
        when s.closed or s.changed_at + $idle <= $now then 'closed'
        when s.turns >= coalesce(nullif(s.turns_max, 0), $turns_max) then 'halted'
        else 'open'
    end)
    and (list_contains(s.senders, $name) or s.name in (
        select o.name from (select name, unnest(mailboxes) number from sessions) o
        join mailboxes b on b.number = o.number where b.owner = $principal
    ))
order by s.name limit $limit
