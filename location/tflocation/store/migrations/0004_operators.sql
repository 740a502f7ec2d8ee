-- What takes nothing new on: a node's id, or '' for the location itself.
CREATE TABLE draining (
    node  TEXT PRIMARY KEY,
    since REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- For an invitation that gives somebody a new key: the number of the row of the key it takes the place of.
ALTER TABLE invitation ADD COLUMN replaces INTEGER;
