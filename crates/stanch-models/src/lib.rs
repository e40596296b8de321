//! The API and IAM models of every AWS service.
