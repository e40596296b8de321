-- Every event becomes a leaf of the ledger's tree, and its contents may expire.
CREATE TABLE event_2 (
    position INTEGER PRIMARY KEY,
    v        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    -- Its number among all events, in the order that they were appended.
    leaf     INTEGER NOT NULL,
    -- NULL once it has expired.
    event    TEXT
) STRICT;

INSERT INTO event_2 (position, v, at, body, hash, leaf, event)
SELECT position, v, at, body, hash, row_number() OVER (ORDER BY position) - 1, event FROM event;

ALTER TABLE remediation ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;

DROP TABLE event;
ALTER TABLE event_2 RENAME TO event;
CREATE UNIQUE INDEX event_by_leaf ON event (leaf);

CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event
WHEN NEW.event IS NOT NULL OR OLD.event IS NULL OR NEW.position <> OLD.position OR NEW.v <> OLD.v
    OR NEW.at <> OLD.at OR NEW.body <> OLD.body OR NEW.hash <> OLD.hash OR NEW.leaf <> OLD.leaf
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER event_stays BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- Hashes of the tree, up to 256 of 32 bytes. id = level << 56 | number.
CREATE TABLE tile (
    id     INTEGER PRIMARY KEY,
    hashes BLOB    NOT NULL
) STRICT;

CREATE TRIGGER tile_only_grows BEFORE UPDATE ON tile
WHEN NEW.id <> OLD.id OR substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER tile_stays BEFORE DELETE ON tile
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- What the ledger was, as it was signed.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    note TEXT    NOT NULL
) STRICT;

CREATE TRIGGER checkpoint_is_not_changed BEFORE UPDATE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
