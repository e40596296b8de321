//! Findings fixed, seen to be fixed, and put back, in an emulated organization.

use std::sync::Arc;

use insta::assert_snapshot;
use serde_json::{Value, json};
use stanch_testkit::{
    Emulated, Emulator, Misconfiguration, Organization,
    organization::{ADMIN, HUB_USER, MEMBERS},
};
use stanch_types::{AccountId, Api, Call, Region};

use crate::command::{Said, Workplace};

/// An organization with a bucket that is open, and a workplace configured for it.
pub struct World {
    pub here: Workplace,
    pub account: AccountId,
    member: Arc<dyn Api>,
    admin: Arc<dyn Api>,
    runtime: tokio::runtime::Runtime,
    emulator: Emulator,
}

pub const BUCKET: &str = "corporate";

impl World {
    pub fn new() -> Self {
        let emulator = Emulator::start().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let region: Region = "us-east-1".parse().unwrap();
        let account: AccountId = MEMBERS[0].0.parse().unwrap();
        let aws = Emulated::at(&emulator.endpoint(), region.clone());
        let everything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
        let root = |account: &AccountId, region: &Region| aws.root(account, region);
        let organization = Organization::create(emulator.endpoint(), &root, &everything);
        let organization = runtime.block_on(organization).unwrap();

        let mut here = Workplace::new();
        here.put("stanch.toml", organization.config(here.path(), &[]));
        for (name, value) in organization.environment() {
            here.set(name, value);
        }
        let member = aws.root(&account, &region);
        let admin = aws.root(&ADMIN.parse().unwrap(), &region);
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sqs:*", "lambda:GetFunctionConfiguration"], "Resource": "*"}]});
        let put = json!({"UserName": HUB_USER, "PolicyName": "More", "PolicyDocument": policy.to_string()});
        runtime
            .block_on(admin.call(&Call::new("iam", "PutUserPolicy", put)))
            .unwrap();
        let world = Self {
            here,
            account,
            member,
            admin,
            runtime,
            emulator,
        };
        world.call("CreateBucket", json!({"Bucket": BUCKET}));
        world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
        world
    }

    /// A call of the member account's own.
    pub fn call(&self, operation: &str, params: Value) -> Value {
        let call = Call::new("s3", operation, params);
        self.runtime
            .block_on(self.member.call(&call))
            .unwrap()
            .output
    }

    /// A call of SQS as the administrator account, whose hub may use every queue.
    pub fn queue(&self, operation: &str, params: Value) -> Value {
        let call = Call::new("sqs", operation, params);
        self.runtime
            .block_on(self.admin.call(&call))
            .unwrap()
            .output
    }

    /// True if the bucket blocks all public access; nothing if it says nothing about it.
    pub fn blocks(&self) -> Option<bool> {
        let call = Call::new("s3", "GetPublicAccessBlock", json!({"Bucket": BUCKET}));
        match self.runtime.block_on(self.member.call(&call)) {
            Ok(reply) => {
                let block = &reply.output["PublicAccessBlockConfiguration"];
                Some(
                    block
                        .as_object()
                        .unwrap()
                        .values()
                        .all(|setting| setting == true),
                )
            }
            Err(error) => {
                assert_eq!(error.code, "NoSuchPublicAccessBlockConfiguration");
                None
            }
        }
    }

    /// How many requests to block public access have reached AWS.
    pub fn sent(&self) -> usize {
        self.sent_to().len()
    }

    /// The buckets to which they were sent, in this order.
    pub fn sent_to(&self) -> Vec<String> {
        let requests = self.emulator.requests().unwrap().into_iter();
        let blocks = requests.filter(|request| {
            request.method == "PUT" && request.query.starts_with("publicAccessBlock")
        });
        blocks
            .map(|request| request.path.trim_matches('/').to_owned())
            .collect()
    }

    pub fn event(&self, seen: &str) -> Value {
        self.event_of(BUCKET, seen)
    }

    pub fn event_of(&self, bucket: &str, seen: &str) -> Value {
        let misconfiguration = Misconfiguration {
            account: self.account.clone(),
            region: "us-east-1".parse().unwrap(),
            control: "S3.8".parse().unwrap(),
            resource_type: "AwsS3Bucket".to_owned(),
            resource_id: format!("arn:aws:s3:::{bucket}"),
            details: Value::Null,
            at: seen.parse().unwrap(),
        };
        misconfiguration.event()
    }

    fn fix(&self, arguments: &[&str], seen: &str) -> Said {
        self.here
            .run_with(arguments, self.event(seen).to_string().as_bytes())
    }
}

const SEEN: &str = "2026-01-31T12:00:00Z";

#[test]
fn a_finding_is_fixed_once_and_put_back() {
    let world = World::new();

    let planned = world.fix(&["plan", "-"], SEEN).exits(0);
    assert!(
        planned.stdout.contains("s3.PutPublicAccessBlock"),
        "{planned}"
    );
    assert!(
        planned
            .stdout
            .contains("guard runs: policy `requests` lets it run because a person asked for it"),
        "{planned}"
    );
    world.fix(&["remediate", "-", "--dry-run"], SEEN).exits(0);
    assert_eq!(world.blocks(), None, "a plan changes nothing");
    let hash = world.fix(&["plan", "-", "--json"], SEEN).json()["findings"][0]["plan_hash"].clone();

    let fixed = world
        .fix(&["remediate", "-", "--json"], SEEN)
        .exits(0)
        .json();
    let one = &fixed["remediations"][0];
    assert_eq!(world.blocks(), Some(true));
    assert_eq!(one["Record"]["Status"], "Success");
    assert_eq!(one["Record"]["Requester"], "alice");
    assert_eq!(one["PlanHash"], hash, "what was planned is what was done");
    assert_eq!(
        (
            &one["Before"]["block"],
            &one["After"]["block"]["BlockPublicAcls"]
        ),
        (&Value::Null, &json!(true))
    );
    let id = one["Record"]["RemediationId"].as_str().unwrap();

    world
        .fix(&["remediate", "-"], SEEN)
        .exits(0)
        .says("this finding was dealt with before");
    world
        .fix(&["remediate", "-"], "2026-02-01T12:00:00Z")
        .exits(0)
        .says("nothing to do");

    let shown = world.here.run(&["ledger", "show", id]).exits(0);
    for event in [
        "received",
        "planned",
        "decided",
        "step-started",
        "s3.PutPublicAccessBlock",
        "compliant",
    ] {
        assert!(shown.stdout.contains(event), "{event} in {shown}");
    }
    let events = world
        .here
        .run(&["ledger", "export", "--out", "export.jsonl"])
        .exits(0);
    assert!(events.stderr.contains("events"), "{events}");
    world
        .here
        .run(&["ledger", "verify"])
        .exits(0)
        .says("2 remediations and ");
    world
        .here
        .run(&["ledger", "verify", "--export", "export.jsonl"])
        .exits(0)
        .says("2 remediations");
    let text = std::fs::read_to_string(world.here.path().join("export.jsonl")).unwrap();
    world
        .here
        .put("changed.jsonl", text.replacen("alice", "malice", 1));
    world
        .here
        .run(&["ledger", "verify", "--export", "changed.jsonl"])
        .exits(1)
        .says("does not hold");

    let logs = world
        .here
        .run(&["ledger", "show", id, "--json"])
        .exits(0)
        .json();
    let milliseconds = logs["Record"]["Timestamp"].as_i64().unwrap();
    let day = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
    let day = day.strftime("logs/year=%Y/month=%m/day=%d").to_string();
    let log = std::fs::read_to_string(
        world
            .here
            .path()
            .join(day)
            .join(format!("remediation-{id}.json")),
    )
    .unwrap();
    let log: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(log["Record"]["Status"], "Success");

    world
        .here
        .run(&["rollback", id, "--dry-run"])
        .exits(0)
        .says("s3.DeletePublicAccessBlock");
    assert_eq!(world.blocks(), Some(true));
    world.here.run(&["rollback", id]).exits(0).says("undone");
    assert_eq!(world.blocks(), None);
    // The undo is undone, and that again.
    world.here.run(&["rollback", id]).exits(0).says("fixed");
    assert_eq!(world.blocks(), Some(true));
    let shown = world.here.run(&["rollback", "--control", "S3.8"]);
    shown
        .exits(0)
        .says("s3.DeletePublicAccessBlock")
        .says("nothing was changed");
    assert_eq!(world.blocks(), Some(true));
    let many = [
        "rollback",
        "--account",
        world.account.as_str(),
        "--since",
        "1h",
        "--yes",
    ];
    world.here.run(&many).exits(0).says("undone");
    assert_eq!(world.blocks(), None);
}

#[test]
fn what_somebody_else_changed_is_not_undone_unless_forced() {
    let world = World::new();
    let fixed = world
        .fix(&["remediate", "-", "--json"], SEEN)
        .exits(0)
        .json();
    let id = fixed["remediations"][0]["Record"]["RemediationId"]
        .as_str()
        .unwrap();
    let block = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": false, "RestrictPublicBuckets": true});
    world.call(
        "PutPublicAccessBlock",
        json!({"Bucket": BUCKET, "PublicAccessBlockConfiguration": block}),
    );

    let drift = world
        .here
        .run(&["rollback", id])
        .exits(3)
        .says("changed by somebody else")
        .says("--force");
    assert!(
        drift
            .stdout
            .contains("~ block.BlockPublicPolicy: true -> false"),
        "{drift}"
    );
    assert_eq!(world.blocks(), Some(false));
    world
        .here
        .run(&["rollback", id, "--force"])
        .exits(4)
        .says("`--force` overwrites that")
        .says(&format!("stanch approve {id}"));
    assert_eq!(world.blocks(), Some(false), "nothing yet");
    world
        .here
        .run(&["approve", id, "--as", "bob"])
        .exits(0)
        .says("undone");
    assert_eq!(world.blocks(), None);
}

#[test]
fn a_pause_stops_everything_until_it_is_resumed() {
    let world = World::new();
    let why = ["--reason", "payments is down", "--as", "alice"];
    let pause = ["pause", "--account", world.account.as_str()];
    world
        .here
        .run(&[&pause[..], &why[..]].concat())
        .exits(0)
        .says("changes are paused for account");
    let stopped = world
        .fix(&["remediate", "-", "--json"], SEEN)
        .exits(4)
        .json();
    let record = &stopped["remediations"][0]["Record"];
    let id = record["RemediationId"].as_str().unwrap();
    assert_eq!(record["Status"], "Paused");
    assert_eq!(world.blocks(), None);
    world
        .here
        .run(&["pause", "list"])
        .exits(0)
        .says("alice")
        .says("payments is down");
    let shown = world.here.run(&["ledger", "show", id]);
    shown.exits(0).says("by alice: payments is down");
    // Not what was paused.
    world.here.run(&["resume"]).exits(1).says("is not paused");
    let resume = [
        "resume",
        "--account",
        world.account.as_str(),
        "--as",
        "alice",
    ];
    world.here.run(&resume).exits(0).says("changes go on");
    let fixed = world.fix(&["remediate", "-"], SEEN);
    fixed.exits(0);
    assert_eq!(world.blocks(), Some(true));
    world
        .here
        .run(&["pause", "list", "--all"])
        .exits(0)
        .says("resume account");
}

#[test]
fn what_people_read() {
    let world = World::new();
    let settings = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": false, "RestrictPublicBuckets": true});
    let half = json!({"Bucket": BUCKET, "PublicAccessBlockConfiguration": settings});
    world.call("PutPublicAccessBlock", half.clone());
    let planned = world.fix(&["plan", "-"], SEEN).to_string();
    // The hash covers the catalog's file.
    let hash = planned
        .split("plan ")
        .last()
        .unwrap()
        .split('\n')
        .next()
        .unwrap();
    assert_snapshot!("plan", planned.replace(hash, "[hash]"));
    let fixed = world.fix(&["remediate", "-"], SEEN);
    let id = fixed.stdout.split_whitespace().last().unwrap().to_owned();
    let told = |said: Said| {
        let words = said.to_string().replace(&id, "[id]");
        let took = words
            .split(" in ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or("none");
        let here = world.here.path().to_string_lossy();
        words
            .replace(&format!(" in {took} ms"), " in [some] ms")
            .replace(&*here, "[here]")
    };
    assert_snapshot!("remediate", told(fixed));
    assert_snapshot!(
        "rollback-dry-run",
        told(world.here.run(&["rollback", &id, "--dry-run"]))
    );
    world.call("PutPublicAccessBlock", half);
    assert_snapshot!("rollback-drift", told(world.here.run(&["rollback", &id])));
}

#[test]
fn a_wrong_external_id_opens_nothing() {
    let world = World::new();
    let key = format!("accounts.{}.external_id=wrong", world.account);
    world
        .fix(&["remediate", "-", "--set", &key], SEEN)
        .exits(1)
        .says("no session in the member account");
    assert_eq!(world.blocks(), None);
}

#[test]
fn any_operation_can_be_called() {
    let world = World::new();
    let said = world
        .here
        .run(&[
            "api",
            "call",
            "sts",
            "GetCallerIdentity",
            "--query",
            "Account",
        ])
        .exits(0);
    assert_eq!(said.stdout, "\"111111111111\"\n");
    world
        .here
        .run(&["api", "call", "s3", "ListBuckets"])
        .exits(1)
        .says("AccessDenied");
}

#[test]
fn what_someone_may_notice_waits_for_an_approval_of_somebody_else() {
    let world = World::new();
    let event = world.event(SEEN);
    // The same finding, asked for through a custom action: no person is known to have asked.
    world.here.put("inbox/event.json", event.to_string());
    let id = crate::served::wait(&world.here);
    assert_eq!(world.blocks(), None);
    world
        .fix(&["remediate", "-"], SEEN)
        .exits(4)
        .says(&format!("stanch approve {id}"));
    world
        .here
        .run(&["approve", &id, "--as", "bob"])
        .exits(0)
        .says("fixed");
    assert_eq!(world.blocks(), Some(true));
    world
        .here
        .run(&["approve", &id, "--as", "bob"])
        .exits(3)
        .says("does not wait for an approval");
    world
        .here
        .run(&["ledger", "show", &id])
        .exits(0)
        .says("by bob");

    world.here.put(
        "inbox/again.json",
        world.event("2026-02-01T12:00:00Z").to_string(),
    );
    world.call("DeletePublicAccessBlock", json!({"Bucket": BUCKET}));
    let id = crate::served::wait(&world.here);
    world
        .here
        .run(&["reject", &id, "--as", "bob", "--reason", "it is a website"])
        .exits(0)
        .says("it is a website");
    assert_eq!(world.blocks(), None);
    world
        .here
        .run(&["ledger", "list", "--status", "refused"])
        .exits(0)
        .says(&id);
}

#[test]
fn gameday_plants_fixes_undoes_and_removes() {
    let world = World::new();
    let account = MEMBERS[1].0;
    let said = world.here.run(&[
        "gameday",
        "--account",
        account,
        "--yes",
        "--json",
        "--only",
        "S3BlockPublicAccess",
        "--set",
        &format!("accounts.{account}.test=true"),
        "--set",
        "gameday.role=SecurityRemediationCrossAccountRole",
    ]);
    let played = said.exits(0).json();
    let played = played.as_array().unwrap();
    assert!(played.len() >= 2, "{played:?}");
    for one in played {
        assert_eq!(
            (&one["fixed"], &one["undone"], &one["left"]),
            (&json!(true), &json!(true), &json!([])),
            "{one}"
        );
    }
}

#[test]
fn files_of_ones_own_run_once_they_are_proved() {
    let world = World::new();
    let account = MEMBERS[1].0;
    let file = include_str!("../../../../xtask/src/new.yaml")
        .replace("{{NAME}}", "MineKeepVersions")
        .replace("{{KEBAB}}", "mine-keep-versions");
    world.here.put("mine/keep-versions.yaml", &file);
    let dirs = ["--set", "catalog_dirs=mine"];
    let role = "gameday.role=SecurityRemediationCrossAccountRole";
    let (sandbox, rest) = (format!("accounts.{account}.test=true"), ["--set", role]);
    let prove = [
        &[
            "catalog",
            "test",
            "mine",
            "--account",
            account,
            "--set",
            &sandbox,
        ][..],
        &rest,
    ]
    .concat();
    let finding = world.here.put("nothing.json", "[]");
    let plan = [&["plan", finding.to_str().unwrap()][..], &dirs].concat();

    // Whoever only looks may see it; nobody runs it.
    let list = [&["catalog", "list"][..], &dirs].concat();
    world.here.run(&list).exits(0).says("MineKeepVersions");
    world
        .here
        .run(&plan)
        .exits(2)
        .says("`mine/keep-versions.yaml` is not proved")
        .says("stanch catalog test mine/keep-versions.yaml");
    world
        .here
        .run(&["catalog", "test", "mine", "--account", account])
        .exits(3)
        .says("is not marked as a test account");
    world
        .here
        .run(&prove)
        .exits(0)
        .says("MineKeepVersions is proved: mine/keep-versions.proof.json");
    world.here.run(&plan).exits(0);

    // What was proved is the file as it was.
    let edited = file.replace("class: guarded", "class: safe");
    world.here.put("mine/keep-versions.yaml", &edited);
    world
        .here
        .run(&plan)
        .exits(2)
        .says("has changed since it was proved");

    // An undo that does not put back what was there.
    let broken = file.replace(
        "{Status: Suspended}}\nexamples",
        "{Status: Enabled}}\nexamples",
    );
    assert_ne!(broken, file);
    world.here.put("mine/keep-versions.yaml", &broken);
    world
        .here
        .run(&prove)
        .exits(1)
        .says("MineKeepVersions is not proved")
        .says("Versioning was suspended: undo: ");
    world.here.run(&plan).exits(2).says("failed its proof of ");

    // Two files for one control, and a call that AWS does not have.
    let shipped = world.here.run(&["catalog", "show", "S3BlockPublicAccess"]);
    let rival = shipped
        .stdout
        .replace("remediation: S3BlockPublicAccess", "remediation: Rival");
    world.here.put("mine/keep-versions.yaml", rival);
    world
        .here
        .run(&plan)
        .exits(2)
        .says("mine/keep-versions.yaml:1:1: error: ")
        .says("is already claimed by `s3/block-public-access.yaml`");
    let wrong = file.replace("s3.PutBucketVersioning", "s3.PutBucketVersions");
    world.here.put("mine/keep-versions.yaml", wrong);
    world
        .here
        .run(&plan)
        .exits(2)
        .says("the catalog has errors")
        .says("PutBucketVersions");
}

#[test]
fn documents_run_with_their_own_credentials() {
    let mut world = World::new();
    world
        .here
        .set("AWS_ACCESS_KEY_ID", world.account.to_string());
    world.here.put(
        "block.yaml",
        r#"
schemaVersion: "0.3"
parameters:
  Bucket: {type: String}
mainSteps:
  - name: Block
    action: aws:executeAwsApi
    inputs:
      Service: s3
      Api: PutPublicAccessBlock
      Bucket: "{{ Bucket }}"
      PublicAccessBlockConfiguration:
        {BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}
"#,
    );
    let parameter = format!("Bucket={BUCKET}");
    world
        .here
        .run(&["runbook", "plan", "block.yaml", "--param", &parameter])
        .exits(0)
        .says("s3.PutPublicAccessBlock");
    assert_eq!(world.blocks(), None);
    world
        .here
        .run(&["runbook", "run", "block.yaml", "--param", &parameter])
        .exits(0)
        .says("Success    Block");
    assert_eq!(world.blocks(), Some(true));
    let said = world
        .here
        .run(&[
            "runbook",
            "run",
            "block.yaml",
            "--param",
            "Bucket=missing",
            "--json",
        ])
        .exits(1)
        .json();
    assert_eq!(
        said["AutomationExecution"]["AutomationExecutionStatus"],
        "Failed"
    );
}
