//! The append-only record of every remediation.
