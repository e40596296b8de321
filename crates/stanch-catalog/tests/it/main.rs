//! The catalog from its public side.

mod files;
mod plans;
