//! The functions in AWS. One binary is all of them: `_HANDLER`, a function's handler in its template,
//! says which it is.
//!
//! A function is made at once and holds nothing; what it needs is read and decoded when its first event
//! asks for it. [`Runtime`] speaks to Lambda, everything else only to ports.

mod failure;
mod files;
mod function;
pub mod log;
mod members;
mod metrics;
mod notifier;
mod orchestrator;
mod organization;
mod remediation;
mod runtime;
mod security;
mod segments;
mod setup;
mod siem;
mod variables;
mod world;

pub use failure::Failure;
pub use function::{Function, Handler, Invocation, UnknownHandler};
pub use notifier::Notifier;
pub use orchestrator::Orchestrator;
pub use remediation::Remediation;
pub use runtime::{Runtime, RuntimeError};
pub use security::Security;
pub use segments::Segments;
pub use siem::Siem;
pub use variables::Variables;
pub use world::{Aws, Print, Reach, StandardOutput, Store, World};
