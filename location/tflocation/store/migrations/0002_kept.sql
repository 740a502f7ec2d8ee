-- Snapshots of containers that outlive them. `making`: the node has been asked; `forgotten`: it is gone, but a container
-- spawned from it may still have to be booted again.
CREATE TABLE kept (
    id        TEXT PRIMARY KEY,
    account   TEXT NOT NULL,
    node      TEXT NOT NULL,
    image     TEXT NOT NULL,
    name      TEXT NOT NULL,
    created   REAL NOT NULL,
    expires   REAL,                              -- never, without
    evictable INTEGER NOT NULL,
    labels    TEXT NOT NULL,                     -- JSON
    request   TEXT NOT NULL,                     -- id of the request that asked for it
    state     TEXT NOT NULL CHECK (state IN ('making', 'kept', 'forgotten')),
    moment    BLOB NOT NULL                      -- what the node said when it was kept: tfcore.wire.kept.MomentKept
) STRICT;
CREATE UNIQUE INDEX kept_name ON kept (account, name) WHERE state = 'kept' AND name <> '';
CREATE INDEX kept_account ON kept (account);

ALTER TABLE container ADD COLUMN kept TEXT NOT NULL DEFAULT '';  -- id of what it was spawned from
