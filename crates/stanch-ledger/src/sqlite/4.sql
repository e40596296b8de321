-- A checkpoint signs the orders as well, and they go on where no event is appended.
CREATE TABLE checkpoint_2 (
    size   INTEGER NOT NULL,
    -- How many there were.
    orders INTEGER NOT NULL,
    note   TEXT    NOT NULL,
    PRIMARY KEY (size, orders)
) STRICT, WITHOUT ROWID;

INSERT INTO checkpoint_2 (size, orders, note) SELECT size, 0, note FROM checkpoint;

DROP TABLE checkpoint;
ALTER TABLE checkpoint_2 RENAME TO checkpoint;

CREATE TRIGGER checkpoint_is_not_changed BEFORE UPDATE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER checkpoint_stays BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
