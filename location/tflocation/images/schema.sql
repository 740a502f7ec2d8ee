-- The cache's own index. `used` is not a time but a count of uses: larger is later, and no clock can turn it back.

CREATE TABLE layer (                    -- one blob per layer, however many images and accounts share it
    diff_id     TEXT PRIMARY KEY,       -- digest of the uncompressed tar
    digest      TEXT NOT NULL UNIQUE,   -- digest of the blob as stored
    size        INTEGER NOT NULL,
    media_type  TEXT NOT NULL,
    used        INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE possession (               -- who has sent the layer, or proved to hold it
    account     TEXT NOT NULL,
    diff_id     TEXT NOT NULL REFERENCES layer ON DELETE CASCADE,
    PRIMARY KEY (account, diff_id)
) WITHOUT ROWID;

CREATE TABLE image (                    -- descriptions are per account
    account         TEXT NOT NULL,
    config_digest   TEXT NOT NULL,
    manifest_digest TEXT NOT NULL,
    used            INTEGER NOT NULL,
    PRIMARY KEY (account, config_digest)
) WITHOUT ROWID;

CREATE TABLE image_layer (
    account         TEXT NOT NULL,
    config_digest   TEXT NOT NULL,
    position        INTEGER NOT NULL,   -- 0 is the bottom
    diff_id         TEXT NOT NULL REFERENCES layer,
    PRIMARY KEY (account, config_digest, position),
    FOREIGN KEY (account, config_digest) REFERENCES image ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX image_layer_by_layer ON image_layer (diff_id);

CREATE TABLE name (
    account         TEXT NOT NULL,
    name            TEXT NOT NULL,
    config_digest   TEXT NOT NULL,
    PRIMARY KEY (account, name),
    FOREIGN KEY (account, config_digest) REFERENCES image ON DELETE CASCADE
) WITHOUT ROWID;
