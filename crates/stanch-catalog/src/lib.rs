//! Remediations as data: files, validation, plans, documents, IAM.
