//! Remediations as data: the catalog's files, and the plans, Automation documents and IAM policies
//! that follow from them. The format is documented in `docs/reference/catalog-format.md`.
//!
//! Nothing here does IO. Planning is a conversation: an [`Observation`] says which read it wants
//! next, and takes the answer.

mod catalog;
mod check;
mod document;
mod export;
mod expression;
pub mod function;
mod impact;
mod keys;
mod naming;
mod parameter;
mod parse;
mod plan;
mod policy;
mod remediation;
mod remote;
mod requirements;
mod schema;
mod template;

pub use catalog::{Catalog, FileDiagnostic};
pub use check::check;
pub use export::{Export, ExportError, FUNCTION, SCRIPT, fingerprint};
pub use expression::{Expression, ExpressionError, Scope};
pub use impact::{Fact, FactType, Impact, Probe, Question};
pub use naming::Naming;
pub use parameter::ParameterError;
pub use parse::parse;
pub use plan::{
    NextRead, Observation, Observed, Plan, PlanError, PlannedAction, PlannedRead, PlannedStep,
    ResourceId, Stage, Subject, Target,
};
pub use policy::{Permission, PolicyError, SESSION_POLICY_LIMIT, compact_policy, policy_document};
pub use remediation::{
    Action, Class, Computed, Control, Example, Given, Let, Output, Parameter, ParameterType, Read,
    Refusal, Remediation, Safety, Step, Undo, Verify,
};
pub use remote::{
    Approved, BEFORE, Invocation, InvocationError, MOST_TEXT, MOST_TEXTS, texts, typed,
};
pub use requirements::{Answer, Check, Coverage, Framework, Mapping, Requirements, natural};
pub use schema::schema;
pub use template::{Part, Template, TemplateError};
