-- Statements of the doctor: what does not fit together in the tables, and what is done about it.

-- name: twice
select 'messages', count(*) - count(distinct id) from messages
union all select 'mailboxes', count(*) - count(distinct address) from mailboxes
union all select 'groups', count(*) - count(distinct number) from groups
union all select 'open_deliveries', count(*) - count(distinct (grp, message)) from open_deliveries
union all select 'agents', count(*) - count(distinct name) from agents
union all select 'sessions', count(*) - count(distinct name) from sessions
union all select 'parked', count(*) - count(distinct message) from parked

-- name: astray
select 'messages without a mailbox', count(*) from messages anti join mailboxes on messages.mailbox = mailboxes.number
union all
select 'groups without a mailbox', count(*) from groups anti join mailboxes on groups.mailbox = mailboxes.number
union all
select 'open deliveries without an unsettled message', count(*) from open_deliveries o
anti join (select id from messages where ended_seq is null) m on o.message = m.id
union all
select 'open deliveries without a group', count(*) from open_deliveries anti join groups on open_deliveries.grp = groups.number
union all
select 'agents without a mailbox', count(*) from agents anti join mailboxes on agents.mailbox = mailboxes.number
union all
select 'parked messages without what they wait for', count(*) from messages m
join mailboxes b on b.number = m.mailbox and b.address = 'mq9.parked' anti join parked on m.id = parked.message
where m.ended_seq is null

-- name: mend_parked
update messages set ended_seq = ?, ended_at = ?, ending = 'withdrawn'
where ended_seq is null and id not in (select message from parked)
    and mailbox in (select number from mailboxes where address = 'mq9.parked')

-- name: mend_open
delete from open_deliveries where message not in (select id from messages where ended_seq is null)

-- name: mend_deliveries
delete from deliveries where message not in (select id from messages)

-- name: mend_ending
update messages set ended_seq = ?, ended_at = ?
where ended_seq is null and ending is not null
    and id not in (select message from open_deliveries where state = 'leased')

-- name: mend_delivery_mailboxes
update deliveries set mailbox = messages.mailbox from messages where messages.id = deliveries.message

-- name: lost_mailboxes
select distinct mailbox from (
    select mailbox from messages union all select mailbox from groups union all select mailbox from dedup_keys
) where mailbox not in (select number from mailboxes) order by mailbox

-- name: lost_groups
select distinct grp, mailbox from (
    select o.grp, m.mailbox from open_deliveries o join messages m on m.id = o.message
    union all
    select d.grp, m.mailbox from deliveries d join messages m on m.id = d.message
) where grp not in (select number from groups) order by grp

-- name: mend_groups
insert into groups (number, mailbox, name, start_id, start_at, seen_at) values (?, ?, ?, 1, 0, ?)

-- name: addresses
select number, address from mailboxes order by number

-- name: group_names
select mailbox, name from groups order by number

-- name: largest_numbers
select
    greatest(coalesce((select max(id) from messages), 0), coalesce((select max(message) from deliveries), 0)),
    coalesce((select max(number) from mailboxes), 0),
    coalesce((select max(number) from groups), 0)

-- name: last_position
select coalesce(max(position), 0) from messages
