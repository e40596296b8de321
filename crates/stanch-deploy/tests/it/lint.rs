//! Judges of the templates that are not ours: cfn-lint (schemas, the IAM grammar, state machines), checkov (what is
//! good practice), cfn-guard (our own rules, in AWS's language for them), and a validator of state machines.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use stanch_testkit::repository;

use crate::{FILES, TEMPLATES};

/// Findings that stay, with the reason, as `file rule reason`. One that is not found any more fails.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

/// The linter knows no partition but `aws` in a state machine's resources.
fn linted(text: &str) -> String {
    text.replace("arn:${Partition}:states", "arn:aws:states")
}

fn cfn_lint() -> PathBuf {
    let installed = repository().join(".venv-templates/bin/cfn-lint");
    std::env::var_os("STANCH_CFN_LINT").map_or(installed, PathBuf::from)
}

#[test]
fn cfn_lint_finds_nothing() {
    let program = cfn_lint();
    assert!(
        program.exists(),
        "`{}` does not exist; run `cargo xtask setup`, or let `STANCH_CFN_LINT` name it",
        program.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["--format", "json", "--"]);
    for file in FILES.iter().filter(|file| file.name.ends_with(".yaml")) {
        fs::write(folder.path().join(&file.name), linted(&file.text)).unwrap();
        command.arg(&file.name);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let found: Value = match output.stdout.is_empty() {
        true => Value::Array(Vec::new()),
        false => {
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
        }
    };
    let found = found.as_array().unwrap();
    assert!(output.status.success() == found.is_empty(), "{said}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut seen = BTreeSet::new();
    for finding in found {
        let (file, rule) = (text(&finding["Filename"]), text(&finding["Rule"]["Id"]));
        let known = EXCEPTIONS
            .iter()
            .find(|(name, id, _)| *name == file && *id == rule);
        let Some(known) = known else {
            panic!("{finding:#}")
        };
        seen.insert(known);
    }
    assert_eq!(
        seen.len(),
        EXCEPTIONS.len(),
        "exceptions that are not needed any more"
    );
}

/// The linter is seen to find what is wrong: with a state machine, a policy and a property.
#[test]
fn cfn_lint_finds_mistakes() {
    let file = FILES
        .iter()
        .find(|file| file.name == "administrator-stack.yaml")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (right, wrong) in [
        ("BillingMode: PAY_PER_REQUEST", "BillingMode: FREE"),
        ("StartAt: HasDependencies", "Begin: HasDependencies"),
        ("Action: sts:AssumeRole", "Acton: sts:AssumeRole"),
    ] {
        assert!(file.text.contains(right), "{right}");
        let path = folder.path().join("template.yaml");
        fs::write(&path, linted(&file.text).replace(right, wrong)).unwrap();
        assert!(
            !Command::new(cfn_lint())
                .arg(&path)
                .output()
                .unwrap()
                .status
                .success(),
            "{wrong}"
        );
    }
}

/// Findings that stay: `judge rule template resource reason`.
const JUDGED: &str = include_str!("../../data/judged.tsv");

/// A finding of a judge.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    rule: String,
    template: String,
    resource: String,
}

/// Every finding has its reason, and every reason its finding.
fn reasoned(judge: &str, found: &BTreeSet<Found>) {
    let mut needed = BTreeSet::new();
    let rows = JUDGED.lines().filter(|line| !line.starts_with('#')).skip(1);
    for row in rows {
        let [who, rule, template, resource, reason] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("`{row}` has not five fields")
        };
        assert!(reason.len() > 20, "{row}");
        let known = Found {
            rule: rule.to_owned(),
            template: template.to_owned(),
            resource: resource.to_owned(),
        };
        if who == judge {
            assert!(needed.insert(known), "`{row}` twice");
        }
    }
    let new: Vec<_> = found.difference(&needed).collect();
    assert!(new.is_empty(), "{judge} finds what has no reason: {new:#?}");
    let stale: Vec<_> = needed.difference(found).collect();
    assert!(
        stale.is_empty(),
        "{judge} does not find any more: {stale:#?}"
    );
}

/// The rendered templates in a folder of their own.
fn rendered() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in FILES.iter().filter(|file| file.name.ends_with(".yaml")) {
        fs::write(folder.path().join(&file.name), &file.text).unwrap();
    }
    folder
}

fn tool(variable: &str, path: &str) -> PathBuf {
    let program = std::env::var_os(variable).map_or_else(|| repository().join(path), PathBuf::from);
    assert!(
        program.exists(),
        "`{}` does not exist; run `cargo xtask setup`, or let `{variable}` name it",
        program.display()
    );
    program
}

fn said(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// What checkov finds in a folder of templates.
fn checkov(folder: &Path) -> BTreeSet<Found> {
    let output = Command::new(tool("STANCH_CHECKOV", ".venv-checkov/bin/checkov"))
        .args([
            "--framework",
            "cloudformation",
            "--skip-download",
            "--quiet",
            "--compact",
            "--output",
            "json",
        ])
        .arg("--directory")
        .arg(folder)
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(said["summary"]["parsing_errors"], 0, "{said:#}");
    assert!(
        said["summary"]["passed"].as_u64().unwrap() > 100,
        "{}",
        said["summary"]
    );
    let failed = said["results"]["failed_checks"].as_array().unwrap().iter();
    failed
        .map(|one| Found {
            rule: one["check_id"].as_str().unwrap().to_owned(),
            template: one["file_path"]
                .as_str()
                .unwrap()
                .trim_start_matches('/')
                .to_owned(),
            resource: one["resource"]
                .as_str()
                .unwrap()
                .rsplit('.')
                .next()
                .unwrap()
                .to_owned(),
        })
        .collect()
}

#[test]
fn checkov_finds_what_has_a_reason() {
    let folder = rendered();
    reasoned("checkov", &checkov(folder.path()));
    // It is seen to find what is wrong.
    let path = folder.path().join("administrator-stack.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let wrong = text.replace("EnableKeyRotation: true", "EnableKeyRotation: false");
    assert_ne!(text, wrong);
    fs::write(&path, wrong).unwrap();
    let found = checkov(folder.path());
    assert!(
        found
            .iter()
            .any(|one| one.rule == "CKV_AWS_7" && one.resource == "Key"),
        "{found:?}"
    );
}

/// What cfn-guard finds in a template by the rules of `rules/stanch.guard`.
fn guard(template: &Path) -> BTreeSet<Found> {
    let binary = format!(
        "tools/templates/node_modules/@cdklabs/cdk-validator-cfnguard/bin/{}/{}/cfn-guard",
        if cfg!(target_os = "macos") {
            "macos"
        } else {
            "ubuntu"
        },
        std::env::consts::ARCH
    );
    let output = Command::new(tool("STANCH_CFN_GUARD", &binary))
        .args([
            "validate",
            "--structured",
            "--show-summary",
            "none",
            "--output-format",
            "json",
        ])
        .arg("--rules")
        .arg(repository().join("crates/stanch-deploy/rules/stanch.guard"))
        .arg("--data")
        .arg(template)
        .output()
        .unwrap();
    let said = said(&output);
    let reports = said.as_array().unwrap();
    assert_eq!(reports.len(), 1, "{said:#}");
    let name = template.file_name().unwrap().to_str().unwrap();
    let mut found = BTreeSet::new();
    for one in reports[0]["not_compliant"].as_array().unwrap() {
        let rule = one["Rule"]["name"].as_str().unwrap();
        let text = one.to_string();
        let resources = text.split("/Resources/").skip(1);
        let before = found.len();
        found.extend(resources.map(|rest| Found {
            rule: rule.to_owned(),
            template: name.to_owned(),
            resource: rest.split(['/', '"', '[']).next().unwrap().to_owned(),
        }));
        assert!(found.len() > before, "a finding about no resource: {one:#}");
    }
    found
}

#[test]
fn our_rules_hold_by_cfn_guard() {
    let folder = rendered();
    let mut found = BTreeSet::new();
    for file in FILES.iter().filter(|file| file.name.ends_with(".yaml")) {
        found.extend(guard(&folder.path().join(&file.name)));
    }
    reasoned("cfn-guard", &found);
}

/// Every rule is seen to find what is wrong.
#[test]
fn our_rules_find_mistakes() {
    let rules = include_str!("../../rules/stanch.guard");
    let named = rules.lines().filter_map(|line| line.strip_prefix("rule "));
    let named: BTreeSet<&str> = named.filter_map(|rest| rest.split(' ').next()).collect();
    let mut broken = BTreeSet::new();
    for (file, pointer, wrong, rule) in [
        (
            "member-stack.yaml",
            "/Resources/Read1/Properties/PolicyDocument/Statement/0/Action",
            "*",
            "no_action_star",
        ),
        (
            "member-stack.yaml",
            "/Resources/CrossAccountRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal/AWS",
            "*",
            "roles_trust_somebody",
        ),
        (
            "member-stack.yaml",
            "/Resources/LogBucket/Properties/VersioningConfiguration/Status",
            "Suspended",
            "buckets_are_closed_encrypted_and_versioned",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/LedgerBucketPolicy/Properties/PolicyDocument/Statement/0/Effect",
            "Allow",
            "buckets_take_tls_only",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/Key/DeletionPolicy",
            "Delete",
            "keys_rotate_and_are_kept",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/AuditTable/Properties/BillingMode",
            "PROVISIONED",
            "tables_are_on_demand_backed_up_and_encrypted",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/EventQueue/Properties/KmsMasterKeyId",
            "",
            "queues_and_topics_are_encrypted",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/NotificationTopic/Properties/KmsMasterKeyId",
            "",
            "topics_are_encrypted",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/SecurityFunction/Properties/ReservedConcurrentExecutions",
            "",
            "functions_are_limited_and_encrypted",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/OrchestratorLogs/Properties/RetentionInDays",
            "",
            "logs_are_encrypted_and_end",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/WorkflowStateMachine/Properties/StateMachineType",
            "EXPRESS",
            "machines_log_without_data",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/SweepRule/Properties/Targets/0/DeadLetterConfig",
            "",
            "rules_keep_what_fails",
        ),
        (
            "administrator-stack.yaml",
            "/Resources/NotifierPermission/Properties/SourceAccount",
            "",
            "callers_are_told_apart",
        ),
        (
            "member-documents.yaml",
            "/Resources/ControlRunbook/Properties/UpdateMethod",
            "Replace",
            "documents_keep_their_versions",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut template = TEMPLATES[file].clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let parent = template
            .pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap();
        assert!(parent.contains_key(member), "{file} {pointer}");
        // Nothing in its place: it is taken out.
        match wrong {
            "" => drop(parent.remove(member)),
            wrong => drop(parent.insert(member.to_owned(), wrong.into())),
        }
        let path = folder.path().join(file);
        fs::write(&path, template.to_string()).unwrap();
        let resource = pointer.split('/').nth(2).unwrap();
        let found = guard(&path);
        assert!(
            found
                .iter()
                .any(|one| one.rule == rule && one.resource == resource),
            "{pointer}: {found:?}"
        );
        broken.insert(rule);
    }
    assert_eq!(broken, named, "a rule that was never seen to fail");
}

/// The state machine, with ARNs where CloudFormation would put them.
fn machine(folder: &Path, change: impl Fn(&mut Value)) -> Output {
    let definition = &TEMPLATES["administrator-stack.yaml"]["Resources"]["WorkflowStateMachine"]["Properties"]
        ["Definition"];
    let text = definition
        .to_string()
        .replace("${Partition}", "aws")
        .replace(
            "${OrchestratorArn}",
            "arn:aws:lambda:us-east-1:111111111111:function:orchestrator",
        )
        .replace(
            "${NotificationTopicArn}",
            "arn:aws:sns:us-east-1:111111111111:notifications",
        );
    let mut definition = serde_json::from_str(&text).unwrap();
    change(&mut definition);
    let path = folder.join("workflow.json");
    fs::write(&path, definition.to_string()).unwrap();
    let script = tool(
        "STANCH_ASL_VALIDATOR",
        "tools/templates/node_modules/asl-validator/dist/bin/asl-validator.js",
    );
    let node = fs::read_to_string(repository().join("tools/templates/node_modules/node.path"));
    let node = node.unwrap_or_else(|_| "node".to_owned());
    Command::new(node)
        .arg(script)
        .arg("--json-path")
        .arg(path)
        .output()
        .unwrap()
}

#[test]
fn the_state_machine_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let output = machine(folder.path(), |_| {});
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    // It is seen to find a state that does not exist, a path that is none, and a state that is never reached.
    let wrong: [fn(&mut Value); 3] = [
        |machine| machine["States"]["SendNotification"]["Next"] = "Nowhere".into(),
        |machine| machine["States"]["CheckDependencies"]["ResultPath"] = "dependency".into(),
        |machine| machine["States"]["Lost"] = serde_json::json!({"Type": "Succeed"}),
    ];
    for change in wrong {
        assert!(!machine(folder.path(), change).status.success());
    }
}
