-- Who may connect. Revoked rows stay, so that a connection made under one can be told from its successor of that name.
CREATE TABLE principal (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    role     TEXT NOT NULL CHECK (role IN ('account', 'node')),
    name     TEXT NOT NULL,
    key      BLOB NOT NULL CHECK (length(key) = 32),
    id       TEXT NOT NULL DEFAULT '',           -- a node's id; accounts have none
    operator INTEGER NOT NULL DEFAULT 0,
    created  REAL NOT NULL,                      -- seconds since the epoch, here and below
    revoked  REAL
) STRICT;
CREATE UNIQUE INDEX principal_key ON principal (key) WHERE revoked IS NULL;
CREATE UNIQUE INDEX principal_name ON principal (role, name) WHERE revoked IS NULL;

CREATE TABLE invitation (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    role     TEXT NOT NULL CHECK (role IN ('account', 'node')),
    name     TEXT NOT NULL,
    key      BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
    created  REAL NOT NULL,
    expires  REAL NOT NULL,
    accepted BLOB                                -- the key it was used for
) STRICT;

CREATE TABLE session (
    id        TEXT PRIMARY KEY,
    account   TEXT NOT NULL,
    principal INTEGER NOT NULL REFERENCES principal (number),
    program   TEXT NOT NULL,
    local     INTEGER NOT NULL,
    request   TEXT NOT NULL,                     -- id of the request that opened it, which may be asked again
    opened    REAL NOT NULL,
    ending    TEXT NOT NULL DEFAULT ''           -- why it ended, while something of it is still to be freed
) STRICT;

CREATE TABLE container (
    id      TEXT PRIMARY KEY,
    session TEXT NOT NULL REFERENCES session (id),
    account TEXT NOT NULL,
    node    TEXT NOT NULL,
    address TEXT NOT NULL UNIQUE,
    image   TEXT NOT NULL,
    tag     TEXT NOT NULL,
    volumes TEXT NOT NULL,                       -- ids of what it mounts, with spaces between
    request TEXT NOT NULL,                       -- id of the request that spawned it
    created REAL NOT NULL
) STRICT;
CREATE INDEX container_session ON container (session);

CREATE TABLE volume (
    id         TEXT PRIMARY KEY,
    session    TEXT NOT NULL,                    -- who made it; a persistent one outlives that session
    account    TEXT NOT NULL,
    node       TEXT NOT NULL,
    tag        TEXT NOT NULL,
    persistent INTEGER NOT NULL,
    request    TEXT NOT NULL,
    created    REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX volume_tag ON volume (account, tag) WHERE persistent AND tag <> '';

-- Containers that may connect to each other, the smaller id first.
CREATE TABLE permission (
    one   TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
    other TEXT NOT NULL REFERENCES container (id) ON DELETE CASCADE,
    PRIMARY KEY (one, other)
) STRICT, WITHOUT ROWID;
