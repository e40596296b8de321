//! `stanch deploy check`: before a deployment, and after it.

use std::sync::Arc;

use serde_json::json;
use stanch_aws::RoleSession;
use stanch_config::RandomIds;
use stanch_operate::{
    doctor::{Line, State},
    preflight::{self, Artifacts},
    smoke::{self, Probe, Way},
};
use stanch_runbook::Ids as _;
use stanch_types::{AccountId, Api, Call};

use crate::{
    accounts::{Organization, installation, patient},
    cli,
    commands::doctor::{exit, line_text},
    output::{Color, Exit, Failure, print, print_json, say},
    sandbox::test_account,
    wire::Wire,
};

/// Looks, or tries it out.
pub async fn run(wire: &Wire, options: cli::Check) -> Result<Exit, Failure> {
    if let Some(account) = options.smoke {
        return try_out(wire, account, options.yes).await;
    }
    let installation = installation(wire)?;
    let patient = patient(wire, &installation, &[])?;
    let artifacts = options.artifacts.map(|bucket| Artifacts {
        bucket,
        members: options.member_artifacts,
        prefix: options.artifact_prefix,
        architecture: options.architecture,
    });
    let lines = preflight::examine(&Organization::of(wire)?, &patient, artifacts.as_ref()).await;
    show(wire, &lines)
}

fn show(wire: &Wire, lines: &[Line]) -> Result<Exit, Failure> {
    if wire.json {
        print_json(&json!({ "lines": lines }))?;
    } else {
        let color = Color::out();
        let text: Vec<String> = lines
            .iter()
            .flat_map(|line| line_text(line, color))
            .collect();
        print(text.join("\n"))?;
    }
    Ok(exit(lines))
}

/// One open bucket of a test account by each way.
async fn try_out(wire: &Wire, account: AccountId, yes: bool) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    test_account(config, &account, "the test")?;
    let installation = installation(wire)?;
    let mut patient = patient(wire, &installation, std::slice::from_ref(&account))?;
    let region = installation.region.clone();
    let member = config.accounts.get(&account);
    let id = RandomIds.next();
    // A bucket's name has at most 63 characters.
    let short = id.get(..8).unwrap_or(&id).to_owned();
    if !yes {
        print(format!(
            "in account {account}, {region}, as {}:\n  s3.CreateBucket stanch-smoke-{account}-…\n  s3.DeletePublicAccessBlock\n\
             its finding goes to the queue {}, as if a person had chosen it, and as if AWS Config had found it; it is followed in {}\n  \
             s3.DeleteBucket",
            config.gameday.role,
            installation.named("Events"),
            installation.named("AuditLog"),
        ))?;
        say("nothing was done; `--yes` does it");
        return Ok(Exit::Done);
    }
    let role = config.gameday.role.trim_start_matches('/');
    let owner = wire.client(region.clone())?.as_role(RoleSession {
        role_arn: format!("arn:{}:iam::{account}:role/{role}", region.partition()),
        session_name: "stanch-smoke".to_owned(),
        external_id: member
            .and_then(|member| member.external_id.as_ref())
            .map(|id| id.reveal().clone()),
        policy: None,
        duration: std::time::Duration::from_mins(15),
    });
    let owner: Arc<dyn Api> = Arc::new(owner);
    let organization = Organization::of(wire)?;
    let ledger = match wire.works_elsewhere() {
        true => Some(wire.ledger_to_read()?),
        false => None,
    };
    patient.ledger = ledger.as_deref().map(|store| store as _);
    let mut lines = Vec::new();
    for (way, word) in [(Way::Manual, "manual"), (Way::Automatic, "automatic")] {
        let bucket = format!("stanch-smoke-{account}-{short}-{word}");
        say(format_args!("{bucket}: the {word} way"));
        let mut create = json!({"Bucket": bucket});
        if let (false, Some(create)) = (region.as_str() == "us-east-1", create.as_object_mut()) {
            create.insert(
                "CreateBucketConfiguration".to_owned(),
                json!({"LocationConstraint": region}),
            );
        }
        owner.call(&Call::new("s3", "CreateBucket", create)).await?;
        let planted = owner
            .call(&Call::new(
                "s3",
                "DeletePublicAccessBlock",
                json!({"Bucket": bucket}),
            ))
            .await;
        let probe = Probe {
            account: account.clone(),
            region: region.clone(),
            bucket: bucket.clone(),
            name: format!("{id}-{word}"),
        };
        match planted {
            Ok(_) => lines
                .extend(smoke::examine(&organization, &patient, &*wire.clock, &probe, way).await),
            Err(error) => lines.push(Line::problem(
                stanch_operate::doctor::Issue::Ground,
                &bucket,
                error.to_string(),
                "the role `gameday.role` has to be allowed to make and open a bucket",
            )),
        }
        if let Err(error) = owner
            .call(&Call::new("s3", "DeleteBucket", json!({"Bucket": bucket})))
            .await
        {
            let mut line = Line::problem(
                stanch_operate::doctor::Issue::Ground,
                &bucket,
                error.to_string(),
                "it is left behind: remove it",
            );
            line.state = State::Warning;
            lines.push(line);
        }
    }
    show(wire, &lines)
}
