-- Statements of the folder: what events change in the tables.

-- name: make_ids
create or replace temp table ids (id bigint not null, seq bigint not null, ended_at bigint not null, ending varchar)

-- name: make_touched
create or replace temp table touched (grp bigint not null, message bigint not null)

-- name: make_copies
create or replace temp table copies (
    id bigint, mailbox bigint, tier tinyint, visible_at bigint, size bigint, sender varchar, position bigint,
    expires_at bigint, session varchar, tags varchar[], state_key varchar, only_group varchar, letter varchar,
    created_at bigint, in_reply_to bigint, delayed boolean, outside boolean, source bigint
)

-- name: insert_copies
insert into messages
select
    c.id, c.mailbox, c.tier, c.visible_at, c.size, c.sender, c.position, c.expires_at, c.session, c.tags,
    c.state_key, c.only_group, c.letter, c.created_at, c.in_reply_to, m.body, c.delayed, c.outside,
    null, null, null
from copies c join messages m on m.id = c.source
where m.id between (select min(source) from copies) and (select max(source) from copies)

-- name: end_messages
update messages set
    ended_seq = ids.seq, ended_at = ids.ended_at, ending = coalesce(ids.ending, messages.ending)
from ids where messages.id = ids.id and messages.id between ? and ?

-- name: mark_ending
update messages set ending = ids.ending from ids where messages.id = ids.id and messages.id between ? and ?

-- name: show_messages
update messages set delayed = false from ids where messages.id = ids.id and messages.id between ? and ?

-- name: revive_messages
update messages set ended_seq = null, ended_at = null, outside = true
from ids where messages.id = ids.id and messages.id between ? and ?

-- name: delete_messages
delete from messages using ids where messages.id = ids.id and messages.id between ? and ?

-- name: delete_message_deliveries
delete from deliveries using ids where deliveries.message = ids.id and deliveries.message between ? and ?

-- name: delete_open
delete from open_deliveries using touched
where open_deliveries.grp = touched.grp and open_deliveries.message = touched.message

-- name: insert_mailbox
insert into mailboxes values (?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_mailbox
update mailboxes set settings = ?, description = ?, expires_at = ? where number = ?

-- name: drop_mailbox
delete from mailboxes where number = ?

-- name: drop_mailbox_groups
delete from groups where mailbox = ?

-- name: drop_mailbox_deliveries
delete from deliveries where mailbox = ?

-- name: drop_mailbox_open
delete from open_deliveries where grp in (select number from groups where mailbox = ?)

-- name: drop_mailbox_messages
delete from messages where mailbox = ?

-- name: drop_mailbox_keys
delete from dedup_keys where mailbox = ?

-- name: insert_group
insert into groups (number, mailbox, name, start_id, start_at, seen_at, history_through)
values (?, ?, ?, ?, ?, ?, ?)

-- name: delete_group
delete from groups where number = ?

-- name: delete_group_open
delete from open_deliveries where grp = ?

-- name: see_group
update groups set seen_at = ? where number = ?

-- name: advance_history
update groups set history_tier = ?, history_visible_at = ?, history_id = ? where number = ?

-- name: end_history
update groups set history_through = null where number = ?

-- name: prune_ids
insert into ids select id, 0, 0, null from messages where mailbox = ? and ended_seq <= ?

-- name: extend_floor
update open_deliveries set until = greatest(until, ?) where state = 'leased'

-- name: forget_mailbox_keys
delete from dedup_keys using mailboxes
where dedup_keys.mailbox = ? and dedup_keys.mailbox = mailboxes.number
    and not coalesce(cast(json_extract(mailboxes.settings, '$.exactly_once') as boolean), false)
    and dedup_keys.sent_at + 1000 * coalesce(cast(json_extract(mailboxes.settings, '$.dedup_window_s') as bigint), ?)
        <= ?

-- name: forget_keys
delete from dedup_keys using mailboxes
where dedup_keys.mailbox = mailboxes.number
    and not coalesce(cast(json_extract(mailboxes.settings, '$.exactly_once') as boolean), false)
    and dedup_keys.sent_at + 1000 * coalesce(cast(json_extract(mailboxes.settings, '$.dedup_window_s') as bigint), ?)
        <= ?
