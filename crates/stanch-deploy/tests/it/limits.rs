//! AWS's limits, and the targets.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_deploy::{BODY_LIMIT, DeployError, Deployment, Options, POLICY_LIMIT, RESOURCE_LIMIT};

use crate::{DEPLOYMENT, FILES, MODELS, TEMPLATES, deployment, everything, read};

/// Characters of policy for each remediation, on average. The target, 20 KB for the whole catalog, was
/// set when it was smaller; what is written now are actions and ARNs with hardly anything around them.
const POLICY_PER_REMEDIATION: usize = 125;
/// Roles of a member account.
const ROLES_TARGET: usize = 6;
/// Automation documents of a member account in each region, unless more are asked for.
const DOCUMENTS_TARGET: usize = 20;
/// What CloudFormation takes of a template that is not in S3, in bytes.
const INLINE_LIMIT: usize = 51_200;

#[test]
fn policies_are_short() {
    let lengths: Vec<(&str, usize)> = DEPLOYMENT
        .policies
        .managed()
        .map(|policy| (&*policy.name, policy.length()))
        .collect();
    assert!(
        lengths.iter().all(|(_, length)| *length <= POLICY_LIMIT),
        "{lengths:?}"
    );
    assert!(DEPLOYMENT.policies.boundary_length() <= POLICY_LIMIT);
    let all: usize = lengths.iter().map(|(_, length)| length).sum();
    assert!(
        all <= POLICY_PER_REMEDIATION * DEPLOYMENT.enabled(),
        "{all}: {lengths:?}"
    );
    assert!(
        lengths.len() < 10,
        "with the boundary, a role has at most 10"
    );
}

#[test]
fn roles_are_few() {
    let resources = TEMPLATES["member-stack.yaml"]["Resources"]
        .as_object()
        .unwrap();
    let roles = resources
        .values()
        .filter(|one| one["Type"] == "AWS::IAM::Role")
        .count();
    assert!(roles <= ROLES_TARGET, "{roles}");
}

/// `DeleteDocument` is throttled: what changes gets a new version.
#[test]
fn documents_are_few_and_none_is_deleted_for_another() {
    let resources = TEMPLATES["member-documents.yaml"]["Resources"]
        .as_object()
        .unwrap();
    let documents: Vec<&Value> = resources
        .values()
        .filter(|one| one["Type"] == "AWS::SSM::Document")
        .collect();
    assert!(!documents.is_empty() && documents.len() <= DOCUMENTS_TARGET);
    for document in documents {
        assert_eq!(document["Properties"]["UpdateMethod"], "NewVersion");
    }
}

/// A key costs a dollar a month, in each region of each account.
#[test]
fn who_brings_a_key_gets_none() {
    let stack = &TEMPLATES["member-stack.yaml"];
    let keys: Vec<&Value> = stack["Resources"]
        .as_object()
        .unwrap()
        .values()
        .filter(|one| one["Type"] == "AWS::KMS::Key")
        .collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["Condition"], "OwnKey");
    let own = json!({"Fn::Equals": [{"Ref": "ExistingKeyArn"}, ""]});
    assert_eq!(stack["Conditions"]["OwnKey"], own);
}

#[test]
fn templates_are_within_limits_with_every_document() {
    let files = deployment(&everything()).render(&MODELS).unwrap();
    let mut documents = 0;
    for file in files.iter().filter(|file| file.name.ends_with(".yaml")) {
        let template = read(&file.text);
        let resources = template["Resources"].as_object().unwrap();
        assert!(
            file.text.len() <= BODY_LIMIT && resources.len() <= RESOURCE_LIMIT,
            "{}",
            file.name
        );
        let parameters = template["Parameters"].as_object().unwrap();
        assert!(parameters.len() <= 200);
        documents += resources
            .values()
            .filter(|one| one["Type"] == "AWS::SSM::Document")
            .count();
    }
    assert!(documents > DEPLOYMENT.enabled(), "{documents}");
    let stack = FILES
        .iter()
        .find(|file| file.name == "administrator-monitoring.yaml")
        .unwrap();
    assert!(stack.text.len() <= INLINE_LIMIT);
}

/// Every name differs from every other, and a name of AWS's length limits.
#[test]
fn names_begin_with_a_prefix() {
    let mut names = BTreeSet::new();
    for (file, template) in TEMPLATES.iter() {
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let properties = resource["Properties"].as_object().unwrap();
            let name = properties.iter().find(|(key, _)| {
                [
                    "RoleName",
                    "FunctionName",
                    "TableName",
                    "TopicName",
                    "QueueName",
                    "BucketName",
                    "ManagedPolicyName",
                    "StateMachineName",
                    "LogGroupName",
                    "AlarmName",
                    "DashboardName",
                ]
                .contains(&key.as_str())
            });
            let Some((key, name)) = name else { continue };
            // Of another resource, or of a nested stack's parameters.
            let referred = [
                "AWS::Lambda::Permission",
                "AWS::Lambda::EventSourceMapping",
                "AWS::Logs::MetricFilter",
                "AWS::Logs::SubscriptionFilter",
            ]
            .contains(&resource["Type"].as_str().unwrap());
            if referred {
                continue;
            }
            let text = name.to_string();
            assert!(
                text.contains("${NamePrefix}") || text.contains("${BucketPrefix}"),
                "{file} {id} {text}"
            );
            assert!(
                names.insert((key.clone(), text.clone())),
                "{file} {id}: {text} twice"
            );
        }
    }
    assert!(names.len() > 40);
}

/// What is off is off by a condition, and every condition is used.
#[test]
fn conditions_and_parameters_are_used() {
    for (file, template) in TEMPLATES.iter() {
        let text = template.to_string();
        for name in template["Conditions"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys())
        {
            let uses = [
                format!("\"Condition\":\"{name}\""),
                format!("\"Fn::If\":[\"{name}\""),
            ];
            assert!(
                uses.iter().any(|one| text.contains(one)),
                "{file}: condition {name}"
            );
        }
        for (name, parameter) in template["Parameters"].as_object().unwrap() {
            let uses = [format!("{{\"Ref\":\"{name}\"}}"), format!("${{{name}}}")];
            assert!(
                uses.iter().any(|one| text.contains(one)),
                "{file}: parameter {name}"
            );
            assert!(parameter["Description"].is_string(), "{file}: {name}");
            let limited = ["AllowedPattern", "AllowedValues", "MinValue"]
                .iter()
                .any(|key| !parameter[key].is_null());
            let free = [
                "AuditBucketName",
                "LedgerBucket",
                "AuditTableStreamArn",
                "SubnetIds",
                "RouteTableIds",
            ];
            assert!(limited || free.contains(&name.as_str()), "{file}: {name}");
        }
    }
}

/// Evidence outlives the stack, and nothing names a partition.
#[test]
fn evidence_is_kept_in_every_partition() {
    for (file, template) in TEMPLATES.iter() {
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let kind = resource["Type"].as_str().unwrap();
            let evidence = ["AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Logs::LogGroup"]
                .contains(&kind)
                || ["AuditTable", "StateTable"].contains(&id.as_str());
            if evidence {
                assert_eq!(resource["DeletionPolicy"], "Retain", "{file} {id}");
                assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{file} {id}");
            }
            assert!(!resource.to_string().contains("arn:aws:"), "{file} {id}");
        }
    }
}

/// `Resource: '*'` is allowed where AWS has nothing narrower, each with its reason.
#[test]
fn wildcards_have_reasons() {
    let listed: BTreeSet<&str> = DEPLOYMENT
        .policies
        .exceptions
        .iter()
        .filter(|exception| exception.kind == "wildcard")
        .map(|exception| &*exception.action)
        .collect();
    let reasons: Vec<Vec<&str>> = include_str!("../../data/wildcards.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split('\t').collect())
        .collect();
    let mut used = BTreeSet::new();
    for (file, template) in TEMPLATES.iter() {
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let mut wild = Vec::new();
            allowed_everywhere(&resource["Properties"], &mut wild);
            for action in wild {
                if listed.contains(&*action) {
                    continue;
                }
                let reason = reasons.iter().find(|row| {
                    row[0] == file && row[1] == id && (row[2] == "*" || row[2] == action)
                });
                let Some(row) = reason else {
                    panic!("{file} {id}: `{action}` on every resource")
                };
                assert!(row[3].len() > 20);
                used.insert(row.clone());
            }
        }
    }
    let stale: Vec<_> = reasons.iter().filter(|row| !used.contains(*row)).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

fn allowed_everywhere(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if value["Effect"] == "Allow" && value["Resource"] == "*" {
                let actions = match &value["Action"] {
                    Value::Array(list) => list
                        .iter()
                        .map(|one| one.as_str().unwrap().to_owned())
                        .collect(),
                    one => vec![one.as_str().unwrap().to_owned()],
                };
                found.extend(actions);
            }
            members
                .values()
                .for_each(|member| allowed_everywhere(member, found));
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| allowed_everywhere(item, found)),
        _ => {}
    }
}

#[test]
fn what_is_not_there_is_refused() {
    let check = |options: Options, expected: &str| {
        let error = Deployment::new(&Catalog::embedded(), &MODELS, &options).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let one = |name: &str| [name.to_owned()].into();
    check(
        Options {
            only: one("Nothing"),
            ..Options::default()
        },
        "`Nothing` is not in the catalog",
    );
    check(
        Options {
            only: one("S3KeepVersions"),
            documents: stanch_deploy::Documents::Of(one("S3BlockPublicAccess")),
        },
        "a document of `S3BlockPublicAccess` is wanted, and it is not enabled",
    );
    assert!(matches!(
        Deployment::new(
            &Catalog::embedded(),
            &MODELS,
            &Options {
                documents: stanch_deploy::Documents::Of(one("X")),
                ..Options::default()
            }
        ),
        Err(DeployError::Unknown(_))
    ));
}

/// Only what is enabled is allowed.
#[test]
fn one_remediation_needs_little() {
    let options = Options {
        only: ["S3BlockPublicAccess".to_owned()].into(),
        ..Options::default()
    };
    let one = deployment(&options);
    let actions: BTreeSet<String> = one
        .policies
        .managed()
        .flat_map(|policy| {
            let statements = policy.document["Statement"].as_array().unwrap().clone();
            statements
                .into_iter()
                .map(|statement| statement["Action"].to_string())
        })
        .collect();
    assert_eq!(
        actions.into_iter().collect::<Vec<_>>(),
        [
            "\"cloudfront:ListDistributions\"",
            "\"s3:PutBucketPublicAccessBlock\"",
            "[\"s3:GetBucketPolicyStatus\",\"s3:GetBucketPublicAccessBlock\",\"s3:GetBucketWebsite\"]"
        ]
    );
    let files = one.render(&MODELS).unwrap();
    let documents = files
        .iter()
        .find(|file| file.name == "member-documents.yaml")
        .unwrap();
    let names: Vec<String> = read(&documents.text)["Resources"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        names,
        [
            "ControlRunbook",
            "RemediateS3PublicAccess",
            "RollbackS3PublicAccess"
        ]
    );
}
