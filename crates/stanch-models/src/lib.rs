//! The API and IAM models of every AWS service.
//!
//! The data is botocore's and AWS's service authorization reference, without their prose, in one
//! compressed blob that `cargo xtask models` compiles. A service is decoded when first asked for.

#[doc(hidden)]
pub mod blob;
mod endpoint;
mod iam;
mod models;
mod names;
mod pages;
mod parse;
mod service;
mod validate;

pub use blob::{BlobError, Source};
pub use endpoint::{
    Endpoint, EndpointAuth, EndpointError, EndpointSettings, Partition, Partitions, RuleSet,
};
pub use iam::{AccessLevel, Action, ActionResource, IamService, Needed, ResourceType};
pub use models::{FILE, LookupError, Models, Resolved};
pub use names::{canonical_parameters, nearest};
pub use pages::{Pages, wait};
pub use parse::ModelError;
pub use service::{
    Acceptor, AuthScheme, Bounds, ContextValue, ErrorTraits, Expected, HttpChecksum, Location,
    Matcher, Member, Operation, Paginator, Protocol, Service, Shape, ShapeId, ShapeKind, Structure,
    TimestampFormat, Verdict, Waiter, XmlNamespace,
};
pub use validate::{At, Problem, Severity, validate, validate_template};
