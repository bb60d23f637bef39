-- The tables that the journal is folded into. Times are milliseconds since 1970.
create table meta (name varchar primary key, value bigint not null);

create table mailboxes (
    number bigint not null,
    address varchar not null,
    owner varchar not null,
    description varchar,
    settings varchar not null,           -- JSON, all that differ from the defaults
    created_at bigint not null,
    expires_at bigint,
    agent boolean not null
);

create table groups (
    number bigint not null,
    mailbox bigint not null,
    name varchar not null,
    start_id bigint not null,
    start_at bigint not null,
    seen_at bigint not null,
    history_through bigint,              -- null: nothing left to read again
    history_tier bigint not null default -1,
    history_visible_at bigint not null default -1,
    history_id bigint not null default -1
);

create table messages (
    id bigint not null,
    mailbox bigint not null,
    tier tinyint not null,
    visible_at bigint not null,
    size bigint not null,
    sender varchar not null,
    position bigint not null,            -- of the body in the journal, while its segment is there
    expires_at bigint,
    session varchar,                     -- null: the message's own
    tags varchar[],
    state_key varchar,
    only_group varchar,
    letter varchar,                      -- JSON
    created_at bigint not null,
    in_reply_to bigint,
    body varchar not null,               -- JSON, as every copy of the message shares it
    delayed boolean not null,
    outside boolean not null,            -- in no log: read again, or redriven to one group
    ending varchar,                      -- expired or withdrawn
    ended_seq bigint,                    -- null: some group still owes it
    ended_at bigint
);

-- What a group has touched and not settled.
create table open_deliveries (
    grp bigint not null,
    message bigint not null,
    state varchar not null,
    attempts integer not null,
    fence bigint not null,
    secret varchar not null,
    until bigint not null,
    worker varchar not null,
    principal varchar not null,
    lapsed boolean not null,
    first_at bigint not null,
    last_at bigint not null,
    reason varchar,
    past varchar                         -- JSON: outcomes of earlier leases
);

-- What a group has settled.
create table deliveries (
    grp bigint not null,
    message bigint not null,
    mailbox bigint not null,
    state varchar not null,
    outcome varchar,
    attempts integer not null,
    fence bigint not null,
    secret varchar not null,
    worker varchar not null,
    principal varchar not null,
    settled_at bigint not null,
    reason varchar,
    receipts varchar                     -- JSON: of the send in the same call
);

create table dedup_keys (
    mailbox bigint not null,
    key varchar not null,
    message bigint not null,
    sent_at bigint not null,
    digest bigint not null,
    session varchar
);
