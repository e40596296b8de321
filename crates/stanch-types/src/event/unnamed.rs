//! Results of AWS Config about what it names by an id that no call takes. Config itself knows the
//! name, and can be asked.

use std::fmt;

use serde_json::{Value, json};

use super::{Incoming, Problem, Route, asff::own_resource};
use crate::{Call, CallError, Finding, Reply, Resource};

/// The resource of a Config result that goes by the id that nothing but its service makes.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>,
/// `DbiResourceId` and `DbClusterResourceId` in
/// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBInstance.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnamed {
    kind: String,
    id: String,
}

impl Unnamed {
    /// The IAM action of [`Unnamed::question`], which knows no resources.
    pub const ACTION: &str = "config:BatchGetResourceConfig";

    /// The resource of `finding`, unless it has its name.
    #[must_use]
    pub fn of(finding: &Finding) -> Option<Self> {
        let text = |member: &str| finding.raw.get(member).and_then(Value::as_str);
        // Other products give ARNs.
        text("configRuleName")?;
        let has_name = |resource: &Resource| resource.arn.is_some();
        let (kind, id) = (text("resourceType")?, text("resourceId")?);
        (is_unique_id(kind, id) && !finding.resources.iter().all(has_name)).then(|| Self {
            kind: kind.to_owned(),
            id: id.to_owned(),
        })
    }

    /// What Config is asked, in the account and region of the finding.
    #[must_use]
    pub fn question(&self) -> Call {
        let key = json!({"resourceType": self.kind, "resourceId": self.id});
        Call::new(
            "config",
            "BatchGetResourceConfig",
            json!({"resourceKeys": [key]}),
        )
    }

    /// The finding as it is read once Config has answered.
    #[must_use]
    pub fn named(
        &self,
        mut finding: Box<Finding>,
        route: Route,
        answer: Result<Reply, CallError>,
    ) -> Incoming {
        match self.name(&mut finding, answer) {
            Ok(()) => Incoming::Accepted { finding, route },
            Err(problem) => Incoming::Unreadable {
                problem,
                payload: finding.raw.to_string().into_bytes().into(),
            },
        }
    }

    fn name(&self, finding: &mut Finding, answer: Result<Reply, CallError>) -> Result<(), Problem> {
        let answer = answer.map_err(|error| {
            self.problem(
                format!("AWS Config cannot be asked for it: {error}"),
                format!(
                    "once the member role may make `{}` and AWS Config answers, `stanch deadletter retry`",
                    Self::ACTION
                ),
            )
        })?;
        let items = answer.output.get("baseConfigurationItems");
        let mut items = items.and_then(Value::as_array).into_iter().flatten();
        let text = |item: &Value, member: &str| {
            let text = item.get(member).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let Some(item) = items.find(|item| text(item, "resourceId") == self.id) else {
            // Nothing is said of what is deleted, either:
            // <https://docs.aws.amazon.com/config/latest/APIReference/API_BatchGetResourceConfig.html>.
            return Err(self.problem(
                "AWS Config knows no such resource",
                format!(
                    "unless it is deleted: have AWS Config record `{}` in this region, or let Security Hub deliver the finding, which has the ARN",
                    self.kind
                ),
            ));
        };
        let id = text(item, "arn");
        let Some(arn) = own_resource(&finding.account, &self.kind, &id, None)? else {
            return Err(self.problem(
                format!("AWS Config's `arn` of it is `{}`", super::short(&id)),
                "let Security Hub deliver the finding, which has the ARN",
            ));
        };
        finding.title = finding.title.replace(&self.id, &id);
        finding.resources = vec![Resource::new(&self.kind, &id, Some(arn))];
        Ok(())
    }

    fn problem(&self, why: impl fmt::Display, hint: impl Into<String>) -> Problem {
        Problem::new(format!("{self}, and {why}"), hint)
    }
}

/// Why nothing can be done about it yet.
impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id } = self;
        write!(
            f,
            "`{id}` is the unique id of an `{kind}`, not the name that API calls take"
        )
    }
}

fn is_unique_id(kind: &str, id: &str) -> bool {
    let prefix = match kind {
        "AWS::IAM::Group" => "AGPA",
        "AWS::IAM::Policy" => "ANPA",
        "AWS::IAM::Role" => "AROA",
        "AWS::IAM::User" => "AIDA",
        "AWS::RDS::DBCluster" => "cluster-",
        "AWS::RDS::DBInstance" => "db-",
        _ => return false,
    };
    let is_made = |letter: u8| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    id.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() >= 16 && rest.bytes().all(is_made))
}
