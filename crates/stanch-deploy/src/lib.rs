//! From the catalog to what is deployed: CloudFormation templates of the administrator and the member
//! accounts, the member role's policies, Automation documents, and what all of it costs.
//!
//! Nothing here does IO. The templates' own parts are the files under `templates/`; what follows from the
//! catalog takes the place of their `Stanch::` members.

mod archive;
mod document;
mod iam;
mod plan;
mod template;

use std::{collections::BTreeSet, sync::Arc};

use stanch_catalog::{Catalog, Naming, Remediation};
use stanch_models::Models;

pub use archive::{BOOTSTRAP, Entry, PackageError, archive, package};
pub use document::{CONTROL_RUNBOOK, document_versions};
pub use iam::{Exception, ManagedPolicy, POLICY_LIMIT, Policies};
pub use plan::{Charge, Cost, Line, Plan, PlanError, Scale, charges, plan};
pub use template::{BODY_LIMIT, RESOURCE_LIMIT};

/// What is rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The remediations that member accounts allow; all if none is named.
    pub only: BTreeSet<String>,
    /// Whose Automation documents are deployed.
    pub documents: Documents,
}

/// Whose Automation documents are deployed. The native engine needs none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Documents {
    /// The brief's examples, where they are enabled.
    #[default]
    Examples,
    /// Every enabled remediation's that can be written as a document.
    All,
    /// These.
    Of(BTreeSet<String>),
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: `member-stack.yaml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why nothing is rendered.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A name that the catalog does not have.
    #[error("`{0}` is not in the catalog")]
    Unknown(String),
    /// A document is wanted of what is not enabled.
    #[error("a document of `{0}` is wanted, and it is not enabled")]
    NotEnabled(String),
    /// What a remediation may do is not known.
    #[error("what `{name}` may do")]
    Policy {
        /// The remediation.
        name: String,
        /// Why.
        source: stanch_catalog::PolicyError,
    },
    /// A remediation cannot be written as a document.
    #[error("`{name}` as a document")]
    Export {
        /// The remediation.
        name: String,
        /// Why.
        source: stanch_catalog::ExportError,
    },
    /// One service's permissions alone are more than a managed policy holds.
    #[error(
        "the permissions of `{service}` have {length} characters, and a managed policy holds {POLICY_LIMIT}"
    )]
    PolicyTooLong {
        /// The service's prefix.
        service: String,
        /// Characters without blanks.
        length: usize,
    },
    /// A role would have more policies than AWS attaches.
    #[error(
        "the role needs {0} managed policies, and 10 can be attached; enable fewer remediations"
    )]
    TooManyPolicies(usize),
    /// A document is larger than Systems Manager takes.
    #[error("the document of `{name}` has {length} bytes, and Systems Manager takes 65,536")]
    DocumentTooLong {
        /// The remediation.
        name: String,
        /// Bytes of JSON.
        length: usize,
    },
    /// A template exceeds a limit of CloudFormation's.
    #[error("`{name}` has {count} {what}, and CloudFormation takes {limit}")]
    Limit {
        /// The file.
        name: String,
        /// How many there are.
        count: usize,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// A template of this crate cannot be read.
    #[error("the template `{name}`, line {line}: {message}")]
    Template {
        /// The file under `templates/`.
        name: &'static str,
        /// The line.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A template of this crate asks for a part that there is not.
    #[error("there is no part `{0}`")]
    Part(String),
    /// The models cannot be read.
    #[error(transparent)]
    Damaged(#[from] stanch_models::blob::BlobError),
}

/// What the templates and policies of some remediations are made from.
#[derive(Debug)]
pub struct Deployment {
    enabled: Vec<Arc<Remediation>>,
    documents: Vec<Arc<Remediation>>,
    /// What the roles of a member account may do.
    pub policies: Policies,
}

impl Deployment {
    /// Of the remediations that `options` name.
    ///
    /// # Errors
    /// A name is unknown, or what a remediation may do does not fit AWS's limits.
    pub fn new(catalog: &Catalog, models: &Models, options: &Options) -> Result<Self, DeployError> {
        if let Some(name) = options.only.iter().find(|name| catalog.get(name).is_none()) {
            return Err(DeployError::Unknown(name.clone()));
        }
        let is_enabled =
            |one: &Arc<Remediation>| options.only.is_empty() || options.only.contains(&one.name);
        let mut enabled: Vec<Arc<Remediation>> = catalog.iter().filter(is_enabled).collect();
        enabled.sort_by(|a, b| a.name.cmp(&b.name));
        let documents = match &options.documents {
            Documents::Examples => {
                let example = |one: &&Arc<Remediation>| Naming::example(&one.name).is_some();
                enabled.iter().filter(example).cloned().collect()
            }
            Documents::All => enabled
                .iter()
                .filter(|one| one.export(models).is_ok())
                .cloned()
                .collect(),
            Documents::Of(names) => {
                if let Some(name) = names.iter().find(|name| catalog.get(name).is_none()) {
                    return Err(DeployError::Unknown(name.clone()));
                }
                let of = |name: &String| {
                    let found = enabled.iter().find(|one| one.name == *name);
                    found
                        .cloned()
                        .ok_or_else(|| DeployError::NotEnabled(name.clone()))
                };
                names.iter().map(of).collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            policies: Policies::new(&enabled, models)?,
            enabled,
            documents,
        })
    }

    /// How many remediations are enabled.
    #[must_use]
    pub fn enabled(&self) -> usize {
        self.enabled.len()
    }

    /// Every file: the templates, and the list of what could not be narrowed.
    ///
    /// # Errors
    /// A limit of CloudFormation's or Systems Manager's is exceeded.
    pub fn render(&self, models: &Models) -> Result<Vec<File>, DeployError> {
        let mut files = template::stacks(&self.policies)?;
        files.extend(document::templates(&self.documents, models)?);
        files.push(File {
            name: "exceptions.tsv".to_owned(),
            text: self.policies.exceptions_table(),
        });
        Ok(files)
    }
}
