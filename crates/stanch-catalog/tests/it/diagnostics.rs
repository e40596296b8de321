//! What is wrong with a file is said at its line, with what to write instead.

use stanch_catalog::{Catalog, check};
use stanch_models::Models;

/// A file without a mistake, to make mistakes in.
const GOOD: &str = r#"remediation: Demo
title: Rotate
description: Why.
resource: AwsKmsKey
controls: {security-hub: KMS.4}
safety: {class: safe, impact: None., undo: exact}
parameters:
  Key:
    from: resource.name
    pattern: "[0-9a-f-]{36}"
    accepts: [1234abcd-12ab-34cd-56ef-1234567890ab]
    rejects: [alias/x]
read:
  - name: rotation
    call: kms.GetKeyRotationStatus
    with: {KeyId: "{{ Key }}"}
    pick: KeyRotationEnabled
compliant: rotation == `true`
apply:
  - call: kms.EnableKeyRotation
    with: {KeyId: "{{ Key }}"}
undo:
  - call: kms.DisableKeyRotation
    with: {KeyId: "{{ Key }}"}
examples:
  - title: A key
    given: [{name: key, call: kms.CreateKey}]
    finding: {control: KMS.4, resource: "{{ key.KeyMetadata.Arn }}"}
"#;

/// Makes one mistake and expects one complaint.
fn wrong(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    let found = check(&text, &Models::embedded().unwrap());
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), expected, "{to}");
}

#[test]
fn a_good_file_has_none() {
    wrong("Why.", "Why!", "");
}

#[test]
fn keys() {
    wrong(
        "compliant:",
        "complaint:",
        "1:1: error: a remediation needs `compliant`\n  hint: compliant: True when there is nothing to fix.\n18:1: error: a remediation has no key `complaint`\n  hint: write `compliant`",
    );
    wrong(
        "class: safe",
        "class: harmless",
        "6:17: error: `class` cannot be `harmless`\n  hint: write one of `safe`, `guarded`, `destructive`",
    );
}

#[test]
fn names() {
    wrong(
        "compliant: rotation",
        "compliant: rotatoin",
        "18:12: error: `rotatoin == `true``: there is no `rotatoin` here\n  hint: write `rotation`",
    );
    wrong(
        "EnableKeyRotation\n    with: {KeyId: \"{{ Key }}\"}",
        "EnableKeyRotation\n    with: {KeyId: \"{{ resource.name }}\"}",
        "21:19: error: `resource.name`: there is no `resource` here\n  hint: known here are `account`, `region`, `partition`, `time`, `Key`, `rotation`",
    );
}

#[test]
fn calls() {
    wrong(
        "kms.EnableKeyRotation",
        "kms.EnableKeyRotations",
        "20:11: error: `kms` has no operation `EnableKeyRotations`\n  hint: did you mean `EnableKeyRotation` or `DisableKeyRotation`?",
    );
    wrong(
        "kms.EnableKeyRotation\n    with: {KeyId:",
        "kms.EnableKeyRotation\n    with: {KeyID:",
        "21:11: error: `KeyId` is required\n21:12: error: `KeyID`: there is no such parameter\n  hint: did you mean `KeyId`?",
    );
    wrong(
        "call: kms.GetKeyRotationStatus",
        "call: kms.EnableKeyRotation",
        "15:11: error: `kms.EnableKeyRotation` may change something\n  hint: what is read must be a Get, a List or a Describe",
    );
    wrong(
        "pick: KeyRotationEnabled",
        "pick: KeyRotationEnable",
        "17:11: error: `$.KeyRotationEnable`: `GetKeyRotationStatusResponse` has no member `KeyRotationEnable`\n  hint: did you mean `KeyRotationEnabled`?",
    );
    wrong(
        "kms.CreateKey",
        "kms.create_key",
        "27:31: error: `kms.create_key` is not quite its name\n  hint: write `kms.CreateKey`",
    );
    wrong(
        "kms.CreateKey",
        "CreateKey",
        "27:31: error: `CreateKey` is not a call\n  hint: write service and operation as boto3 names them: `s3.GetPublicAccessBlock`",
    );
}

#[test]
fn templates() {
    wrong(
        "{KeyId: \"{{ Key }}\"}",
        "{KeyId: \"{{ Key }\"}",
        "16:19: error: `{{ Key }`: `{{` is not closed by `}}`\n  hint: `{{ … }}` holds a JMESPath expression, `{{? … }}` one that may be null",
    );
    wrong(
        "{KeyId: \"{{ Key }}\"}",
        "{KeyId: \"{{ length( }}\"}",
        "16:19: error: `length(`: it ends too early\n  hint: `{{ … }}` holds a JMESPath expression, `{{? … }}` one that may be null",
    );
    wrong(
        "compliant: rotation == `true`",
        "compliant: lenght(rotation) == `1`",
        "18:12: error: `lenght(rotation) == `1``: JMESPath has no function `lenght`\n  hint: the syntax is JMESPath's, https://jmespath.org",
    );
}

#[test]
fn parameters() {
    wrong(
        "rejects: [alias/x]",
        "rejects: [2234abcd-12ab-34cd-56ef-1234567890ab]",
        "12:15: error: parameter `Key` takes `2234abcd-12ab-34cd-56ef-1234567890ab`, which it should refuse\n  hint: tighten `pattern`",
    );
    wrong(
        "accepts: [1234abcd-12ab-34cd-56ef-1234567890ab]",
        "accepts: [key]",
        "11:15: error: parameter `Key` cannot be `key`: it must match `[0-9a-f-]{36}`\n  hint: change the value, the pattern or the type",
    );
    wrong(
        "    from: resource.name\n",
        "",
        "8:3: error: nothing gives parameter `Key` a value\n  hint: add `from` (an expression over the finding) or `default`; or a `description` for those who have to set it",
    );
    wrong(
        "parameters:\n",
        "parameters:\n  account: {default: x}\n",
        "8:3: error: `account` already has a meaning\n  hint: choose another name",
    );
    wrong(
        "[0-9a-f-]{36}",
        "[0-9a-f-{36}",
        "10:14: error: `[0-9a-f-{36}` is not a pattern\n  hint: non-empty character class has no closing bracket",
    );
    wrong(
        "parameters:\n",
        "parameters:\n  Other: {default: x}\n",
        "8:3: error: nothing uses parameter `Other`\n  hint: remove it",
    );
}

#[test]
fn safety() {
    wrong(
        "undo: exact}",
        "undo: none, because: It cannot.}",
        "6:17: error: what cannot be undone is not `safe`\n  hint: write `class: destructive`, or an undo\n6:44: error: `undo: none`, but there are steps under `undo`\n  hint: write `undo: exact`, or remove them; for what failed half-way, `automatic-undo: true`",
    );
    wrong(
        "undo:\n  - call: kms.DisableKeyRotation\n    with: {KeyId: \"{{ Key }}\"}\n",
        "",
        "6:44: error: `undo: exact`, but there are no steps under `undo`\n  hint: write the requests that restore what was read",
    );
}

#[test]
fn structure() {
    wrong(
        "description: Why.",
        "description: Why: so.",
        "3:17: error: mapping values are not allowed in this context\n  hint: put text that contains `: ` in quotes",
    );
    wrong(
        "title: Rotate",
        "title: [Rotate]",
        "2:8: error: `title` is text, but this is a list",
    );
    wrong(
        "remediation: Demo",
        "remediation: my-demo",
        "1:14: error: `my-demo` is not a name for a remediation\n  hint: write it in CamelCase with letters and digits only: `S3BlockPublicAccess`",
    );
    wrong(
        "control: KMS.4,",
        "control: KMS.5,",
        "28:24: error: `KMS.5` is not among the controls of this file\n  hint: name one that a finding can carry: of `security-hub`, `config`, `prowler` or `cis-…`",
    );
    wrong(
        "  - title: A key\n",
        "  - title: A key\n    compliant: true\n",
        "26:3: error: no example has something to fix\n  hint: add one that is not `compliant: true`",
    );
    wrong(
        "apply:\n  - call: kms.EnableKeyRotation",
        "apply:\n  - sleep: 3\n    call: kms.EnableKeyRotation",
        "20:5: error: a step has one of `call`, `wait`, `sleep` and `approve`\n  hint: write one step for each",
    );
}

#[test]
fn two_files_do_not_claim_one_control() {
    let other = GOOD.replace("remediation: Demo", "remediation: Other");
    let (catalog, found) = Catalog::load([("a.yaml", GOOD), ("b.yaml", &other), ("c.yaml", GOOD)]);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "b.yaml:1:1: error: `security-hub KMS.4` for `AwsKmsKey` is already claimed by `a.yaml`\n  hint: remove the control from one of the two files",
            "c.yaml:1:1: error: `Demo` is already the remediation of `a.yaml`\n  hint: choose another name",
            "c.yaml:1:1: error: `security-hub KMS.4` for `AwsKmsKey` is already claimed by `a.yaml`\n  hint: remove the control from one of the two files",
        ]
    );
    assert_eq!(catalog.len(), 1);
}
