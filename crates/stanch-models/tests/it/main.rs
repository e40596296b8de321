//! The embedded data, and models that users bring.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod brought;
mod embedded;
mod endpoint;
mod iam;
mod pages;
mod validate;
