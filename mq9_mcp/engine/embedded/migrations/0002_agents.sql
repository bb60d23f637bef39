-- Agents that are registered; one for each name, gone with its mailbox.
create table agents (
    name varchar not null,
    owner varchar not null,
    mailbox bigint not null,
    version bigint not null,
    card varchar not null,               -- JSON, an A2A AgentCard
    status varchar not null,
    load double,                         -- as of the last change of status
    note varchar,
    opened boolean not null,             -- the mailbox was private before the agent
    heard_at bigint not null             -- last time that the journal knows
);
