//! What the roles of a member account may do: the union of what the enabled remediations may need, and what
//! none ever may.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use serde_json::{Value, json};
use stanch_catalog::{Class, Permission, Remediation, compact_policy};
use stanch_models::Models;

use crate::DeployError;

/// What a managed policy holds, in characters without blanks:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.
pub const POLICY_LIMIT: usize = 6144;

/// Managed policies of a role; the same page.
const ATTACHED_LIMIT: usize = 10;

/// The tag that keeps Stanch's hands off.
const EXEMPTION: &str = "aws:ResourceTag/SecurityRemediationExempt";

/// Actions by which who has them gets more, or gets rid of who watches.
const ESCALATION: &[&str] = &[
    "account:CloseAccount",
    "cloudformation:CreateStack",
    "cloudtrail:DeleteTrail",
    "cloudtrail:StopLogging",
    "codebuild:CreateProject",
    "config:DeleteConfigurationRecorder",
    "config:StopConfigurationRecorder",
    "ec2:RunInstances",
    "glue:CreateDevEndpoint",
    "glue:UpdateDevEndpoint",
    "guardduty:DeleteDetector",
    "iam:AddClientIDToOpenIDConnectProvider",
    "iam:AddUserToGroup",
    "iam:AttachGroupPolicy",
    "iam:AttachRolePolicy",
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "iam:CreateLoginProfile",
    "iam:CreateOpenIDConnectProvider",
    "iam:CreatePolicyVersion",
    "iam:CreateRole",
    "iam:CreateSAMLProvider",
    "iam:CreateServiceSpecificCredential",
    "iam:CreateUser",
    "iam:DeactivateMFADevice",
    "iam:DeleteRolePermissionsBoundary",
    "iam:DeleteUserPermissionsBoundary",
    "iam:PassRole",
    "iam:PutGroupPolicy",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
    "iam:PutUserPermissionsBoundary",
    "iam:PutUserPolicy",
    "iam:SetDefaultPolicyVersion",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateLoginProfile",
    "iam:UpdateSAMLProvider",
    "iam:UploadSSHPublicKey",
    "iam:UploadSigningCertificate",
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
    "lambda:CreateFunction",
    "lambda:UpdateFunctionCode",
    "organizations:*",
    "sagemaker:CreateNotebookInstance",
    "sagemaker:CreatePresignedNotebookInstanceUrl",
    "securityhub:DisableSecurityHub",
    "ssm:CreateDocument",
    "ssm:SendCommand",
    "ssm:StartSession",
    "ssm:UpdateDocument",
    "sts:AssumeRole",
    "sts:GetFederationToken",
];

/// Services whose principal is not named as their actions are.
const PRINCIPALS: &[(&str, &str)] = &[("ec2", "vpc-flow-logs"), ("rds", "monitoring.rds")];

/// What Stanch itself uses, beside what remediations do.
const OWN_SERVICES: [&str; 8] = [
    "config", "events", "kms", "lambda", "logs", "s3", "ssm", "xray",
];

/// What remains allowed on Stanch's own resources.
const OWN_USE: [&str; 14] = [
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKey",
    "lambda:InvokeFunction",
    "logs:CreateLogGroup",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "events:PutEvents",
    "s3:PutObject",
    "ssm:DescribeAutomationStepExecutions",
    "ssm:GetAutomationExecution",
    "ssm:GetDocument",
    "ssm:StartAutomationExecution",
    "ssm:StopAutomationExecution",
];

/// A managed policy.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedPolicy {
    /// Its logical name, and its name after the prefix: `Write1`.
    pub name: String,
    /// For people.
    pub description: String,
    /// The document; partition, account and prefix as `${…}` for `Fn::Sub`.
    pub document: Value,
}

impl ManagedPolicy {
    /// Its length as AWS counts it, with the longest of partitions.
    #[must_use]
    pub fn length(&self) -> usize {
        length(&self.document)
    }
}

/// An action that is allowed although one would rather not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exception {
    /// `wildcard`: on all resources. `escalation`: it could be used to get more.
    pub kind: &'static str,
    /// The action.
    pub action: String,
    /// Who needs it.
    pub remediations: BTreeSet<String>,
}

impl Exception {
    /// Why it is so.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.kind {
            "wildcard" => {
                "AWS's service authorization reference has no resource type for this action"
            }
            _ => {
                "a remediation needs it; narrowed to ARNs here, to one resource by the session's policy, and never on what is Stanch's own"
            }
        }
    }
}

/// What the roles of a member account may do.
#[derive(Debug, Clone)]
pub struct Policies {
    read: Vec<ManagedPolicy>,
    write: Vec<ManagedPolicy>,
    destructive: Vec<ManagedPolicy>,
    /// The most that any role may, and what none may.
    pub boundary: Value,
    /// What could not be narrowed or denied.
    pub exceptions: Vec<Exception>,
}

impl Policies {
    pub(crate) fn new(enabled: &[Arc<Remediation>], models: &Models) -> Result<Self, DeployError> {
        let (mut read, mut write, mut destructive) =
            (Union::default(), Union::default(), Union::default());
        let mut exceptions: BTreeMap<(&'static str, String), BTreeSet<String>> = BTreeMap::new();
        let mut passed_to = BTreeSet::new();
        for one in enabled {
            let permissions = one
                .permissions(models)
                .map_err(|source| DeployError::Policy {
                    name: one.name.clone(),
                    source,
                })?;
            if permissions
                .iter()
                .any(|permission| permission.action == "iam:PassRole")
            {
                passed_to.extend(
                    permissions
                        .iter()
                        .map(|permission| principal(&permission.action)),
                );
            }
            for permission in permissions {
                let wild = permission.resources.contains("*").then_some("wildcard");
                let escalates = ESCALATION
                    .contains(&&*permission.action)
                    .then_some("escalation");
                for kind in wild.into_iter().chain(escalates) {
                    let entry = exceptions
                        .entry((kind, permission.action.clone()))
                        .or_default();
                    entry.insert(one.name.clone());
                }
                match (permission.read, one.safety.class) {
                    (true, _) => read.add(permission),
                    (false, Class::Destructive) => destructive.add(permission),
                    (false, _) => write.add(permission),
                }
            }
        }
        let services: BTreeSet<&str> = [&read, &write, &destructive]
            .into_iter()
            .flat_map(|union| union.0.keys().map(|action| service(action)))
            .chain(OWN_SERVICES)
            .collect();
        let boundary = boundary(&services, &exceptions, &passed_to);
        let policies = Self {
            read: read.packed("Read", "What remediations look at")?,
            write: write.packed(
                "Write",
                "What remediations change that can be put back, or that nobody loses",
            )?,
            destructive: destructive
                .packed("Destructive", "What destructive remediations change")?,
            boundary,
            exceptions: exceptions
                .into_iter()
                .map(|((kind, action), remediations)| Exception {
                    kind,
                    action,
                    remediations,
                })
                .collect(),
        };
        match policies.managed().count() {
            count if count > ATTACHED_LIMIT => Err(DeployError::TooManyPolicies(count)),
            _ => Ok(policies),
        }
    }

    /// Every managed policy but the boundary.
    pub fn managed(&self) -> impl Iterator<Item = &ManagedPolicy> {
        self.read.iter().chain(&self.write).chain(&self.destructive)
    }

    /// Length of the boundary, as [`ManagedPolicy::length`].
    #[must_use]
    pub fn boundary_length(&self) -> usize {
        length(&self.boundary)
    }

    /// The policies attached to the role of `who`, as a template has them.
    pub(crate) fn attached(&self, who: &str) -> Value {
        let refs = |policies: &[ManagedPolicy]| -> Vec<Value> {
            policies
                .iter()
                .map(|policy| json!({"Ref": policy.name}))
                .collect()
        };
        let mut attached = refs(&self.read);
        match who {
            // Where people carry out what is destructive, the orchestrator cannot.
            "orchestrator" => {
                attached.extend(refs(&self.write));
                let none = json!({"Ref": "AWS::NoValue"});
                attached.extend(
                    refs(&self.destructive)
                        .into_iter()
                        .map(|policy| json!({"Fn::If": ["Operator", none, policy]})),
                );
            }
            "destructive" => attached.extend(refs(&self.destructive)),
            _ => {}
        }
        Value::Array(attached)
    }

    /// The list of what could not be narrowed or denied, with the reasons.
    pub(crate) fn exceptions_table(&self) -> String {
        let mut table = "# Generated by `cargo xtask codegen`: `stanch deploy render`; do not edit.\nkind\taction\treason\tremediations\n".to_owned();
        for exception in &self.exceptions {
            let names: Vec<&str> = exception.remediations.iter().map(String::as_str).collect();
            let (kind, action, reason) = (exception.kind, &exception.action, exception.reason());
            // Writing to a string does not fail.
            let _ = writeln!(table, "{kind}\t{action}\t{reason}\t{}", names.join(" "));
        }
        table
    }
}

/// Permissions by action.
#[derive(Default)]
struct Union(BTreeMap<String, Permission>);

impl Union {
    fn add(&mut self, mut permission: Permission) {
        // A role is one for all regions.
        permission.resources = permission
            .resources
            .iter()
            .map(|arn| unplaced(arn))
            .collect();
        match self.0.get_mut(&permission.action) {
            Some(known) => known.resources.extend(permission.resources),
            None => {
                self.0.insert(permission.action.clone(), permission);
            }
        }
    }

    /// As few managed policies as hold it, each with whole services.
    fn packed(mut self, name: &str, description: &str) -> Result<Vec<ManagedPolicy>, DeployError> {
        for permission in self.0.values_mut() {
            narrow(&mut permission.resources);
        }
        let mut services: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
        for permission in self.0.into_values() {
            services
                .entry(service(&permission.action).to_owned())
                .or_default()
                .push(permission);
        }
        let mut bins: Vec<Vec<Permission>> = Vec::new();
        for (service, permissions) in services {
            let alone = length(&placed(&permissions));
            if alone > POLICY_LIMIT {
                return Err(DeployError::PolicyTooLong {
                    service,
                    length: alone,
                });
            }
            let fits = |bin: &&mut Vec<Permission>| {
                let both: Vec<Permission> = bin.iter().chain(&permissions).cloned().collect();
                length(&placed(&both)) <= POLICY_LIMIT
            };
            match bins.iter_mut().find(fits) {
                Some(bin) => bin.extend(permissions),
                None => bins.push(permissions),
            }
        }
        let policies = bins.iter().enumerate().map(|(place, bin)| ManagedPolicy {
            name: format!("{name}{}", place + 1),
            description: description.to_owned(),
            document: placed(bin),
        });
        Ok(policies.collect())
    }
}

/// Where CloudFormation's pseudo parameters would stand, without their colons, by which ARNs are taken apart.
const PLACES: [(&str, &str); 2] = [
    ("{partition}", "${AWS::Partition}"),
    ("{account}", "${AWS::AccountId}"),
];

fn unplaced(arn: &str) -> String {
    PLACES
        .iter()
        .fold(arn.replace("${AWS::Region}", "*"), |arn, (ours, theirs)| {
            arn.replace(theirs, ours)
        })
}

fn placed(permissions: &[Permission]) -> Value {
    let text = compact_policy(permissions);
    let text = PLACES
        .iter()
        .fold(text, |text, (ours, theirs)| text.replace(ours, theirs));
    serde_json::from_str(&text).unwrap_or_default()
}

/// Leaves out what a wider ARN holds.
fn narrow(resources: &mut BTreeSet<String>) {
    let all: Vec<String> = resources.iter().cloned().collect();
    resources.retain(|arn| !all.iter().any(|wider| wider != arn && matches(wider, arn)));
}

/// Whether `pattern`, in which `*` is any text, holds all of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            after.is_empty()
                || (0..=rest.len())
                    .any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
        }),
    }
}

/// The length as AWS counts it, with the longest values that its variables can have.
fn length(document: &Value) -> usize {
    [
        ("${AWS::Partition}", "aws-us-gov"),
        ("${AWS::AccountId}", "000000000000"),
        ("${NamePrefix}", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("${BucketPrefix}", "aaaaaaaaaaaaaaaaaaaaaaaa"),
    ]
    .iter()
    .fold(document.to_string(), |text, (variable, longest)| {
        text.replace(variable, longest)
    })
    .len()
}

fn service(action: &str) -> &str {
    action.split(':').next().unwrap_or(action)
}

/// The service that a role is passed to by who may do `action`.
fn principal(action: &str) -> String {
    let service = service(action);
    let named = PRINCIPALS.iter().find(|(prefix, _)| *prefix == service);
    format!("{}.amazonaws.com", named.map_or(service, |(_, name)| name))
}

fn boundary(
    services: &BTreeSet<&str>,
    exceptions: &BTreeMap<(&'static str, String), BTreeSet<String>>,
    passed_to: &BTreeSet<String>,
) -> Value {
    let allowed: Vec<String> = services
        .iter()
        .map(|service| format!("{service}:*"))
        .collect();
    let needed = |action: &str| exceptions.contains_key(&("escalation", action.to_owned()));
    let denied: Vec<&str> = ESCALATION
        .iter()
        .copied()
        .filter(|action| !needed(action))
        .collect();
    let own = |arn: &str| format!("arn:${{AWS::Partition}}:{arn}");
    let mut statements = vec![
        json!({"Sid": "AtMost", "Effect": "Allow", "Action": allowed, "Resource": "*"}),
        json!({"Sid": "NoEscalation", "Effect": "Deny", "Action": denied, "Resource": "*"}),
        json!({
            "Sid": "NotStanchItself",
            "Effect": "Deny",
            "NotAction": OWN_USE,
            "Resource": [
                own("iam::${AWS::AccountId}:role/${NamePrefix}*"),
                own("iam::${AWS::AccountId}:policy/${NamePrefix}*"),
                own("lambda:*:${AWS::AccountId}:function:${NamePrefix}*"),
                own("logs:*:${AWS::AccountId}:log-group:/aws/lambda/${NamePrefix}*"),
                own("events:*:${AWS::AccountId}:rule/${NamePrefix}*"),
                own("cloudwatch:*:${AWS::AccountId}:alarm:${NamePrefix}*"),
                own("ssm:*:${AWS::AccountId}:document/${NamePrefix}*"),
                own("ssm:*:${AWS::AccountId}:document/Remediate*"),
                own("ssm:*:${AWS::AccountId}:document/Rollback*"),
                own("s3:::${BucketPrefix}-*"),
            ],
        }),
        json!({
            "Sid": "NotItsKey",
            "Effect": "Deny",
            "NotAction": OWN_USE,
            "Resource": own("kms:*:${AWS::AccountId}:key/*"),
            "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/${NamePrefix}Logs"}},
        }),
        json!({
            "Sid": "NotWhatIsExempt",
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {"StringEquals": {EXEMPTION: "true"}},
        }),
        // A bucket's ARN has no account.
        json!({
            "Sid": "OnlyOwnBuckets",
            "Effect": "Deny",
            "Action": "s3:*",
            "Resource": "*",
            "Condition": {
                "StringNotEquals": {"aws:ResourceAccount": "${AWS::AccountId}"},
                "Null": {"aws:ResourceAccount": "false"},
            },
        }),
    ];
    if !passed_to.is_empty() {
        statements.push(json!({
            "Sid": "RolesOnlyToServices",
            "Effect": "Deny",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {
                "StringNotEquals": {"iam:PassedToService": passed_to},
                "Null": {"iam:PassedToService": "false"},
            },
        }));
    }
    json!({"Version": "2012-10-17", "Statement": statements})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_arn_holds_a_narrower() {
        let check = |pattern, text, expected| {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}")
        };
        check("*", "arn:x", true);
        check("a*c", "abc", true);
        check("a*c", "abd", false);
        check("role/*", "role/CloudTrail-*", true);
        check("role/CloudTrail-*", "role/*", false);
        check("a*b*", "aXbY", true);
        check("abc", "abc", true);
    }
}
