-- Vectors of the texts of cards, so that a start need not make them again. No part of the journal: what is
-- lost is made anew.
create table vectors (
    model varchar not null,
    version varchar not null,
    text_hash blob not null,
    vector float[384] not null
);
