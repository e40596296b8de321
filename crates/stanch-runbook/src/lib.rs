//! AWS Systems Manager Automation documents: read, checked and carried out in process.
//!
//! [`parse`] reads a document and says everything that is wrong with its text, [`check`] everything
//! that is wrong with its meaning, and [`Engine`] runs it, or shows what it would send
//! ([`Mode::DryRun`]). The engine reaches the outside through [`Ports`] only.
//!
//! Where AWS's documentation is silent, the behaviour is that of the documents AWS publishes; the
//! choices are noted where they are made.

mod action;
mod actions;
mod check;
mod document;
mod engine;
mod error;
mod operations;
mod parameters;
mod parse;
mod pattern;
mod ports;
mod record;
mod reference;
mod selector;
mod serialize;

#[cfg(feature = "script-host")]
pub mod script_host;

pub use action::{ActionName, InputSpec};
pub use check::check;
pub use document::{
    Action, Branch, Choice, Condition, Document, Iteration, Loop, OnCancel, OnFailure, Operator,
    Output, Parameter, Places, ResourceType, Setting, Step, Type, Variable,
};
pub use engine::{
    Doubt, DryRun, Engine, Execution, Handle, Mode, Options, Outcome, PlannedCall, StartError,
    StepTrace,
};
pub use error::StepError;
pub use parameters::{InvalidParameter, check_parameters};
pub use parse::{Parsed, parse};
pub use pattern::{Pattern, PatternError};
pub use ports::{
    Documents, Functions, Ids, NoDocuments, NoFunctions, NoObserver, NoScripts, NoSignals,
    NoWebhooks, Observer, Operations, Ports, Script, ScriptError, Scripts, Sent, Signal, Signals,
    WebhookReply, Webhooks,
};
pub use record::{
    AutomationExecution, AutomationStatus, FailureDetails, ParentStepDetails, StepExecution,
};
pub use reference::{Reference, Template};
pub use selector::{Selector, SelectorError};
