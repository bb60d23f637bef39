-- Where the events of tasks are posted to; as long as their tasks are kept.
create table pushes (
    task varchar not null,
    id varchar not null,
    made bigint not null,                -- the record that set it
    done boolean not null,               -- the task is over, and the receiver has all of it
    disabled_at bigint,                  -- null: it is not given up
    record varchar not null              -- JSON: the target as memory knows it
);
