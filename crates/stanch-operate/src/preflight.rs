//! What has to be there before anything is deployed: the prerequisites of the architecture, and the archives.

use serde_json::{Value, json};
use stanch_types::CallErrorKind;

use crate::{
    Accounts,
    doctor::{self, Issue, Line, Patient, State},
    read,
};
use doctor::{
    administrator::Caller,
    look::{Look, is_absent},
};

/// Where the functions' archive and the nested templates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// The bucket in the administrator's region.
    pub bucket: String,
    /// What the buckets of members' regions begin with.
    pub members: String,
    /// Where in them; ends with a slash.
    pub prefix: String,
    /// `arm64` or `x86_64`.
    pub architecture: String,
}

/// Looks at everything that has to be there before.
pub async fn examine(
    accounts: &dyn Accounts,
    patient: &Patient<'_>,
    artifacts: Option<&Artifacts>,
) -> Vec<Line> {
    let own = Look::own(accounts, patient);
    let mut lines = Vec::new();
    let Some(caller) = doctor::administrator::caller(&own, &mut lines).await else {
        lines.extend(own.endpoints());
        return lines;
    };
    organization(&own, &caller, &mut lines).await;
    trail(&own, &mut lines).await;
    let hub = own.call("securityhub", "DescribeHub", json!({})).await;
    lines.push(doctor::member::security_hub(&own, hub));
    let config = own
        .call("config", "DescribeConfigurationRecorderStatus", json!({}))
        .await;
    lines.push(doctor::member::config(&own, config));
    for (id, member) in &patient.members {
        for region in &member.regions {
            lines.extend(doctor::member::switched_on(&own, id, region).await);
        }
    }
    match artifacts {
        Some(artifacts) => archives(&own, artifacts, &mut lines).await,
        None => lines.push(own.line(
            Issue::Ground,
            "archives",
            State::Warning,
            "no bucket is named",
            "name it with `--artifacts`",
        )),
    }
    names(&own, &mut lines).await;
    lines.extend(own.endpoints());
    lines
}

async fn organization(own: &Look<'_>, caller: &Caller, lines: &mut Vec<Line>) {
    let what = "AWS Organizations";
    let command = "aws organizations describe-organization";
    match own
        .call("organizations", "DescribeOrganization", json!({}))
        .await
    {
        Ok(found) => {
            let features = read::text(&found, "/Organization/FeatureSet").unwrap_or_default();
            lines.push(match features {
                "ALL" => own.good(Issue::Ground, what, "all features"),
                _ => own
                    .line(
                        Issue::Ground,
                        what,
                        State::Problem,
                        features.to_lowercase(),
                        "stack sets of an organization need all features",
                    )
                    .command(command),
            });
            let management =
                read::text(&found, "/Organization/MasterAccountId").unwrap_or_default();
            lines.push(match management == caller.account.as_str() {
                true => own.line(Issue::Ground, "administrator account", State::Warning, "it is the management account", "designate another: what happens in the management account no policy of the organization limits"),
                false => own.good(Issue::Ground, "administrator account", caller.account.to_string()),
            });
        }
        Err(error) if error.code == "AWSOrganizationsNotInUseException" => {
            lines.push(own.line(Issue::Ground, what, State::Problem, "not in use", "member stacks come by a stack set of the organization: create one, or deploy them account by account").command(command));
        }
        Err(error) => lines.push(own.unknown(Issue::Ground, what, &error).command(command)),
    }
    let what = "stack sets of the organization";
    let mut access = own
        .call(
            "cloudformation",
            "DescribeOrganizationsAccess",
            json!({"CallAs": "DELEGATED_ADMIN"}),
        )
        .await;
    if access
        .as_ref()
        .is_err_and(|error| error.kind != CallErrorKind::Unanswered)
    {
        access = own
            .call("cloudformation", "DescribeOrganizationsAccess", json!({}))
            .await;
    }
    lines.push(match access {
        Ok(found) => match read::text(&found, "/Status") {
            Some("ENABLED") => own.good(Issue::Ground, what, "enabled"),
            state => own
                .line(
                    Issue::Ground,
                    what,
                    State::Problem,
                    state.unwrap_or("no status"),
                    "activate trusted access in the management account",
                )
                .command("aws cloudformation activate-organizations-access"),
        },
        Err(error) => own.unknown(Issue::Ground, what, &error),
    });
}

async fn trail(own: &Look<'_>, lines: &mut Vec<Line>) {
    let what = "CloudTrail of the organization";
    let command = "aws cloudtrail describe-trails";
    let found = match own
        .call(
            "cloudtrail",
            "DescribeTrails",
            json!({"includeShadowTrails": true}),
        )
        .await
    {
        Ok(found) => found,
        Err(error) => {
            lines.push(own.unknown(Issue::Ground, what, &error).command(command));
            return;
        }
    };
    let is = |trail: &&Value, member: &str| trail.get(member) == Some(&json!(true));
    let whole = read::items(&found, "/trailList")
        .find(|trail| is(trail, "IsOrganizationTrail") && is(trail, "IsMultiRegionTrail"));
    let Some(trail) = whole else {
        lines.push(
            own.line(
                Issue::Ground,
                what,
                State::Problem,
                "there is no trail of the organization in all regions",
                "create it in the management account: it is the evidence of what Stanch does",
            )
            .command(command),
        );
        return;
    };
    let arn = read::text(trail, "/TrailARN").unwrap_or_default();
    if !is(&trail, "LogFileValidationEnabled") {
        lines.push(
            own.line(
                Issue::Ground,
                format!("log files of {arn}"),
                State::Warning,
                "are not validated",
                "turn log file validation on",
            )
            .command(format!(
                "aws cloudtrail update-trail --enable-log-file-validation --name {arn}"
            )),
        );
    }
    lines.push(
        match own
            .call("cloudtrail", "GetTrailStatus", json!({"Name": arn}))
            .await
        {
            Ok(status) if status.get("IsLogging") == Some(&json!(true)) => {
                own.good(Issue::Ground, what, arn)
            }
            Ok(_) => own
                .line(
                    Issue::Ground,
                    what,
                    State::Problem,
                    format!("{arn} does not log"),
                    "start it",
                )
                .command(format!("aws cloudtrail start-logging --name {arn}")),
            Err(error) => own.unknown(Issue::Ground, what, &error),
        },
    );
}

async fn archives(own: &Look<'_>, artifacts: &Artifacts, lines: &mut Vec<Line>) {
    let Artifacts {
        bucket,
        members,
        prefix,
        architecture,
    } = artifacts;
    let archive = format!("{prefix}stanch-{architecture}.zip");
    let templates = ["administrator-monitoring.yaml", "member-stack.yaml"];
    let templates = templates.map(|name| (bucket.clone(), format!("{prefix}{name}")));
    let mut wanted = vec![(bucket.clone(), archive.clone())];
    wanted.extend(templates);
    let mut regions: Vec<_> = own
        .patient
        .members
        .values()
        .flat_map(|member| &member.regions)
        .collect();
    regions.sort();
    regions.dedup();
    for region in regions {
        // The administrator's own bucket may be one of them.
        let one = (format!("{members}-{region}"), archive.clone());
        if !wanted.contains(&one) {
            wanted.push(one);
        }
    }
    for (bucket, key) in wanted {
        let what = format!("s3://{bucket}/{key}");
        lines.push(
            match own
                .call("s3", "HeadObject", json!({"Bucket": bucket, "Key": key}))
                .await
            {
                Ok(found) => own.good(
                    Issue::Ground,
                    what,
                    format!(
                        "{} bytes",
                        read::number(&found, "/ContentLength").unwrap_or_default()
                    ),
                ),
                Err(error) if is_absent(&error) || error.code == "NoSuchKey" => own
                    .line(
                        Issue::Ground,
                        &*what,
                        State::Problem,
                        "is not there",
                        "copy it there: docs/guides/deploy.md",
                    )
                    .command(format!("aws s3 cp FILE {what}")),
                Err(error) => own.unknown(Issue::Ground, what, &error),
            },
        );
    }
}

/// What a stack that was deleted has left stops the next one.
async fn names(own: &Look<'_>, lines: &mut Vec<Line>) {
    let table = own.patient.installation.named("AuditLog");
    let what = format!("the name {table}");
    let found = own
        .call("dynamodb", "DescribeTable", json!({"TableName": table}))
        .await;
    lines.push(match found {
        Err(error) if is_absent(&error) => own.good(Issue::Ground, what, "is free"),
        Err(error) => own.unknown(Issue::Ground, what, &error),
        Ok(_) => match own
            .call(
                "cloudformation",
                "DescribeStackResources",
                json!({"PhysicalResourceId": table}),
            )
            .await
        {
            Ok(_) => own.good(
                Issue::Ground,
                what,
                "is of a stack that is there: it is updated",
            ),
            Err(error) if error.kind == CallErrorKind::Rejected => own
                .line(
                    Issue::Ground,
                    what,
                    State::Problem,
                    "is taken by a table of no stack",
                    "it is what a deleted stack has left: import it, or take another `NamePrefix`",
                )
                .command(format!("aws dynamodb describe-table --table-name {table}")),
            Err(error) => own.unknown(Issue::Ground, what, &error),
        },
    });
}
