-- What parked messages wait for, gone with the wait; and keys whose first receipt named where they waited.
create table parked (
    message bigint not null,
    wish varchar not null                -- JSON: the intent, and for whom
);

alter table dedup_keys add column parked boolean;
