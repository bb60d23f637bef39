-- Statements about parked messages.

-- name: make_unparked
create or replace temp table unparked (id bigint not null, visible_at bigint not null)

-- name: unpark_messages
update messages set
    mailbox = ?, visible_at = u.visible_at, delayed = true, state_key = json_extract_string(p.wish, '$.state_key')
from unparked u, parked p where messages.id = u.id and p.message = u.id and messages.id between ? and ?

-- name: unpark_sessions
update sessions set mailboxes = list_append(mailboxes, $mailbox)
where not list_contains(mailboxes, $mailbox) and name in (
    select coalesce(m.session, 'mq9.' || m.id) from messages m join unparked u on m.id = u.id
)

-- name: delete_unparked
delete from parked using unparked u where parked.message = u.id

-- name: forget_parked
delete from parked where message not in (select id from messages where ended_seq is null)

-- name: load_parked
select p.message, p.wish from parked p join messages m on m.id = p.message where m.ended_seq is null
