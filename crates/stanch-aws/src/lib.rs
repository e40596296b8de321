//! Any operation of any AWS service by name, JSON in and JSON out.
