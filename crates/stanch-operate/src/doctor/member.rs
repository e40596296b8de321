//! A member account: the role, what it may do, documents, executions, and what is switched on.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use stanch_types::{AccountId, Api, CallError, CallErrorKind, Region, Secret};

use super::{
    Issue, Line, Member, Patient, State,
    administrator::Caller,
    look::{Look, is_absent},
};
use crate::{Unreachable, read};

/// Whom the role should trust.
pub struct Trusted {
    /// One of these principals: the orchestrator's role; on one machine whoever asks.
    arns: Vec<String>,
    /// The person who asks is such a principal.
    is_caller: bool,
}

impl Trusted {
    pub fn new(patient: &Patient<'_>, caller: &Caller, deployed: Option<bool>) -> Self {
        let installation = patient.installation;
        let name = installation.orchestrator_role();
        let role = installation.role_arn(&caller.account, &name);
        let is_role = caller.arn.contains(&format!(":assumed-role/{name}/"));
        match deployed {
            Some(true) => Self {
                arns: vec![role],
                is_caller: is_role,
            },
            Some(false) => Self {
                arns: vec![caller.arn.clone()],
                is_caller: true,
            },
            // Where it runs could not be told.
            None => Self {
                arns: vec![role, caller.arn.clone()],
                is_caller: is_role,
            },
        }
    }
}

/// Everything in one account.
pub async fn examine(
    own: &Look<'_>,
    trusted: Option<&Trusted>,
    id: &AccountId,
    member: &Member,
) -> Vec<Line> {
    let mut lines = Vec::new();
    let role = member
        .role
        .as_ref()
        .unwrap_or(&own.patient.installation.member_role);
    if let Some(trusted) = trusted {
        enter(
            own,
            trusted,
            id,
            (role, member.external_id.as_ref()),
            &mut lines,
        )
        .await;
    }
    for (place, region) in member.regions.iter().enumerate() {
        let api = match own.accounts.audit(id, region).await {
            Ok(api) => api,
            Err(why) => {
                lines.push(closed(own, region, &why));
                break;
            }
        };
        let inside = Inside {
            own,
            api,
            region,
            id,
        };
        if place == 0 {
            inside
                .role(trusted, role, member.external_id.as_ref(), &mut lines)
                .await;
        }
        inside.regional(&mut lines).await;
    }
    lines.into_iter().map(|line| line.of(id)).collect()
}

/// An account that cannot be looked into.
fn closed(own: &Look<'_>, region: &Region, why: &Unreachable) -> Line {
    let what = format!("the account from within, {region}");
    match why {
        Unreachable::NoAuditRole => own.line(
            Issue::Ground,
            what,
            State::Unknown,
            "no role to look with is configured",
            "set `deployment.audit_role`, for example to OrganizationAccountAccessRole; its session can only read",
        ),
        Unreachable::Call(error) => own.unknown(Issue::Ground, what, error),
    }
}

/// Whether Security Hub and Config are on in a region of an account.
pub async fn switched_on(own: &Look<'_>, id: &AccountId, region: &Region) -> Vec<Line> {
    let lines = match own.accounts.audit(id, region).await {
        Ok(api) => {
            Inside {
                own,
                api,
                region,
                id,
            }
            .switched_on()
            .await
        }
        Err(why) => vec![closed(own, region, &why)],
    };
    lines.into_iter().map(|line| line.of(id)).collect()
}

/// Tries the role: with its external id, and with another.
async fn enter(
    own: &Look<'_>,
    trusted: &Trusted,
    id: &AccountId,
    (role, external_id): (&str, Option<&Secret<String>>),
    lines: &mut Vec<Line>,
) {
    const ISSUE: Issue = Issue::AssumeRole;
    let arn = own.patient.installation.role_arn(id, role);
    let assume = |external_id: Option<&str>| {
        let mut params = json!({"RoleArn": arn, "RoleSessionName": "stanch-doctor", "DurationSeconds": 900, "Policy": crate::READS});
        if let (Some(id), Some(params)) = (external_id, params.as_object_mut()) {
            params.insert("ExternalId".to_owned(), json!(id));
        }
        own.call("sts", "AssumeRole", params)
    };
    let command = format!(
        "aws sts assume-role --role-arn {arn} --role-session-name test --external-id EXTERNAL_ID"
    );
    let right = assume(external_id.map(|id| id.reveal().as_str())).await;
    let entered = right.is_ok();
    lines.push(match right {
        Ok(_) if external_id.is_none() => own
            .line(ISSUE, "entering the role", State::Warning, "works without an external id", "set one in the role's trust policy and as `accounts.<id>.external_id`: it keeps others from using Stanch as their deputy")
            .command(command),
        Ok(_) => own.good(ISSUE, "entering the role", "works with its external id"),
        Err(error) if error.kind == CallErrorKind::Denied && !trusted.is_caller => own
            .line(ISSUE, "entering the role", State::Unknown, format!("you are refused; it is for {}", trusted.arns.join(" or ")), "the lines about its trust policy and the orchestrator's permission tell whether that one can")
            .command(command),
        Err(error) if error.kind == CallErrorKind::Denied => own
            .line(ISSUE, "entering the role", State::Problem, error.message, "the role does not exist, does not trust you, or asks for another external id: see the lines from within")
            .command(command),
        Err(error) => own.unknown(ISSUE, "entering the role", &error).command(command),
    });
    if !entered || external_id.is_none() {
        return;
    }
    let wrong = assume(Some("stanch-doctor-wrong-external-id")).await;
    lines.push(match wrong {
        Err(error) if error.kind == CallErrorKind::Denied => {
            own.good(ISSUE, "a wrong external id", "is refused")
        }
        Ok(_) => own.line(
            ISSUE,
            "a wrong external id",
            State::Problem,
            "is accepted: the trust policy asks for none",
            "add the condition `sts:ExternalId` to the trust policy",
        ),
        Err(error) => own.unknown(ISSUE, "a wrong external id", &error),
    });
}

/// A member account in a region, with an audit role.
struct Inside<'i, 'l> {
    own: &'i Look<'l>,
    api: Arc<dyn Api>,
    region: &'i Region,
    id: &'i AccountId,
}

impl Inside<'_, '_> {
    async fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, CallError> {
        self.own
            .call_with(&self.api, self.region, service, operation, params)
            .await
    }

    /// The role as IAM has it.
    async fn role(
        &self,
        trusted: Option<&Trusted>,
        role: &str,
        external_id: Option<&Secret<String>>,
        lines: &mut Vec<Line>,
    ) {
        const ISSUE: Issue = Issue::AssumeRole;
        let own = self.own;
        // IAM knows roles by their names without the path.
        let name = role.rsplit('/').next().unwrap_or(role);
        let what = format!("role {name}");
        let command = format!("aws iam get-role --role-name {name}");
        let found = match self.call("iam", "GetRole", json!({"RoleName": name})).await {
            Ok(found) => found,
            Err(error) if is_absent(&error) => {
                lines.push(
                    own.line(
                        ISSUE,
                        what,
                        State::Problem,
                        "does not exist",
                        "deploy the member stack into this account, the home region first",
                    )
                    .command(command),
                );
                return;
            }
            Err(error) => {
                lines.push(own.unknown(ISSUE, what, &error));
                return;
            }
        };
        lines.push(own.good(ISSUE, &*what, "exists").command(&*command));
        let trust = read::document(&found, "/Role/AssumeRolePolicyDocument").unwrap_or_default();
        let trust_command = format!("{command} --query Role.AssumeRolePolicyDocument");
        if let Some(trusted) = trusted {
            lines.push(own_trust(own, &trust, &trusted.arns).command(&*trust_command));
        }
        lines.push(asked_id(own, &trust, external_id).command(trust_command));
        if read::text(&found, "/Role/PermissionsBoundary/PermissionsBoundaryArn").is_none() {
            lines.push(
                own.line(
                    ISSUE,
                    "the role's boundary",
                    State::Warning,
                    "there is none",
                    "update the member stack: the boundary denies what nobody may",
                )
                .command(command),
            );
        }
        self.permissions(name, lines).await;
    }

    /// A few of what remediations need, by IAM's own simulator.
    async fn permissions(&self, role: &str, lines: &mut Vec<Line>) {
        let own = self.own;
        let installation = own.patient.installation;
        let arn = installation.role_arn(self.id, role);
        let partition = installation.partition();
        let document = installation.arn_in(
            self.region,
            self.id,
            "ssm",
            &format!(
                "automation-definition/{}:1",
                installation.named("ControlRunbook")
            ),
        );
        let asked = [
            (
                "s3:PutBucketPublicAccessBlock",
                format!("arn:{partition}:s3:::stanch-doctor"),
            ),
            (
                "ec2:RevokeSecurityGroupIngress",
                installation.arn_in(
                    self.region,
                    self.id,
                    "ec2",
                    "security-group/sg-0123456789abcdef0",
                ),
            ),
            ("ssm:StartAutomationExecution", document),
        ];
        for (action, resource) in asked {
            let what = format!("the role may {action}");
            let params = json!({"PolicySourceArn": arn, "ActionNames": [action], "ResourceArns": [resource]});
            let answer = self.call("iam", "SimulatePrincipalPolicy", params).await;
            lines.push(match answer {
                Ok(answer) => match read::text(&answer, "/EvaluationResults/0/EvalDecision") {
                    Some("allowed") => own.good(Issue::NotFixed, what, "allowed"),
                    decision => own
                        .line(Issue::NotFixed, what, State::Warning, decision.unwrap_or("no decision"), "is its remediation enabled (`stanch deploy render --only`)? If it is, update the member stack")
                        .command(format!("aws iam simulate-principal-policy --policy-source-arn {arn} --action-names {action} --resource-arns {resource}")),
                },
                Err(error) => own.unknown(Issue::NotFixed, what, &error),
            });
        }
    }

    async fn switched_on(&self) -> Vec<Line> {
        let hub = self.call("securityhub", "DescribeHub", json!({})).await;
        let status = self
            .call("config", "DescribeConfigurationRecorderStatus", json!({}))
            .await;
        let here = |line: Line| Line {
            what: format!("{} in {}", line.what, self.region),
            ..line
        };
        [security_hub(self.own, hub), config(self.own, status)]
            .map(here)
            .into()
    }

    /// What every region has.
    async fn regional(&self, lines: &mut Vec<Line>) {
        lines.extend(self.switched_on().await);
        self.documents(lines).await;
        self.automations(lines).await;
    }

    async fn documents(&self, lines: &mut Vec<Line>) {
        const ISSUE: Issue = Issue::NotFixed;
        let own = self.own;
        for (name, ours) in &own.patient.documents {
            let what = format!("document {name} in {}", self.region);
            let found = self
                .call("ssm", "DescribeDocument", json!({"Name": name}))
                .await;
            lines.push(match found {
                Ok(found) => {
                    let text = |at: &str| read::text(&found, at).unwrap_or("none");
                    let version = text("/Document/DocumentVersion");
                    match (text("/Document/Status"), text("/Document/VersionName")) {
                        ("Active", name) if name == ours => {
                            own.good(ISSUE, what, format!("version {version} is this release's"))
                        }
                        ("Active", theirs) => own
                            .line(
                                ISSUE,
                                what,
                                State::Warning,
                                format!("version {version} is `{theirs}`, this release's is `{ours}`"),
                                "update the stack of documents; if it is up to date, somebody has changed the document",
                            )
                            .command(format!(
                                "aws ssm list-document-versions --region {} --name {name}",
                                self.region
                            )),
                        (status, _) => own.line(
                            ISSUE,
                            what,
                            State::Problem,
                            status.to_lowercase(),
                            "look at its status information, and update the stack of documents",
                        ),
                    }
                }
                Err(error) if is_absent(&error) => own.good(
                    ISSUE,
                    what,
                    "is not deployed; only the executor `ssm` needs it",
                ),
                Err(error) => own.unknown(ISSUE, what, &error),
            });
        }
    }

    async fn automations(&self, lines: &mut Vec<Line>) {
        const ISSUE: Issue = Issue::Stuck;
        let (own, region) = (self.own, self.region);
        let what = format!("automation executions in {region}");
        let began = own
            .patient
            .now
            .saturating_sub(SignedDuration::from_hours(1))
            .unwrap_or(own.patient.now);
        let params = json!({
            "Filters": [
                {"Key": "ExecutionStatus", "Values": ["InProgress"]},
                {"Key": "StartTimeBefore", "Values": [format!("{began:.0}")]},
            ],
            "MaxResults": 50,
        });
        lines.push(match self.call("ssm", "DescribeAutomationExecutions", params).await {
            Ok(found) => {
                let stuck: Vec<&str> = read::items(&found, "/AutomationExecutionMetadataList")
                    .filter(|one| read::moment(one, "/ExecutionStartTime").is_none_or(|at| at <= began))
                    .filter_map(|one| read::text(one, "/AutomationExecutionId"))
                    .collect();
                match stuck.first() {
                    None => own.good(ISSUE, what, "none in progress for an hour"),
                    Some(one) => own
                        .line(ISSUE, what, State::Problem, format!("{} in progress for more than an hour", stuck.len()), "look at its step; stop it if nothing will come: what it did stays")
                        .command(format!("aws ssm describe-automation-step-executions --region {region} --automation-execution-id {one}")),
                }
            }
            Err(error) => own.unknown(ISSUE, what, &error),
        });
    }
}

/// Whether the trust policy lets one of `arns` in. Who becomes a role is a session of it.
fn own_trust(own: &Look<'_>, trust: &Value, arns: &[String]) -> Line {
    const WHAT: &str = "whom the role trusts";
    let principals: Vec<&str> = read::statements(trust)
        .into_iter()
        .filter(|one| one.get("Effect") == Some(&json!("Allow")))
        .flat_map(|one| match one.get("Principal") {
            Some(Value::String(any)) => vec![any.as_str()],
            Some(principal) => read::many(principal.get("AWS")),
            None => Vec::new(),
        })
        .collect();
    let line = |state, seen: String, advice: String| {
        own.line(Issue::AssumeRole, WHAT, state, seen, advice)
    };
    if principals.contains(&"*") {
        let advice = "name the orchestrator's role as the principal, or update the member stack";
        return line(State::Problem, "everybody".to_owned(), advice.to_owned());
    }
    for arn in arns {
        let role = role_of(arn);
        if principals.iter().any(|one| *one == role || one == arn) {
            return own.good(Issue::AssumeRole, WHAT, role);
        }
    }
    for arn in arns {
        let account = arn.split(':').nth(4).unwrap_or_default();
        let root = format!(":iam::{account}:root");
        if principals
            .iter()
            .any(|one| *one == account || one.ends_with(&root))
        {
            let advice = "narrow it to the orchestrator's role, or update the member stack";
            return line(
                State::Warning,
                format!("the whole account {account}"),
                advice.to_owned(),
            );
        }
    }
    let seen = match principals.is_empty() {
        true => "nobody".to_owned(),
        false => principals.join(", "),
    };
    let wanted: Vec<String> = arns.iter().map(|arn| role_of(arn)).collect();
    let advice = format!(
        "it should trust {}: update the member stack with this administrator account",
        wanted.join(" or ")
    );
    line(State::Problem, seen, advice)
}

/// The role's ARN of a session's: `arn:aws:sts::1:assumed-role/R/session` is of `arn:aws:iam::1:role/R`.
fn role_of(arn: &str) -> String {
    match arn.split_once(":assumed-role/") {
        Some((front, rest)) => {
            let name = rest.split('/').next().unwrap_or(rest);
            format!("{}:role/{name}", front.replacen(":sts:", ":iam:", 1))
        }
        None => arn.to_owned(),
    }
}

fn asked_id(own: &Look<'_>, trust: &Value, external_id: Option<&Secret<String>>) -> Line {
    const WHAT: &str = "the external id that the role asks for";
    let asked: Vec<&str> = read::statements(trust)
        .into_iter()
        .flat_map(|one| read::many(one.pointer("/Condition/StringEquals/sts:ExternalId")))
        .collect();
    match (asked.is_empty(), external_id) {
        (true, _) => own.line(Issue::AssumeRole, WHAT, State::Problem, "none", "add the condition `sts:ExternalId` to the trust policy, or update the member stack"),
        (false, None) => own.line(Issue::AssumeRole, WHAT, State::Problem, "is not configured here", "set `accounts.<id>.external_id` to the one of the role"),
        // Which one it should be is a secret.
        (false, Some(ours)) => match asked.contains(&ours.reveal().as_str()) {
            true => own.good(Issue::AssumeRole, WHAT, "is the configured one"),
            false => own.line(Issue::AssumeRole, WHAT, State::Problem, "is another than the configured one", "take the same `ExternalIdPrefix` for both stacks, or correct `accounts.<id>.external_id`"),
        },
    }
}

/// Whether Security Hub is on, from the answer to DescribeHub.
pub fn security_hub(own: &Look<'_>, hub: Result<Value, CallError>) -> Line {
    const WHAT: &str = "Security Hub";
    let command = "aws securityhub describe-hub";
    match hub {
        Ok(_) => own.good(Issue::Ground, WHAT, "on"),
        // <https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_DescribeHub.html>
        Err(error) if error.code == "InvalidAccessException" || is_absent(&error) => own
            .line(
                Issue::Ground,
                WHAT,
                State::Warning,
                "off",
                "no finding of its own can come: turn it on for the account and region",
            )
            .command("aws securityhub enable-security-hub"),
        Err(error) => own.unknown(Issue::Ground, WHAT, &error).command(command),
    }
}

/// Whether AWS Config records, from the answer to DescribeConfigurationRecorderStatus.
pub fn config(own: &Look<'_>, status: Result<Value, CallError>) -> Line {
    const WHAT: &str = "AWS Config";
    let command = "aws configservice describe-configuration-recorder-status";
    match status {
        Ok(found) => {
            let recorders: Vec<&Value> =
                read::items(&found, "/ConfigurationRecordersStatus").collect();
            let records = |one: &&&Value| one.get("recording") == Some(&json!(true));
            match (recorders.is_empty(), recorders.iter().find(records)) {
                (true, _) => own.line(Issue::Ground, WHAT, State::Warning, "there is no recorder", "most controls need it: turn it on for the account and region").command(command),
                (false, None) => own.line(Issue::Ground, WHAT, State::Warning, "the recorder is stopped", "start it").command("aws configservice start-configuration-recorder --configuration-recorder-name default"),
                (false, Some(one)) => match read::text(one, "/lastStatus") {
                    Some("Failure") => own
                        .line(Issue::Ground, WHAT, State::Problem, format!("cannot deliver: {}", read::text(one, "/lastErrorMessage").unwrap_or("no reason is given")), "look at the bucket and role of its delivery channel")
                        .command(command),
                    _ => own.good(Issue::Ground, WHAT, "records"),
                },
            }
        }
        Err(error) => own.unknown(Issue::Ground, WHAT, &error).command(command),
    }
}
