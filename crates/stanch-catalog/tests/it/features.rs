//! What a file may say beyond the plain calls.

use std::sync::Arc;

use serde_json::{Value, json};
use stanch_catalog::{Plan, PlanError, PlannedAction, Remediation};
use stanch_models::Models;

use crate::plans::{Case, case};

/// Keys of a user, each read by itself, with a cut-over in between.
const KEYS: &str = r#"remediation: Keys
title: Deactivate keys
description: Why.
resource: AwsIamUser
controls: {config: keys}
safety: {class: guarded, impact: None., undo: exact}
parameters:
  User: {from: resource.name}
  Days: {type: Integer, default: 90}
  Reason: {description: What stands in the tag.}
read:
  - name: keys
    call: iam.ListAccessKeys
    with: {UserName: "{{ User }}"}
    on: &user "arn:{{ partition }}:iam::{{ account }}:user/{{ User }}"
    pick: "AccessKeyMetadata[].{Id: AccessKeyId, at: CreateDate, Status: Status}"
  - name: profile
    when: length(keys) > `1`
    call: iam.GetLoginProfile
    with: {UserName: "{{ User }}"}
    on: *user
    absent: NoSuchEntity
    pick: LoginProfile.UserName
  - name: used
    each: "keys[?Status == 'Active']"
    call: iam.GetAccessKeyLastUsed
    with: {AccessKeyId: "{{ item.Id }}"}
    on: *user
    pick: AccessKeyLastUsed.ServiceName
let:
  - {name: old, function: older-than, with: {items: "{{ keys }}", time: "{{ time }}", days: "{{ Days }}"}}
  - {name: upper, each: used, value: "join('/', [item.item.Id, item.value])"}
compliant: "length(old[?Status == 'Active']) == `0`"
refuse:
  - {when: "profile != `null`", because: A person uses this user; ask that person.}
state: "sort_by(keys[].{Id: Id, Status: Status}, &Id)"
apply:
  - name: Tag
    call: iam.TagUser
    with: {UserName: "{{ User }}", Tags: [{Key: "{{ Reason }}", Value: "{{ upper[0].value }} {{ time }}"}]}
    on: *user
  - approve: "Deactivate the keys of {{ User }}?"
  - name: Off
    each: "old[?Status == 'Active']"
    call: iam.UpdateAccessKey
    with: {UserName: "{{ User }}", AccessKeyId: "{{ item.Id }}", Status: Inactive}
    on: *user
undo:
  - name: On
    each: "old[?Status == 'Active']"
    call: iam.UpdateAccessKey
    with: {UserName: "{{ User }}", AccessKeyId: "{{ item.Id }}", Status: Active}
    on: *user
  - {name: Untag, call: iam.UntagUser, with: {UserName: "{{ User }}", TagKeys: ["{{ Reason }}"]}, on: *user}
examples:
  - title: One
    finding: {control: keys, resource: "arn:aws:iam::{{ account }}:user/ann", settings: {Reason: why}}
"#;

fn keys() -> Case {
    let found = stanch_catalog::check(KEYS, &Models::embedded().unwrap());
    assert_eq!(found, []);
    let mut case = case(
        "IamStrengthenPasswordPolicy",
        "AwsIamUser",
        "arn:aws:iam::123456789012:user/ann",
        "config:keys",
    );
    case.remediation = Arc::new(stanch_catalog::parse(KEYS).0.unwrap());
    case.target
        .settings
        .insert("Reason".to_owned(), json!("why"));
    case
}

fn key(id: &str, at: &str, status: &str) -> Value {
    json!({"AccessKeyId": id, "CreateDate": at, "Status": status})
}

const OLD: &str = "1969-01-01T00:00:00+00:00";
const NEW: &str = "1969-12-31T00:00:00+00:00";

fn replies(status: &str) -> Vec<Value> {
    let listed = json!({"AccessKeyMetadata": [key("A", OLD, status), key("B", NEW, "Active")]});
    let used = |service: &str| json!({"AccessKeyLastUsed": {"ServiceName": service}});
    let mut replies = vec![listed, json!("NoSuchEntity")];
    if status == "Active" {
        replies.push(used("s3"));
    }
    replies.push(used("sns"));
    replies
}

#[test]
fn reads_and_values_for_each_element_steps_behind_an_approval() {
    keys().check(
        &replies("Active"),
        &[
            r#"iam.TagUser {"UserName":"ann","Tags":[{"Key":"why","Value":"A/s3 1970-01-01T00:00:00Z"}]}"#,
            "approve Deactivate the keys of ann?",
            r#"iam.UpdateAccessKey {"UserName":"ann","AccessKeyId":"A","Status":"Inactive"}"#,
        ],
        &replies("Inactive"),
        &[
            r#"iam.UpdateAccessKey {"UserName":"ann","AccessKeyId":"A","Status":"Active"}"#,
            r#"iam.UntagUser {"UserName":"ann","TagKeys":["why"]}"#,
        ],
    );
    let seen = keys().plan(&replies("Active")).observed;
    let item = |id: &str, at: &str| json!({"Id": id, "at": at, "Status": "Active"});
    assert_eq!(
        seen["used"],
        json!([{"item": item("A", OLD), "value": "s3"}, {"item": item("B", NEW), "value": "sns"}])
    );
    assert_eq!(seen["profile"], Value::Null);
}

#[test]
fn what_is_not_wanted_is_not_read() {
    let one = json!({"AccessKeyMetadata": [key("A", OLD, "Inactive")]});
    let plan = keys().plan(&[one]);
    assert!(plan.compliant);
    assert_eq!(plan.reads.len(), 1);
    assert_eq!(plan.observed["used"], json!([]));
}

#[test]
fn a_case_that_the_file_names_is_not_begun() {
    let mut replies = replies("Active");
    replies[1] = json!({"LoginProfile": {"UserName": "ann"}});
    let case = keys();
    let observed = case.observe(&replies).unwrap();
    let error = observed.plan().unwrap_err();
    assert_eq!(
        error,
        PlanError::Refused {
            because: "A person uses this user; ask that person.".to_owned()
        }
    );
    // What is under way goes on.
    assert_eq!(
        case.observe(&replies)
            .unwrap()
            .plan_on()
            .unwrap()
            .steps
            .len(),
        3
    );
}

#[test]
fn what_only_the_user_knows_is_asked_for() {
    let mut case = keys();
    case.target.settings.clear();
    let error = case.observe(&[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "parameter `Reason` of `Keys` has no value: set it in the configuration (What stands in the tag.)"
    );
}

#[test]
fn time_stands_still_between_plan_and_approval() {
    let case = keys();
    let plan = case.plan(&replies("Active"));
    assert_eq!(plan.time, crate::plans::NOW);
    let stored: Plan = serde_json::from_value(json!(plan)).unwrap();
    let mut again = case.remediation.observe_again(&stored).unwrap();
    for reply in replies("Active") {
        let read = again.next_read().unwrap().unwrap();
        again
            .answer(crate::plans::answer(&read.call, &reply))
            .unwrap();
    }
    assert_eq!(again.finish().unwrap().plan().unwrap().hash(), plan.hash());
}

fn complaints(from: &str, to: &str) -> Vec<String> {
    assert!(KEYS.contains(from), "{from}");
    let (_, found): (Option<Remediation>, _) = stanch_catalog::parse(&KEYS.replacen(from, to, 1));
    found
        .into_iter()
        .map(|found| format!("{}: {}", found.at.line, found.message))
        .collect()
}

#[test]
fn mistakes_are_told() {
    assert_eq!(
        complaints("  - approve: \"Deactivate the keys of {{ User }}?\"\n", ""),
        Vec::<String>::new()
    );
    assert_eq!(
        complaints("apply:\n", "apply:\n  - {name: Ask, approve: Sure?}\n"),
        ["38: the plan itself is approved before its first step"]
    );
    assert_eq!(
        complaints("undo:\n", "undo:\n  - approve: Sure?\n"),
        ["49: an undo waits for nobody"]
    );
    assert_eq!(
        complaints("undo:\n", "  - {name: Ask, approve: Sure?}\nundo:\n"),
        ["48: no step follows on this approval"]
    );
    assert_eq!(
        complaints(
            "approve: \"Deactivate",
            "each: old\n    approve: \"Deactivate"
        ),
        ["42: `each` has no meaning beside `approve`"]
    );
    assert_eq!(
        complaints("each: \"keys[?Status", "each: \"item[?Status"),
        ["25: `item[?Status == 'Active']`: there is no `item` here"]
    );
    assert_eq!(
        complaints("{description: What stands in the tag.}", "{type: String}"),
        ["10: nothing gives parameter `Reason` a value"]
    );
    assert_eq!(
        complaints("{name: old,", "{name: time,")[0],
        "31: `time` already has a meaning"
    );
}

#[test]
fn the_name_of_a_step_is_no_use_of_a_parameter() {
    let unused = complaints(
        "UserName: \"{{ User }}\", AccessKeyId",
        "UserName: ann, AccessKeyId",
    );
    assert_eq!(unused, Vec::<String>::new());
    let text = KEYS
        .replace("{{ Reason }}", "why")
        .replace("name: Untag", "name: Reason");
    let found = stanch_catalog::parse(&text).1;
    assert_eq!(found[0].message, "nothing uses parameter `Reason`");
}

#[test]
fn a_step_that_changes_nothing_is_no_step() {
    let text = KEYS.replace("iam.TagUser", "iam.GetUser");
    let found = stanch_catalog::check(&text, &Models::embedded().unwrap());
    assert_eq!(found[0].message, "`iam.GetUser` changes nothing");
}

#[test]
fn an_approval_stands_in_the_document() {
    let plan = keys().plan(&replies("Active"));
    assert!(matches!(
        plan.steps[1].action,
        PlannedAction::Approve { .. }
    ));
    let document = plan.document().unwrap().to_yaml();
    assert!(document.contains("action: aws:approve"), "{document}");
    let exported = keys()
        .remediation
        .export(&Models::embedded().unwrap())
        .unwrap();
    assert!(exported.remediation.to_yaml().contains("'{{ Approvers }}'"));
    assert!(
        exported
            .rollback
            .unwrap()
            .parameters
            .get("Approvers")
            .is_none()
    );
}

/// Products have names of their own for one thing; what else a product calls what is changed is another control.
#[test]
fn a_control_has_the_names_of_other_products() {
    let text = KEYS.replace(
        "{config: keys}",
        "{security-hub: [IAM.3, IAM.22], config: keys, prowler: [iam_keys], cis-3.0.0: '1.14', nist-800-53-r5: AC-2}",
    );
    let keys: Remediation = stanch_catalog::parse(&text).0.unwrap();
    let names = |found: &str| Vec::from_iter(keys.names_of(found));
    assert_eq!(
        names("IAM.3"),
        ["IAM.3", "cis-3.0.0:1.14", "config:keys", "prowler:iam_keys"]
    );
    assert_eq!(
        names("prowler:iam_keys"),
        [
            "IAM.22",
            "IAM.3",
            "cis-3.0.0:1.14",
            "config:keys",
            "prowler:iam_keys"
        ]
    );
    // What is no control's name stands for nothing else, and is not dropped.
    assert!(names("?").contains(&"?".to_owned()));
    for (named, found, meant) in [
        ("iam.3", "IAM.3", true),
        ("IAM.3", "prowler:iam_keys", true),
        ("IAM.22", "IAM.3", false),
        ("keys", "IAM.3", true),
        ("iam_keys", "IAM.3", false),
        ("EC2.13", "prowler:iam_keys", false),
    ] {
        assert_eq!(keys.is_meant(named, found), meant, "{named} of {found}");
    }
}
