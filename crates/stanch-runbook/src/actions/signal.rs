//! `aws:approve` and `aws:pause`

use serde_json::{Value, json};

use crate::{
    Signal, StepError,
    engine::{Answer, Context, Inputs},
};

/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-pause.html>
pub(super) async fn pause(context: &Context<'_>) -> Result<Answer, StepError> {
    if context.dry() {
        context.doubt("waits for somebody to resume it");
        return Ok(Answer::default());
    }
    while context.signal().await? != Signal::Resume {}
    Ok(Answer::default())
}

/// Waits until enough of the approvers have approved; one rejection is enough to fail. Nobody else's
/// word counts, and nobody's counts twice.
///
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/automation-action-approve.html>
pub(super) async fn approve(context: &Context<'_>, inputs: &Inputs) -> Result<Answer, StepError> {
    if context.dry() {
        context.doubt("waits for approval");
        return Ok(Answer::unknown());
    }
    let approvers = inputs.texts("Approvers")?;
    let needed = usize::try_from(inputs.integer("MinRequiredApprovals")?.unwrap_or(1).max(1))
        .unwrap_or(usize::MAX);
    if approvers.len() < needed {
        return Err(StepError::Input(format!(
            "{needed} approvals are required and there are {} approvers",
            approvers.len()
        )));
    }
    if let Some(topic) = inputs
        .maybe_text("NotificationArn")?
        .filter(|topic| !topic.is_empty())
    {
        let message = inputs.maybe_text("Message")?.unwrap_or_default();
        let text = format!(
            "{message}\n\nExecution {} waits for approval at step {}.",
            context.execution, context.step
        );
        context
            .call(
                "sns",
                "Publish",
                json!({ "TopicArn": topic, "Message": text }),
            )
            .await?;
    }
    let mut decisions: Vec<Value> = Vec::new();
    let mut approved: Vec<String> = Vec::new();
    loop {
        let (by, comment, yes) = match context.signal().await? {
            Signal::Approve { by, comment } => (by, comment, true),
            Signal::Reject { by, comment } => (by, comment, false),
            _ => continue,
        };
        if !approvers.iter().any(|approver| is(approver, &by)) || approved.contains(&by) {
            continue;
        }
        let decision = if yes { "Approved" } else { "Rejected" };
        decisions.push(json!({ "approver": by, "decision": decision, "comment": comment }));
        if !yes {
            return Ok(Answer::default()
                .output("ApprovalStatus", "Rejected")
                .output("ApproverDecisions", decisions)
                .failing(Some(StepError::Rejected(by))));
        }
        approved.push(by);
        if approved.len() >= needed {
            return Ok(Answer::default()
                .output("ApprovalStatus", "Approved")
                .output("ApproverDecisions", decisions));
        }
    }
}

/// Approvers are ARNs or user names. A session of a role is the role's, as IAM's assumed-role ARNs
/// say: `arn:aws:sts::1:assumed-role/R/session` for `arn:aws:iam::1:role/R`.
fn is(approver: &str, by: &str) -> bool {
    if approver == by {
        return true;
    }
    if !approver.starts_with("arn:") {
        return by
            .split_once(":user/")
            .is_some_and(|(_, name)| name.rsplit('/').next() == Some(approver));
    }
    let role = |arn: &str| -> Option<(String, String)> {
        let (account, rest) = arn.split_once(":iam::")?.1.split_once(":role/")?;
        Some((account.to_owned(), rest.rsplit('/').next()?.to_owned()))
    };
    let session = |arn: &str| -> Option<(String, String)> {
        let (account, rest) = arn.split_once(":sts::")?.1.split_once(":assumed-role/")?;
        Some((account.to_owned(), rest.split('/').next()?.to_owned()))
    };
    role(approver).is_some_and(|role| session(by) == Some(role))
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn approvers_are_who_they_are() {
        assert!(is("arn:aws:iam::1:user/ann", "arn:aws:iam::1:user/ann"));
        assert!(is("ann", "arn:aws:iam::1:user/team/ann"));
        assert!(is(
            "arn:aws:iam::1:role/p/Ops",
            "arn:aws:sts::1:assumed-role/Ops/ann"
        ));
        assert!(!is(
            "arn:aws:iam::1:role/Ops",
            "arn:aws:sts::2:assumed-role/Ops/ann"
        ));
        assert!(!is("ann", "arn:aws:iam::1:user/joann"));
        assert!(!is("", "arn:aws:iam::1:user/ann"));
    }
}
