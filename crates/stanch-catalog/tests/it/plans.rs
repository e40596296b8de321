//! What each remediation sends for resources in given states, and what puts them back.

use std::sync::Arc;

use serde_json::{Value, json};
use stanch_catalog::{
    Catalog, Observed, Plan, PlanError, PlannedAction, Remediation, Stage, Target,
};
use stanch_types::{Call, CallError, CallErrorKind, Resource};

/// A remediation with a resource that it may look at.
pub(crate) struct Case {
    pub(crate) remediation: Arc<Remediation>,
    pub(crate) target: Target,
}

/// When findings are taken in.
pub(crate) const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

pub(crate) fn case(name: &str, kind: &str, id: &str, control: &str) -> Case {
    let short = id.rsplit(['/', ':']).next().unwrap();
    Case {
        remediation: Catalog::embedded().get(name).unwrap(),
        target: Target {
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
            resource: Resource {
                resource_type: kind.to_owned(),
                id: id.to_owned(),
                arn: id.parse().ok(),
                name: short.to_owned(),
                region: None,
                tags: Default::default(),
                details: Value::Null,
            },
            controls: vec![control.parse().unwrap()],
            finding: Arc::default(),
            settings: Default::default(),
        },
    }
}

fn refused(call: &Call, code: &str) -> CallError {
    CallError {
        code: code.to_owned(),
        ..CallError::new(CallErrorKind::Rejected, call, "canned")
    }
}

/// An answer: an output, or an error code as text.
pub(crate) fn answer(call: &Call, reply: &Value) -> Result<Value, CallError> {
    match reply {
        Value::String(code) => Err(refused(call, code)),
        output => Ok(output.clone()),
    }
}

impl Case {
    pub(crate) fn observe(&self, replies: &[Value]) -> Result<Observed<'_>, PlanError> {
        let mut observation = self
            .remediation
            .observe(self.remediation.subject(&self.target, NOW)?);
        let mut replies = replies.iter();
        while let Some(read) = observation.next_read()? {
            let reply = replies.next().expect("a reply for each read");
            observation.answer(answer(&read.call, reply))?;
        }
        assert!(replies.next().is_none(), "a read for each reply");
        observation.finish()
    }

    pub(crate) fn plan(&self, replies: &[Value]) -> Plan {
        self.observe(replies).unwrap().plan().unwrap()
    }

    /// Applies on `before`; looks at `after`, which must be compliant; and undoes.
    pub(crate) fn check(&self, before: &[Value], apply: &[&str], after: &[Value], undo: &[&str]) {
        let plan = self.plan(before);
        assert_eq!((plan.stage, lines(&plan)), (Stage::Apply, to_lines(apply)));
        assert!(!plan.compliant);
        let document = plan.document().unwrap();
        let names = |plan: &Plan| {
            plan.steps
                .iter()
                .map(|s| s.name.clone())
                .collect::<Vec<_>>()
        };
        let steps: Vec<String> = document
            .steps
            .iter()
            .map(|step| step.name.clone())
            .collect();
        assert_eq!(steps, names(&plan));
        assert!(document.steps.last().unwrap().is_end);
        let again = self.observe(after).unwrap();
        assert!(again.compliant());
        assert_ne!(again.state(), &plan.state);
        let undoing = again.undo(&plan, &json!({})).unwrap();
        assert_eq!(
            (undoing.stage, lines(&undoing)),
            (Stage::Undo, to_lines(undo))
        );
        crate::exports::check(self, before, after, &plan, &undoing);
        // Nothing to do: not twice, and not when it is as it was.
        assert_eq!(lines(&self.plan(after)), Vec::<String>::new());
        let restored = self
            .observe(before)
            .unwrap()
            .undo(&plan, &json!({}))
            .unwrap();
        assert_eq!(lines(&restored), Vec::<String>::new());
        // The hash is of what is sent, and of nothing that changes by itself.
        assert_eq!(plan.hash(), self.plan(before).hash());
        assert_ne!(plan.hash(), undoing.hash());
        let stored: Plan = serde_json::from_value(json!(plan)).unwrap();
        assert_eq!((stored.hash(), &stored), (plan.hash(), &plan));
    }
}

fn to_lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn lines(plan: &Plan) -> Vec<String> {
    let line = |step: &stanch_catalog::PlannedStep| match &step.action {
        PlannedAction::Call { call, .. } => format!("{call} {}", call.params),
        PlannedAction::Wait {
            call,
            select,
            values,
            ..
        } => {
            format!("{call} {} until {select} is {}", call.params, json!(values))
        }
        PlannedAction::Sleep { seconds } => format!("sleep {seconds}"),
        PlannedAction::Approve { message } => format!("approve {message}"),
    };
    plan.steps.iter().map(line).collect()
}

#[test]
fn a_bucket_blocks_public_access() {
    let case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let block = |flag: bool| {
        json!({"PublicAccessBlockConfiguration": {
            "BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": flag, "RestrictPublicBuckets": true,
        }})
    };
    let put = r#"s3.PutPublicAccessBlock {"Bucket":"logs","ExpectedBucketOwner":"123456789012","PublicAccessBlockConfiguration":{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}}"#;
    case.check(
        &[json!("NoSuchPublicAccessBlockConfiguration")],
        &[put],
        &[block(true)],
        &[r#"s3.DeletePublicAccessBlock {"Bucket":"logs","ExpectedBucketOwner":"123456789012"}"#],
    );
    case.check(
        &[block(false)],
        &[put],
        &[block(true)],
        // JMESPath gives the members of an object in the order of their names.
        &[r#"s3.PutPublicAccessBlock {"Bucket":"logs","ExpectedBucketOwner":"123456789012","PublicAccessBlockConfiguration":{"BlockPublicAcls":true,"BlockPublicPolicy":false,"IgnorePublicAcls":true,"RestrictPublicBuckets":true}}"#],
    );
}

#[test]
fn an_account_blocks_public_access_once() {
    let case = case(
        "S3BlockPublicAccessOfAccount",
        "AwsAccount",
        "AWS::::Account:123456789012",
        "S3.1",
    );
    let all = json!({"PublicAccessBlockConfiguration": {
        "BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true,
    }});
    case.check(
        &[json!("NoSuchPublicAccessBlockConfiguration")],
        &[r#"s3control.PutPublicAccessBlock {"AccountId":"123456789012","PublicAccessBlockConfiguration":{"BlockPublicAcls":true,"IgnorePublicAcls":true,"BlockPublicPolicy":true,"RestrictPublicBuckets":true}}"#],
        &[all],
        &[r#"s3control.DeletePublicAccessBlock {"AccountId":"123456789012"}"#],
    );
    assert_eq!(
        case.plan(&[json!("NoSuchPublicAccessBlockConfiguration")])
            .region
            .as_str(),
        "us-east-1"
    );
}

#[test]
fn a_bucket_refuses_plain_http() {
    let case = case(
        "S3DenyPlainHttp",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.5",
    );
    let deny = r#"{"Sid":"DenyPlainHttp","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;
    let put = |policy: &str| {
        let params =
            json!({"Bucket": "logs", "ExpectedBucketOwner": "123456789012", "Policy": policy});
        format!("s3.PutBucketPolicy {params}")
    };
    let fresh = format!(r#"{{"Version":"2012-10-17","Statement":[{deny}]}}"#);
    case.check(
        &[json!("NoSuchBucketPolicy")],
        &[&put(&fresh)],
        &[json!({"Policy": fresh})],
        &[r#"s3.DeleteBucketPolicy {"Bucket":"logs","ExpectedBucketOwner":"123456789012"}"#],
    );
    let former = r#"{"Statement": [ {"Sid":"z", "Effect":"Allow","Action":"s3:*"} ], "Id":"b"}"#;
    let changed = format!(
        r#"{{"Statement": [ {{"Sid":"z", "Effect":"Allow","Action":"s3:*"}},{deny} ], "Id":"b"}}"#
    );
    case.check(
        &[json!({"Policy": former})],
        &[&put(&changed)],
        &[json!({"Policy": changed})],
        &[&put(former)],
    );
}

#[test]
fn open_ports_close_and_open_again() {
    let group = "arn:aws:ec2:eu-central-1:123456789012:security-group/sg-0123456789abcdef0";
    let named = json!({"SecurityGroups": [{"GroupId": "sg-0123456789abcdef0"}]});
    let rule = |id: &str, port: i64, cidr: &str, tags: Value| {
        json!({
            "SecurityGroupRuleId": id, "IsEgress": false, "IpProtocol": "tcp", "FromPort": port,
            "ToPort": port, "CidrIpv4": cidr, "Description": "from home", "Tags": tags,
        })
    };
    let kept = rule("sgr-2", 22, "10.0.0.0/8", json!([]));
    let tags = json!([{"Key": "b", "Value": "1"}]);
    let open = rule("sgr-1", 22, "0.0.0.0/0", tags.clone());
    let rdp = rule("sgr-3", 3389, "0.0.0.0/0", json!([]));
    let rules = |rules: &[&Value]| json!({"SecurityGroupRules": rules});
    let authorize = |port: i64, tags: &str| {
        format!(
            r#"ec2.AuthorizeSecurityGroupIngress {{"GroupId":"sg-0123456789abcdef0","IpPermissions":[{{"FromPort":{port},"IpProtocol":"tcp","IpRanges":[{{"CidrIp":"0.0.0.0/0","Description":"from home"}}],"ToPort":{port}}}]{tags}}}"#
        )
    };
    let ssh_again = authorize(
        22,
        r#","TagSpecifications":[{"ResourceType":"security-group-rule","Tags":[{"Key":"b","Value":"1"}]}]"#,
    );
    let ssh = case("Ec2CloseOpenPorts", "AwsEc2SecurityGroup", group, "EC2.13");
    ssh.check(
        &[named.clone(), rules(&[&open, &kept, &rdp])],
        &[r#"ec2.RevokeSecurityGroupIngress {"GroupId":"sg-0123456789abcdef0","SecurityGroupRuleIds":["sgr-1"]}"#],
        &[named.clone(), rules(&[&kept, &rdp])],
        &[&ssh_again],
    );
    let both = case("Ec2CloseOpenPorts", "AwsEc2SecurityGroup", group, "EC2.53");
    both.check(
        &[named.clone(), rules(&[&open, &kept, &rdp])],
        &[r#"ec2.RevokeSecurityGroupIngress {"GroupId":"sg-0123456789abcdef0","SecurityGroupRuleIds":["sgr-1","sgr-3"]}"#],
        &[named.clone(), rules(&[&kept])],
        &[&ssh_again, &authorize(3389, "")],
    );
    // A rule that is back under another id is the same rule.
    let before = ssh.plan(&[named.clone(), rules(&[&open, &kept])]);
    let again = rule("sgr-9", 22, "0.0.0.0/0", tags);
    let restored = ssh
        .observe(&[named.clone(), rules(&[&kept, &again])])
        .unwrap();
    assert_eq!(restored.state(), &before.state);
    // A user's own ports.
    let mut own = case("Ec2CloseOpenPorts", "AwsEc2SecurityGroup", group, "EC2.13");
    own.target
        .settings
        .insert("Ports".to_owned(), json!(["3389"]));
    assert_eq!(
        own.plan(&[named.clone(), rules(&[&open, &rdp])])
            .steps
            .len(),
        1
    );
    assert!(own.observe(&[named, rules(&[&open])]).unwrap().compliant());
}

#[test]
fn a_key_rotates() {
    let key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    case("KmsRotateKey", "AwsKmsKey", key, "KMS.4").check(
        &[json!({"KeyRotationEnabled": false})],
        &[r#"kms.EnableKeyRotation {"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}"#],
        &[json!({"KeyRotationEnabled": true, "NextRotationDate": "2027-11-22T00:00:00Z"})],
        &[r#"kms.DisableKeyRotation {"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}"#],
    );
}

#[test]
fn an_instance_becomes_private() {
    let instance = "arn:aws:rds:eu-central-1:123456789012:db:orders";
    let seen = |public: bool, restorable: &str| json!({"DBInstances": [{"PubliclyAccessible": public, "LatestRestorableTime": restorable}]});
    let case = case(
        "RdsMakeInstancePrivate",
        "AwsRdsDbInstance",
        instance,
        "RDS.2",
    );
    case.check(
        &[seen(true, "1")],
        &[
            r#"rds.ModifyDBInstance {"DBInstanceIdentifier":"orders","PubliclyAccessible":false}"#,
            r#"rds.DescribeDBInstances {"DBInstanceIdentifier":"orders"} until $.DBInstances[0].PubliclyAccessible is [false]"#,
        ],
        &[seen(false, "2")],
        &[
            r#"rds.ModifyDBInstance {"DBInstanceIdentifier":"orders","PubliclyAccessible":true}"#,
            r#"rds.DescribeDBInstances {"DBInstanceIdentifier":"orders"} until $.DBInstances[0].PubliclyAccessible is [true]"#,
        ],
    );
    assert_eq!(
        case.plan(&[seen(true, "1")]).hash(),
        case.plan(&[seen(true, "2")]).hash()
    );
}

#[test]
fn a_trail_validates_its_files() {
    let trail = "arn:aws:cloudtrail:eu-central-1:123456789012:trail/main";
    let seen = |flag: bool| json!({"Trail": {"Name": "main", "LogFileValidationEnabled": flag}});
    case("CloudTrailValidateLogFiles", "AwsCloudTrailTrail", trail, "CloudTrail.4").check(
        &[seen(false)],
        &[r#"cloudtrail.UpdateTrail {"Name":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/main","EnableLogFileValidation":true}"#],
        &[seen(true)],
        &[r#"cloudtrail.UpdateTrail {"Name":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/main","EnableLogFileValidation":false}"#],
    );
}

#[test]
fn a_password_policy_only_becomes_stricter() {
    let case = case(
        "IamStrengthenPasswordPolicy",
        "AwsAccount",
        "AWS::::Account:123456789012",
        "IAM.7",
    );
    let strong = |length: i64, age: i64| {
        json!({"PasswordPolicy": {
            "MinimumPasswordLength": length, "RequireSymbols": true, "RequireNumbers": true,
            "RequireUppercaseCharacters": true, "RequireLowercaseCharacters": true,
            "AllowUsersToChangePassword": true, "ExpirePasswords": true, "MaxPasswordAge": age,
            "PasswordReusePrevention": 24, "HardExpiry": false,
        }})
    };
    let update = |length: i64, age: i64| {
        format!(
            r#"iam.UpdateAccountPasswordPolicy {{"RequireSymbols":true,"RequireNumbers":true,"RequireUppercaseCharacters":true,"RequireLowercaseCharacters":true,"MinimumPasswordLength":{length},"PasswordReusePrevention":24,"MaxPasswordAge":{age},"AllowUsersToChangePassword":true,"HardExpiry":false}}"#
        )
    };
    case.check(
        &[json!("NoSuchEntity")],
        &[&update(14, 90)],
        &[strong(14, 90)],
        &["iam.DeleteAccountPasswordPolicy {}"],
    );
    let weak = json!({"PasswordPolicy": {
        "MinimumPasswordLength": 20, "RequireSymbols": false, "RequireNumbers": true,
        "RequireUppercaseCharacters": false, "RequireLowercaseCharacters": false,
        "AllowUsersToChangePassword": true, "ExpirePasswords": true, "MaxPasswordAge": 30,
    }});
    case.check(
        &[weak],
        &[&update(20, 30)],
        &[strong(20, 30)],
        &[r#"iam.UpdateAccountPasswordPolicy {"RequireSymbols":false,"RequireNumbers":true,"RequireUppercaseCharacters":false,"RequireLowercaseCharacters":false,"MinimumPasswordLength":20,"MaxPasswordAge":30,"AllowUsersToChangePassword":true}"#],
    );
}

#[test]
fn an_error_is_not_a_finding() {
    let case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    for code in ["AccessDenied", "NoSuchBucket", "SlowDown", ""] {
        let error = case.observe(&[json!(code)]).unwrap_err();
        assert!(matches!(error, PlanError::Read { .. }), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refuse = |case: &Case, message: &str| {
        let error = case.remediation.subject(&case.target, NOW).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    refuse(
        &case("S3BlockPublicAccess", "AwsEc2Vpc", "vpc-1", "S3.8"),
        "`S3BlockPublicAccess` fixes `AwsS3Bucket`, but the finding is about an `AwsEc2Vpc`",
    );
    refuse(
        &case("S3BlockPublicAccess", "AwsS3Bucket", "{{ x }}", "S3.8"),
        "parameter `Bucket` cannot be `{{ x }}`: it must match `[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]`",
    );
    let mut set = case("S3BlockPublicAccess", "AwsS3Bucket", "logs", "S3.8");
    set.target
        .settings
        .insert("Bucket".to_owned(), json!("other"));
    refuse(
        &set,
        "parameter `Bucket` comes from the finding and cannot be set",
    );
    set.target.settings = serde_json::Map::from_iter([("Bukcet".to_owned(), json!("other"))]);
    refuse(&set, "`S3BlockPublicAccess` has no parameter `Bukcet`");
}

#[test]
fn a_plan_of_another_version_is_not_undone() {
    let case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let mut plan = case.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    plan.basis = "0".repeat(64);
    assert!(matches!(
        case.remediation.observe_again(&plan),
        Err(PlanError::Changed(_))
    ));
    let observed = case
        .observe(&[json!("NoSuchPublicAccessBlockConfiguration")])
        .unwrap();
    assert!(matches!(
        observed.undo(&plan, &json!({})),
        Err(PlanError::Changed(_))
    ));
}

/// A change can be taken back by every later file that looks at the resource, and changes it, in the same way;
/// and people approve what decides the requests, not the words around it.
#[test]
fn what_is_edited_beside_a_plan_leaves_it_as_it_is() {
    let catalog = Catalog::embedded();
    let file = catalog.text("S3BlockPublicAccess").unwrap();
    let read = |text: &str| {
        let (remediation, found) = stanch_catalog::parse(text);
        remediation.unwrap_or_else(|| panic!("{found:?}"))
    };
    let old = read(file);
    let check = |was: &str, is: &str, can_be_undone: bool, is_the_same: bool| {
        assert!(file.contains(was), "{was}");
        let new = read(&file.replacen(was, is, 1));
        assert_eq!(new.basis == old.basis, can_be_undone, "{was} -> {is}");
        assert_eq!(new.digest == old.digest, is_the_same, "{was} -> {is}");
    };
    for (was, is) in [
        ("remediation:", "# A comment.\nremediation:"),
        ("title: Block all", "title: Block any"),
        ("one ACL away", "an ACL away"),
        ("CloudTrail.6", "CloudTrail.60"),
        ("class: guarded", "class: safe"),
        ("Requests that relied", "All requests that relied"),
        ("accepts: [my-bucket.logs]", "accepts: [logs]"),
        ("name: website", "name: site"),
        ("title: A bucket without any", "title: A bucket without a"),
        (
            "    absent: NoSuch",
            "    on: \"arn:{{ partition }}:s3:::{{ Bucket }}\"\n    absent: NoSuch",
        ),
        (
            r#"with: {Bucket: "{{ Bucket }}", ExpectedBucketOwner: "{{ account }}"}"#,
            "with:\n      ExpectedBucketOwner: '{{ account }}'\n      Bucket: '{{ Bucket }}'",
        ),
    ] {
        check(was, is, true, true);
    }
    let refuse = "refuse:\n  - {when: \"block == `null`\", because: No.}\napply:";
    for (was, is) in [
        ("from: resource.name", "from: resource.id"),
        ("name: Restore", "name: PutBack"),
        ("apply:", refuse),
    ] {
        check(was, is, true, false);
    }
    for (was, is) in [
        ("pick: PublicAccess", "pick: Other || PublicAccess"),
        (
            "RestrictPublicBuckets: true",
            "RestrictPublicBuckets: false",
        ),
        ("not_null(block, `{}`)", "not_null(block, `{\"a\": 1}`)"),
    ] {
        check(was, is, false, false);
    }
    // The undo that a file has by now is the one that is made.
    let mut case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::logs",
        "S3.8",
    );
    let plan = case.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    let corrected = file.replacen("name: Remove", "name: TakeAway", 1);
    case.remediation = Arc::new(read(&corrected));
    let all = json!({"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true});
    let now = case.observe(&[json!({"PublicAccessBlockConfiguration": all})]);
    let undo = now.unwrap().undo(&plan, &json!({})).unwrap();
    assert_eq!(undo.steps[0].name, "TakeAway");
    assert!(case.remediation.observe_again(&plan).is_ok());
}

/// A remediation whose undo needs what a step of it answered, and has a step that answers itself.
const COPY: &str = r#"remediation: Copy
title: Copy
description: Why.
resource: AwsEc2Snapshot
controls: {config: copy}
safety: {class: guarded, impact: None., undo: exact}
parameters: {Snapshot: {from: resource.name}}
read:
  - {name: seen, call: ec2.DescribeSnapshots, with: {SnapshotIds: ["{{ Snapshot }}"]}, pick: "Snapshots[0].Encrypted"}
compliant: seen == `true`
apply:
  - name: Copy
    call: ec2.CopySnapshot
    with: {SourceSnapshotId: "{{ Snapshot }}", SourceRegion: "{{ region }}"}
    outputs: {Id: {select: $.SnapshotId}}
  - call: ec2.CreateTags
    with: {Resources: ["{{ steps.Copy.Id }}"], Tags: [{Key: from, Value: "{{ Snapshot }}"}]}
undo:
  - name: Again
    call: ec2.CopySnapshot
    with: {SourceSnapshotId: "{{ steps.Copy.Id }}", SourceRegion: "{{ region }}"}
    outputs: {Id: {select: $.SnapshotId}}
  - {call: ec2.DeleteSnapshot, with: {SnapshotId: "{{ steps.Again.Id }}"}}
examples:
  - {title: One, finding: {control: copy, resource: snap-1}}
"#;

#[test]
fn what_only_an_answer_tells_stands_as_a_placeholder() {
    let (remediation, found) = stanch_catalog::parse(COPY);
    assert_eq!(found, []);
    let mut case = case("KmsRotateKey", "AwsEc2Snapshot", "snap-1", "config:copy");
    case.remediation = Arc::new(remediation.unwrap());
    let seen = |encrypted: bool| [json!({"Snapshots": [{"Encrypted": encrypted}]})];
    let plan = case.plan(&seen(false));
    assert_eq!(
        lines(&plan),
        [
            r#"ec2.CopySnapshot {"SourceSnapshotId":"snap-1","SourceRegion":"eu-central-1"}"#,
            r#"ec2.CreateTags {"Resources":["{{ Copy.Id }}"],"Tags":[{"Key":"from","Value":"snap-1"}]}"#,
        ]
    );
    let answered = json!({"Copy": {"Id": "snap-2"}});
    let undo = case
        .observe(&seen(true))
        .unwrap()
        .undo(&plan, &answered)
        .unwrap();
    assert_eq!(
        lines(&undo),
        [
            r#"ec2.CopySnapshot {"SourceSnapshotId":"snap-2","SourceRegion":"eu-central-1"}"#,
            r#"ec2.DeleteSnapshot {"SnapshotId":"{{ Again.Id }}"}"#,
        ]
    );
    // An answer is never taken for a reference.
    let evil = json!({"Copy": {"Id": "{{ Again.Id }}"}});
    assert!(
        case.observe(&seen(true))
            .unwrap()
            .undo(&plan, &evil)
            .is_err()
    );
}

/// CloudFront reads a bucket as anybody can where it neither signs its requests nor has an identity; a bucket's
/// name is no part of another's.
#[test]
fn who_reads_a_bucket_through_cloudfront() {
    let case = case(
        "S3BlockPublicAccess",
        "AwsS3Bucket",
        "arn:aws:s3:::demo",
        "S3.8",
    );
    let plan = case.plan(&[json!("NoSuchPublicAccessBlockConfiguration")]);
    let origin = |domain: &str, control: &str, identity: Option<&str>| {
        let s3 = identity.map(|identity| json!({"OriginAccessIdentity": identity}));
        json!({"DomainName": domain, "OriginAccessControlId": control, "S3OriginConfig": s3})
    };
    let check = |origins: Vec<Value>, fact: bool| {
        let shown = format!("{origins:?}");
        let items = json!([{"Origins": {"Items": origins}}]);
        let answer = json!({"DistributionList": {"Items": items}});
        let mut impact = stanch_catalog::Impact::default();
        for question in plan.probes(&case.remediation, NOW) {
            if question.fact() == "cloudFrontOrigin" {
                impact.answer(&question, Ok(answer.clone()));
            }
        }
        assert_eq!(
            impact.facts["cloudFrontOrigin"],
            json!(fact),
            "{shown} {impact:?}"
        );
    };
    let (regional, website) = (
        "demo.s3.eu-central-1.amazonaws.com",
        "demo.s3-website.eu-central-1.amazonaws.com",
    );
    check(vec![], false);
    check(vec![origin(regional, "", Some(""))], true);
    check(vec![origin(website, "", None)], true);
    check(vec![origin(regional, "E1", Some(""))], false);
    check(
        vec![origin(
            regional,
            "",
            Some("origin-access-identity/cloudfront/E2"),
        )],
        false,
    );
    check(
        vec![origin("my-demo.s3.amazonaws.com", "", Some(""))],
        false,
    );
    check(vec![origin("demo.example.com", "", None)], false);
    check(
        vec![
            origin("other.s3.amazonaws.com", "", None),
            origin("demo.s3.amazonaws.com", "", Some("")),
        ],
        true,
    );
    let mut impact = stanch_catalog::Impact::default();
    for question in plan.probes(&case.remediation, NOW) {
        if question.fact() == "cloudFrontOrigin" {
            impact.answer(&question, Ok(json!({"DistributionList": {"Quantity": 0}})));
        }
    }
    assert_eq!(impact.facts["cloudFrontOrigin"], json!(false));
}
