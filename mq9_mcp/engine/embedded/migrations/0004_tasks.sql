-- Tasks: durable work with a history. Open ones are in memory too, ended ones only here.
alter table dedup_keys add column task varchar;

create table tasks (
    id varchar not null,
    first bigint not null,               -- the message that opened it
    mailbox varchar not null,            -- its address
    owner varchar not null,
    principal varchar not null,          -- of the asker
    asker varchar not null,
    session varchar not null,
    worker varchar,                      -- who leased it last
    state varchar not null,
    created_at bigint not null,
    updated_at bigint not null,
    ended_at bigint,                     -- null: it is open
    record varchar not null              -- JSON: the task as memory knows it
);

-- What a task's history tells, numbered from 1.
create table task_events (
    task varchar not null,
    number bigint not null,
    happened_at bigint not null,
    after_message bigint not null,       -- the last message before it: its place in a session
    kind varchar not null,
    state varchar not null,              -- of the task after it
    who varchar not null,
    message bigint,
    reason varchar,
    detail varchar                       -- JSON: a message's body, an artifact, a checkpoint, progress
);

-- The task that a message belongs to.
create table task_messages (message bigint not null, task varchar not null);
