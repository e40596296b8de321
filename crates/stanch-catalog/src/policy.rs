//! What a run may do: IAM policies that follow from the calls.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stanch_models::{Models, Needed};
use stanch_types::Call;

use crate::{
    expression::{Expression, Scope},
    plan::Plan,
    remediation::{Action, Read, Remediation, Step},
    template::Template,
};

/// An inline session policy's limit, in characters:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.
pub const SESSION_POLICY_LIMIT: usize = 2048;

/// Why no policy can be written. Nothing may be run then.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The API model does not have the call.
    #[error(transparent)]
    Lookup(#[from] stanch_models::LookupError),
    /// The models cannot be read.
    #[error(transparent)]
    Damaged(#[from] stanch_models::blob::BlobError),
    /// It does not follow from the call which resources its action works on.
    #[error(
        "`{call}` needs `{action}`, and its input does not tell on which resource; say so with `on`"
    )]
    NoResource {
        /// The call.
        call: String,
        /// The IAM action.
        action: String,
    },
    /// A value would widen the policy.
    #[error("`{value}` cannot stand in an ARN of a policy: it holds a wildcard or a variable")]
    Wildcard {
        /// The value.
        value: String,
    },
    /// The policy is longer than AWS takes.
    #[error(
        "the session policy has {length} characters, and AWS takes {SESSION_POLICY_LIMIT}: this run touches too many resources at once; fix some of them by hand, or split the remediation"
    )]
    TooLong {
        /// Its length.
        length: usize,
    },
}

/// An IAM action and what it may be used on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// `s3:PutBucketPolicy`.
    pub action: String,
    /// ARNs; `*` where the action has no resources.
    pub resources: BTreeSet<String>,
    /// It changes nothing.
    pub read: bool,
}

/// Where a call is made: what ARN formats leave open besides its input.
struct Place<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
}

impl Plan {
    /// The policy of the session that carries the plan out and verifies it: just the actions of its
    /// requests and reads, each on its own resources. Compact JSON.
    ///
    /// # Errors
    /// The resources of a call are not known, or the policy is too long.
    pub fn session_policy(&self, models: &Models) -> Result<String, PolicyError> {
        self.session_policy_with(models, Vec::new())
    }

    /// [`Self::session_policy`] with what the executor needs besides.
    ///
    /// # Errors
    /// The resources of a call are not known, or the policy is too long.
    pub fn session_policy_with(
        &self,
        models: &Models,
        further: Vec<Permission>,
    ) -> Result<String, PolicyError> {
        let mut wanted = self.read_permissions(models)?;
        wanted.extend(further);
        let place = self.place();
        for step in &self.steps {
            if let Some(call) = step.action.call() {
                wanted.extend(permissions(models, call, &step.on, &place)?);
            }
            // What is not there needs no permission.
            let allowed = step.allow.iter().filter(|(_, on)| !on.is_empty());
            wanted.extend(allowed.map(|(action, on)| Permission {
                action: action.clone(),
                resources: on.iter().cloned().collect(),
                read: false,
            }));
        }
        limited(&wanted)
    }

    fn read_permissions(&self, models: &Models) -> Result<Vec<Permission>, PolicyError> {
        let mut wanted = Vec::new();
        for read in &self.reads {
            wanted.extend(permissions(models, &read.call, &read.on, &self.place())?);
        }
        Ok(wanted)
    }

    fn place(&self) -> Place<'_> {
        Place {
            partition: self.partition.as_str(),
            region: self.region.as_str(),
            account: self.account.as_str(),
        }
    }
}

fn limited(wanted: &[Permission]) -> Result<String, PolicyError> {
    let statements = statements(wanted);
    let policy = document(&statements);
    if policy.chars().count() <= SESSION_POLICY_LIMIT {
        return Ok(policy);
    }
    let policy = document(&merged(statements));
    match policy.chars().count() {
        length if length > SESSION_POLICY_LIMIT => Err(PolicyError::TooLong { length }),
        _ => Ok(policy),
    }
}

/// A policy document that allows just this, as compact JSON: one statement for each set of
/// resources.
#[must_use]
pub fn policy_document(permissions: &[Permission]) -> String {
    document(&statements(permissions))
}

/// The same in fewer statements, each of several services: for limits on a policy's length.
#[must_use]
pub fn compact_policy(permissions: &[Permission]) -> String {
    document(&merged(statements(permissions)))
}

/// Actions and what they may be used on.
struct Statement<'p> {
    actions: BTreeSet<&'p str>,
    resources: BTreeSet<&'p str>,
}

fn statements(permissions: &[Permission]) -> Vec<Statement<'_>> {
    let mut on: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for permission in permissions {
        let resources = permission.resources.iter().map(String::as_str);
        on.entry(&permission.action).or_default().extend(resources);
    }
    let mut statements: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
    for (action, resources) in on {
        statements.entry(resources).or_default().insert(action);
    }
    statements
        .into_iter()
        .map(|(resources, actions)| Statement { actions, resources })
        .collect()
}

fn document(statements: &[Statement<'_>]) -> String {
    let one_or_all = |texts: &BTreeSet<&str>| match texts.iter().collect::<Vec<_>>()[..] {
        [one] => json!(one),
        _ => json!(texts),
    };
    let statements: Vec<Value> = statements
        .iter()
        .map(|statement| {
            json!({
                "Effect": "Allow",
                "Action": one_or_all(&statement.actions),
                "Resource": one_or_all(&statement.resources),
            })
        })
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Fewer statements that allow the same: those that have no service in common become one, since no
/// action of the one works on a resource of the other.
fn merged(statements: Vec<Statement<'_>>) -> Vec<Statement<'_>> {
    let mut merged: Vec<Statement<'_>> = Vec::new();
    for statement in statements {
        let services = statement.services();
        let other = merged
            .iter_mut()
            .find(|other| match (&services, other.services()) {
                (Some(these), Some(those)) => these.is_disjoint(&those),
                _ => false,
            });
        match other {
            Some(other) => {
                other.actions.extend(statement.actions);
                other.resources.extend(statement.resources);
            }
            None => merged.push(statement),
        }
    }
    merged
}

impl<'p> Statement<'p> {
    /// The services of its actions and resources; none if a resource is of any service.
    fn services(&self) -> Option<BTreeSet<&'p str>> {
        let of_resources = self.resources.iter().map(|arn| {
            let service = arn.split(':').nth(2)?;
            (!service.contains(['*', '?'])).then_some(service)
        });
        let of_actions = self.actions.iter().map(|action| action.split(':').next());
        of_resources.chain(of_actions).collect()
    }
}

impl Remediation {
    /// The policy of a session that only looks: just the actions of its reads, on all resources of
    /// the account that the session is in. Compact JSON.
    ///
    /// # Errors
    /// The policy is too long.
    pub fn read_policy(&self, models: &Models) -> Result<String, PolicyError> {
        let mut wanted = self.permissions(models)?;
        wanted.retain(|permission| permission.read);
        for permission in &mut wanted {
            permission.resources = ["*".to_owned()].into();
        }
        limited(&wanted)
    }

    /// Everything that any run of it may need, in any account and region: what a finding tells
    /// stands as `*`, partition, region and account as CloudFormation's pseudo parameters
    /// (`${AWS::Partition}`).
    ///
    /// # Errors
    /// The resources of a call are not known.
    pub fn permissions(&self, models: &Models) -> Result<Vec<Permission>, PolicyError> {
        let place = Place {
            partition: "${AWS::Partition}",
            region: "${AWS::Region}",
            account: "${AWS::AccountId}",
        };
        let mut scope = Scope::new();
        scope.set("partition", &json!(place.partition));
        scope.set("region", &json!(place.region));
        scope.set("account", &json!(place.account));
        let mut wanted = Vec::new();
        for Read {
            service,
            operation,
            with,
            on,
            ..
        } in self
            .reads
            .iter()
            .chain(self.impact.iter().map(|probe| &probe.read))
        {
            let call = Call::new(service, operation, outline(with, &scope));
            wanted.extend(permissions(models, &call, &outlines(on, &scope), &place)?);
        }
        for step in self.apply.iter().chain(&self.undo) {
            wanted.extend(step_permissions(models, step, &scope, &place)?);
        }
        let mut merged: BTreeMap<String, Permission> = BTreeMap::new();
        for permission in wanted {
            match merged.get_mut(&permission.action) {
                Some(known) => known.resources.extend(permission.resources),
                None => {
                    merged.insert(permission.action.clone(), permission);
                }
            }
        }
        Ok(merged.into_values().collect())
    }
}

impl Remediation {
    /// The services that any run of it may call, as botocore names them.
    pub fn services(&self) -> BTreeSet<&str> {
        let probes = self.impact.iter().map(|probe| &probe.read);
        let reads = self.reads.iter().chain(probes);
        let steps = self.apply.iter().chain(&self.undo);
        let called = steps.filter_map(|step| match &step.action {
            Action::Call { service, .. } | Action::Wait { service, .. } => Some(service.as_str()),
            _ => None,
        });
        reads
            .map(|read| read.service.as_str())
            .chain(called)
            .collect()
    }

    /// IAM's prefixes of what a run of it is allowed beside its calls.
    pub fn prefixes(&self) -> BTreeSet<&str> {
        let steps = self.apply.iter().chain(&self.undo);
        steps
            .flat_map(|step| &step.allow)
            .filter_map(|(action, _)| Some(action.split_once(':')?.0))
            .collect()
    }
}

fn step_permissions(
    models: &Models,
    step: &Step,
    scope: &Scope,
    place: &Place<'_>,
) -> Result<Vec<Permission>, PolicyError> {
    let mut wanted = Vec::new();
    for (action, on) in &step.allow {
        let (prefix, name) = action.split_once(':').unwrap_or(("", action));
        let iam = models.iam(prefix)?;
        let formats: Vec<&str> = iam
            .iter()
            .filter_map(|iam| Some((iam, iam.action(name)?)))
            .flat_map(|(iam, action)| {
                let types = action.resources.iter();
                types.filter_map(|kind| Some(&*iam.resource(&kind.name)?.arn))
            })
            .collect();
        wanted.push(Permission {
            action: action.clone(),
            resources: told(&outlines(on, scope), &formats, place),
            read: false,
        });
    }
    if let Action::Call {
        service,
        operation,
        with,
        ..
    }
    | Action::Wait {
        service,
        operation,
        with,
        ..
    } = &step.action
    {
        let call = Call::new(service, operation, outline(with, scope));
        wanted.extend(permissions(
            models,
            &call,
            &outlines(&step.on, scope),
            place,
        )?);
    }
    Ok(wanted)
}

/// A template with `*` for whatever is not known before a finding arrives.
pub(crate) fn outline(template: &Template, scope: &Scope) -> Value {
    match template {
        Template::Literal(value) => value.clone(),
        Template::Whole { expression, .. } if !is_known(expression) => json!("*"),
        Template::Whole { .. } => template.render(scope).unwrap_or_else(|_| json!("*")),
        Template::Text(parts) => {
            let text = parts.iter().map(|part| match part {
                crate::template::Part::Text(text) => text.clone(),
                crate::template::Part::Expression(expression) if !is_known(expression) => {
                    "*".to_owned()
                }
                crate::template::Part::Expression(expression) => match expression.evaluate(scope) {
                    Ok(Value::String(text)) => text,
                    _ => "*".to_owned(),
                },
            });
            Value::String(text.collect())
        }
        Template::List(items) => items.iter().map(|item| outline(item, scope)).collect(),
        Template::Map(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), outline(member, scope)))
            .collect(),
    }
}

/// True if it is over nothing but the place. Of anything else it may make a default that a finding or
/// a setting overrides.
fn is_known(expression: &Expression) -> bool {
    let names = expression.names();
    names
        .iter()
        .all(|name| ["account", "region", "partition"].contains(name))
}

fn outlines(templates: &[Template], scope: &Scope) -> Vec<String> {
    let outline = |template: &Template| match (template, outline(template, scope)) {
        (Template::Whole { .. }, Value::String(arn)) if arn == "*" => SOME_ARN.to_owned(),
        (_, Value::String(arn)) => arn,
        (_, other) => other.to_string(),
    };
    templates.iter().map(outline).collect()
}

/// An ARN that only a read will tell: any that the action may be used on.
const SOME_ARN: &str = "\u{0}";

/// The permissions of one call.
fn permissions(
    models: &Models,
    call: &Call,
    on: &[String],
    place: &Place<'_>,
) -> Result<Vec<Permission>, PolicyError> {
    let resolved = models.resolve(&call.service, &call.operation)?;
    let read = models.is_read(&resolved.service, resolved.operation())? == Some(true);
    let needed = models.actions_for(&resolved.service, resolved.operation())?;
    let mut wanted = Vec::new();
    for action in needed.iter().filter(|action| !action.optional) {
        wanted.push(Permission {
            action: action.qualified(),
            resources: resources(action, call, on, place)?,
            read,
        });
    }
    Ok(wanted)
}

fn resources(
    needed: &Needed,
    call: &Call,
    on: &[String],
    place: &Place<'_>,
) -> Result<BTreeSet<String>, PolicyError> {
    if !on.is_empty() {
        let formats: Vec<&str> = needed.arns.iter().map(|format| &**format).collect();
        return Ok(told(on, &formats, place));
    }
    let unknown = || PolicyError::NoResource {
        call: call.to_string(),
        action: needed.qualified(),
    };
    // Where AWS's reference does not list the action, its resources are not known either.
    let action = needed.action.as_ref().ok_or_else(unknown)?;
    if action.resources.is_empty() {
        return Ok(BTreeSet::from(["*".to_owned()]));
    }
    let mut found = BTreeSet::new();
    for (resource, format) in action.resources.iter().zip(&needed.arns) {
        let arns = fill(format, &call.params, place)?;
        if arns.is_empty() && resource.required {
            return Err(unknown());
        }
        found.extend(arns);
    }
    if found.is_empty() {
        Err(unknown())
    } else {
        Ok(found)
    }
}

/// What the file says of an action's resources. Where only a read tells, all of the action's kinds.
fn told(on: &[String], formats: &[&str], place: &Place<'_>) -> BTreeSet<String> {
    let (open, mut found): (BTreeSet<_>, BTreeSet<_>) =
        on.iter().cloned().partition(|arn| arn == SOME_ARN);
    if !open.is_empty() && formats.is_empty() {
        found.insert("*".to_owned());
    } else if !open.is_empty() {
        found.extend(formats.iter().map(|format| widest(format, place)));
    }
    found
}

/// All ARNs of a format.
fn widest(format: &str, place: &Place<'_>) -> String {
    let mut arn = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        arn.push_str(before);
        arn.push_str(match name {
            "Partition" => place.partition,
            "Region" => place.region,
            "Account" => place.account,
            _ => "*",
        });
        rest = after;
    }
    arn + rest
}

/// The ARNs of a format such as `arn:${Partition}:s3:::${BucketName}` that a call's input names;
/// none if it names no such resource.
fn fill(format: &str, params: &Value, place: &Place<'_>) -> Result<Vec<String>, PolicyError> {
    let mut open = Vec::new();
    let mut arn = String::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        arn.push_str(before);
        match name {
            "Partition" => arn.push_str(place.partition),
            "Region" => arn.push_str(place.region),
            "Account" => arn.push_str(place.account),
            name => {
                open.push(name);
                arn.push('\u{0}');
            }
        }
        rest = after;
    }
    arn.push_str(rest);
    let given = whole_arns(&arn, params);
    if !given.is_empty() {
        return given
            .iter()
            .map(|arn| checked(arn, place).map(str::to_owned))
            .collect();
    }
    let mut arns = vec![arn];
    for name in open {
        let values = named(name, params);
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut filled = Vec::new();
        for value in values {
            let value = checked(value, place)?;
            filled.extend(arns.iter().map(|arn| arn.replacen('\u{0}', value, 1)));
        }
        arns = filled;
    }
    Ok(arns)
}

/// Parameters whose values are ARNs of this format.
fn whole_arns<'p>(format: &str, params: &'p Value) -> Vec<&'p str> {
    let fits = |text: &str| {
        let mut rest = text;
        let mut parts = format.split('\u{0}').peekable();
        let Some(first) = parts.next() else {
            return false;
        };
        let Some(after) = rest.strip_prefix(first) else {
            return false;
        };
        rest = after;
        while let Some(part) = parts.next() {
            let found = if parts.peek().is_none() {
                rest.strip_suffix(part).map(|value| (value, ""))
            } else {
                rest.split_once(part)
            };
            match found {
                Some((value, after)) if !value.is_empty() => rest = after,
                _ => return false,
            }
        }
        rest.is_empty()
    };
    let members = params
        .as_object()
        .into_iter()
        .flat_map(|members| members.values());
    members
        .flat_map(texts)
        .filter(|text| text.starts_with("arn:") && fits(text))
        .collect()
}

/// The values of the parameter that a placeholder means: `${BucketName}` is `Bucket`,
/// `${InstanceId}` is `InstanceIds`.
fn named<'p>(placeholder: &str, params: &'p Value) -> Vec<&'p str> {
    let wanted = stem(placeholder);
    params
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| stem(name) == wanted || stem(name.trim_end_matches('s')) == wanted)
        .flat_map(|(_, value)| texts(value))
        .collect()
}

/// A name without case and without what says in which way it names.
fn stem(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    ["identifier", "name", "id", "arn"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix).filter(|stem| !stem.is_empty()))
        .unwrap_or(&name)
        .to_owned()
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        _ => value.as_str().into_iter().collect(),
    }
}

/// A value that may stand in an ARN. What an earlier step's answer will tell is any value; what comes
/// from a finding must not be.
fn checked<'v>(value: &'v str, place: &Place<'_>) -> Result<&'v str, PolicyError> {
    if value.starts_with("{{ ") {
        return Ok("*");
    }
    let outlined = place.account.starts_with("${");
    if !outlined && (value.contains(['*', '?']) || value.contains("${")) {
        return Err(PolicyError::Wildcard {
            value: value.to_owned(),
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(action: &str, resources: &[&str]) -> Permission {
        Permission {
            action: action.to_owned(),
            resources: resources.iter().map(|arn| (*arn).to_owned()).collect(),
            read: false,
        }
    }

    #[test]
    fn only_statements_of_different_services_become_one() {
        let wanted = [
            permission("s3:GetBucketAcl", &["arn:aws:s3:::a"]),
            permission("s3:PutBucketAcl", &["arn:aws:s3:::b"]),
            permission("kms:DescribeKey", &["arn:aws:kms:x:1:key/k"]),
            permission(
                "route53:AssociateVPCWithHostedZone",
                &["arn:aws:ec2:x:1:vpc/*"],
            ),
            permission("ec2:DeleteVpc", &["arn:aws:ec2:x:1:vpc/v"]),
            permission("ec2:DescribeVpcs", &["*"]),
        ];
        let merged = merged(statements(&wanted));
        assert!(merged.len() < 6);
        for statement in merged {
            // Who may do something may do it where it was allowed, and nowhere else in its service.
            for action in &statement.actions {
                let own = wanted.iter().find(|own| own.action == **action).unwrap();
                let service = |arn: &str| arn.split(':').nth(2).map(str::to_owned);
                let services: Vec<_> = own.resources.iter().map(|arn| service(arn)).collect();
                let near = |arn: &&&str| services.contains(&service(arn));
                let found: Vec<&str> = statement.resources.iter().filter(near).copied().collect();
                assert_eq!(found, own.resources.iter().collect::<Vec<_>>(), "{action}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_made_shorter_and_else_refused() {
        let wanted: Vec<Permission> = ('a'..='n')
            .map(|service| {
                let arn =
                    format!("arn:aws:{service}:eu-central-1:123456789012:thing/{service:0>50}");
                permission(&format!("{service}:DescribeThing"), &[&arn])
            })
            .collect();
        assert!(policy_document(&wanted).len() > SESSION_POLICY_LIMIT);
        assert!(limited(&wanted).unwrap().len() <= SESSION_POLICY_LIMIT);
        let names = "x".repeat(SESSION_POLICY_LIMIT);
        let error = limited(&[permission("a:B", &[&names])]).unwrap_err();
        assert!(matches!(error, PolicyError::TooLong { .. }));
    }
}
