-- What was begun of late, however long it had waited for that.
CREATE INDEX remediation_by_start ON remediation (started_at) WHERE started_at IS NOT NULL;
