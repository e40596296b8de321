//! The command as its users see it: exit code, standard output, standard error.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests, their helpers too"
)]

mod bad_input;
mod command;
mod configured;
mod emulated;
mod full_disk;
mod game_day;
mod kill;
mod ledger;
mod linked;
mod offline;
mod operated;
mod served;
mod tls;
mod two_processes;
