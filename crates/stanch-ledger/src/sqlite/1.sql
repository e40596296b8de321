-- A remediation: what its events have come to. Written in the transaction that appends them.
CREATE TABLE remediation (
    n            INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE,
    at           INTEGER NOT NULL,
    -- Known from the first event on.
    account      TEXT    NOT NULL,
    region       TEXT    NOT NULL,
    finding_id   TEXT    NOT NULL,
    control      TEXT    NOT NULL,
    severity     TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    resource_id  TEXT    NOT NULL,
    resource_type TEXT   NOT NULL,
    remediation  TEXT    NOT NULL,
    route        TEXT    NOT NULL,
    requester    TEXT    NOT NULL,
    -- As it stands.
    status       TEXT    NOT NULL,
    open         INTEGER NOT NULL,
    executor_arn TEXT    NOT NULL,
    error        TEXT,
    duration_ms  INTEGER,
    notified     INTEGER NOT NULL,
    undone       INTEGER NOT NULL,
    execution_status TEXT NOT NULL,
    started_at   INTEGER,
    updated_at   INTEGER NOT NULL,
    events       INTEGER NOT NULL
) STRICT;

-- `n` is the order of those admitted in one millisecond; with `status` the rows need not be read to be
-- counted.
CREATE INDEX remediation_by_time     ON remediation (at, n, status);
CREATE INDEX remediation_by_account  ON remediation (account, at, n, status);
CREATE INDEX remediation_by_resource ON remediation (resource_id, at);
CREATE INDEX remediation_by_finding  ON remediation (finding_id, at);
CREATE INDEX remediation_unfinished  ON remediation (at) WHERE open = 1;

CREATE TRIGGER remediation_stays BEFORE DELETE ON remediation
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- position = n << 20 | seq: the events of a remediation stand together, in their order.
CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    v        INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    hash     BLOB    NOT NULL,
    event    TEXT    NOT NULL
) STRICT;

CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TRIGGER event_stays BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- A token is never given out twice.
CREATE TABLE lease (
    token   INTEGER PRIMARY KEY AUTOINCREMENT,
    key     TEXT    NOT NULL UNIQUE,
    owner   TEXT    NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letter (
    id     BLOB    PRIMARY KEY,
    at     INTEGER NOT NULL,
    times  INTEGER NOT NULL,
    source TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    body   TEXT    NOT NULL
) STRICT;

CREATE INDEX dead_letter_by_time ON dead_letter (at);
