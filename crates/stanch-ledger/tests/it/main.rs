//! What the ledgers promise, asked of each of them.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod chain;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod directives;
#[cfg(test)]
mod dynamo;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod sealed;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod transitions;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod twins;

use stanch_ledger::{MemoryLedger, testing::conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    conformance(async || MemoryLedger::new()).await;
}
