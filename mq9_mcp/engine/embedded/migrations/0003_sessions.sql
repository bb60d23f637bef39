-- Sessions that are named, or that a second message joined; the messages know the rest.
create table sessions (
    name varchar not null,
    turns bigint not null,               -- messages ever sent into it
    turns_max bigint not null,           -- 0: as every session
    closed boolean not null,
    changed_at bigint not null,
    changed_seq bigint not null,         -- in this order memory lets go of them
    mailboxes bigint[] not null,
    senders varchar[] not null
);

-- What there is goes on, long conversations too: they get as much room as a new session has.
insert into sessions
select
    session, count(*), case when count(*) < 1000 then 0 else count(*) + 1000 end, false, max(created_at), row_number() over (order by max(id)),
    list_distinct(list(mailbox)), list_distinct(list(sender))
from (
    select id, session, mailbox, sender, created_at from messages
    where session is not null and letter is null and only_group is null
    union all
    select m.id, 'mq9.' || m.id, m.mailbox, m.sender, m.created_at from messages m
    where m.session is null and 'mq9.' || m.id in (
        select session from messages where letter is null and only_group is null
    )
)
group by session;
