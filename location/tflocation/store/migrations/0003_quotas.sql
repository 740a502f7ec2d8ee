-- What accounts may have at most; a kind that is not there is not limited.
CREATE TABLE quota (
    account TEXT NOT NULL,
    kind    TEXT NOT NULL,
    most    REAL NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

-- What a container was given as its limits; 0 is none.
ALTER TABLE container ADD COLUMN memory INTEGER NOT NULL DEFAULT 0;
ALTER TABLE container ADD COLUMN cpus REAL NOT NULL DEFAULT 0;
