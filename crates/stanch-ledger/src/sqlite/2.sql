-- What people order about all that runs. Small, and read before every change.
CREATE TABLE directive (
    seq    INTEGER PRIMARY KEY,
    hash   BLOB    NOT NULL,
    body   TEXT    NOT NULL
) STRICT;

CREATE TRIGGER directive_is_not_changed BEFORE UPDATE ON directive
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER directive_stays BEFORE DELETE ON directive
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
