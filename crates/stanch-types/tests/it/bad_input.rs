//! What strangers send: each gives one clear error and a hint, and takes nothing else with it.

use serde_json::{Value, json};
use stanch_types::{
    CallError, CallErrorKind, Finding, Incoming, Payload, Reply, Route,
    event::{self, Options, Unnamed},
    json::{Limits, read},
};

const FINDING: &str = include_str!("../fixtures/32-resources.json");

fn finding() -> Value {
    serde_json::from_str(FINDING).unwrap()
}

/// Asserts that `bytes` give just one error, with this reason and a hint, and are kept as they came.
fn check(bytes: &[u8], reason: &str) {
    let read = event::read(bytes, &Options::default());
    let [Incoming::Unreadable { problem, payload }] = read.as_slice() else {
        panic!("{read:?} instead of `{reason}`");
    };
    assert_eq!(problem.reason, reason);
    assert!(!problem.hint.is_empty() && !problem.hint.contains('\n'));
    assert!(!problem.reason.contains('\n'));
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        assert_eq!(
            serde_json::from_slice::<Value>(payload.as_bytes()).unwrap(),
            value
        );
    } else {
        assert_eq!(payload.as_bytes(), bytes);
    }
}

/// Asserts what is said about the finding after `change`.
fn check_finding(change: impl FnOnce(&mut Value), reason: &str) {
    let mut finding = finding();
    change(&mut finding);
    check(finding.to_string().as_bytes(), reason);
}

#[test]
fn what_is_no_json() {
    check(b"", "the input is empty");
    check(b" \n\t", "the input is empty");
    check(b"{\"a\": 1", "the JSON is cut off at line 1, column 7");
    check(b"{\"a\": \"\xff\"}", "byte 7 is not UTF-8");
    check(b"\x1f\x8b\x08\x00", "byte 1 is not UTF-8");
    check(
        b"hello",
        "the input is not JSON: expected value at line 1 column 1",
    );
    check(
        b"{} x",
        "the input is not JSON: trailing characters at line 1 column 4",
    );
    check(
        b"{\"a\": 1e999}",
        "the input is not JSON: number out of range at line 1 column 11",
    );
    check(
        b"{\"a\": NaN}",
        "the input is not JSON: expected value at line 1 column 7",
    );
    check(
        b"{\"a\": {\"Id\": 1,\n \"b\": 2, \"Id\": 1}}",
        "the key `Id` appears twice in one object at line 2, column 13",
    );
    check(
        br#"{"Id": 1, "\u0049d": 2}"#,
        "the key `Id` appears twice in one object at line 1, column 19",
    );
}

#[test]
fn truncation_at_every_byte_is_noticed() {
    let text = finding().to_string();
    for end in (1..text.len()).step_by(7) {
        let read = event::read(&text.as_bytes()[..end], &Options::default());
        let [Incoming::Unreadable { problem, .. }] = read.as_slice() else {
            panic!("{read:?}");
        };
        assert!(
            problem.reason.starts_with("the JSON is cut off"),
            "{problem}"
        );
    }
}

#[test]
fn sizes_and_depths() {
    let large = vec![b' '; 10_000_000];
    check(
        &large,
        "the input has 10000000 bytes, the limit is 10000000",
    );
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    check(
        deep.as_bytes(),
        "the JSON is nested deeper than 64 levels at line 1, column 65",
    );
    let bottomless = "[".repeat(1_000_000);
    check(
        bottomless.as_bytes(),
        "the JSON is nested deeper than 64 levels at line 1, column 65",
    );
    let objects = "{\"a\":".repeat(100_000);
    check(
        objects.as_bytes(),
        "the JSON is nested deeper than 64 levels at line 1, column 321",
    );
    let higher = Limits {
        depth: 1000,
        ..Limits::default()
    };
    let error = read("[".repeat(1000).as_bytes(), &higher).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the JSON is nested deeper than 127 levels"),
        "{error}"
    );
    let at_most = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert!(read(at_most.as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn what_is_no_event() {
    check(b"null", "null is no event");
    check(b"17", "a number is no event");
    check(
        b"{}",
        "an empty object is no event or finding that Stanch reads",
    );
    check(
        br#"{"hello": 1, "world": 2}"#,
        "an object with `hello`, `world` is no event or finding that Stanch reads",
    );
    check(
        br#"{"detail-type": "EC2 Instance State-change Notification", "detail": {}}"#,
        "`EC2 Instance State-change Notification` events carry no finding that Stanch reads",
    );
    check(
        br#"{"detail-type": "Security Hub Findings - Imported", "detail": {}}"#,
        "the `Security Hub Findings - Imported` event has no `detail.findings`",
    );
    check(
        br#"{"detail-type": "Security Hub Findings - Imported", "detail": "x"}"#,
        "the `Security Hub Findings - Imported` event has no `detail` object",
    );
    check(
        br#"{"detail-type": "Security Hub Findings - Custom Action", "detail": {"findings": []}}"#,
        "`detail.actionName` is missing",
    );
    assert_eq!(event::read(b"[]", &Options::default()), []);
    assert_eq!(event::read(br#"{"Records": []}"#, &Options::default()), []);
}

/// Config names a few things by an id that no call takes: read as a name, the resource would seem gone.
#[test]
fn ids_of_config_that_are_no_names() {
    for (kind, id) in [
        ("AWS::IAM::User", "AIDACKCEVSQ6C2EXAMPLE"),
        ("AWS::IAM::Role", "AROADBQP57FF2AEXAMPLE"),
        ("AWS::IAM::Group", "AGPACKCEVSQ6C2EXAMPLE"),
        ("AWS::IAM::Policy", "ANPACKCEVSQ6C2EXAMPLE"),
        ("AWS::RDS::DBInstance", "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        ("AWS::RDS::DBCluster", "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ] {
        let unnamed = Unnamed::of(&change(kind, id).0).unwrap();
        let question = unnamed.question();
        assert_eq!(question.to_string(), "config.BatchGetResourceConfig");
        assert_eq!(
            question.params,
            json!({"resourceKeys": [{"resourceType": kind, "resourceId": id}]})
        );
    }
    for (kind, id) in [
        ("AWS::IAM::User", "AIDA"),
        ("AWS::IAM::User", "aida-of-the-shop-in-town"),
        ("AWS::RDS::DBInstance", "db-of-the-shop-in-town"),
        ("AWS::EC2::Instance", "i-0123456789abcdef0"),
    ] {
        assert_eq!(Unnamed::of(&change(kind, id).0), None, "{kind} {id}");
    }
}

#[test]
fn answers_of_config_that_give_no_name() {
    const ID: &str = "AIDACKCEVSQ6C2EXAMPLE";
    let read = |answer: Result<Reply, CallError>| {
        let (finding, route) = change("AWS::IAM::User", ID);
        Unnamed::of(&finding).unwrap().named(finding, route, answer)
    };
    let answered = |items: Value| {
        read(Ok(Reply {
            output: json!({"baseConfigurationItems": items, "unprocessedResourceKeys": []}),
            request_id: None,
        }))
    };
    let item = |members: Value| {
        let mut item = json!({"resourceType": "AWS::IAM::User", "resourceId": ID, "resourceName": "alice",
            "arn": "arn:aws:iam::111122223333:user/sales/alice", "configurationItemStatus": "OK"});
        let Value::Object(members) = members else {
            panic!("members")
        };
        item.as_object_mut().unwrap().extend(members);
        json!([item])
    };

    let Incoming::Accepted { finding, .. } = answered(item(json!({}))) else {
        panic!("it has its name");
    };
    let [resource] = finding.resources.as_slice() else {
        panic!("{finding:?}");
    };
    assert_eq!(resource.id, "arn:aws:iam::111122223333:user/sales/alice");
    assert_eq!(resource.name, "alice");
    assert_eq!(resource.resource_type, "AwsIamUser");
    assert!(
        finding.title.starts_with("`arn:aws:iam::"),
        "{}",
        finding.title
    );
    assert_eq!(Unnamed::of(&finding), None);

    let call = Unnamed::of(&change("AWS::IAM::User", ID).0)
        .unwrap()
        .question();
    let denied = CallError::new(CallErrorKind::Denied, &call, "no");
    for (incoming, says) in [
        (answered(json!([])), "AWS Config knows no such resource"),
        (
            answered(item(json!({"resourceId": "AIDAOFSOMEBODYELSE123"}))),
            "AWS Config knows no such resource",
        ),
        (
            answered(item(json!({"arn": "alice"}))),
            "AWS Config's `arn` of it is `alice`",
        ),
        (
            answered(item(json!({"arn": 7}))),
            "AWS Config's `arn` of it is ``",
        ),
        (
            answered(item(json!({"arn": "arn:aws:iam::444455556666:user/alice"}))),
            "belongs to account 444455556666",
        ),
        (
            read(Ok(Reply::default())),
            "AWS Config knows no such resource",
        ),
        (
            read(Err(denied)),
            "AWS Config cannot be asked for it: config.BatchGetResourceConfig: no",
        ),
    ] {
        let Incoming::Unreadable { problem, payload } = incoming else {
            panic!("{says}: {incoming:?}");
        };
        assert!(problem.reason.contains(says), "{}", problem.reason);
        // It can be delivered again.
        let again = event::read(payload.as_bytes(), &Options::default());
        let [Incoming::Accepted { finding, .. }] = again.as_slice() else {
            panic!("{again:?}");
        };
        assert!(Unnamed::of(finding).is_some());
    }
}

/// What Config says about a resource that is not compliant.
fn change(kind: &str, id: &str) -> (Box<Finding>, Route) {
    let change = json!({
        "messageType": "ComplianceChangeNotification", "configRuleName": "a-rule", "awsAccountId": "111122223333",
        "awsRegion": "eu-central-1", "resourceType": kind, "resourceId": id,
        "newEvaluationResult": {"complianceType": "NON_COMPLIANT", "resultRecordedTime": "2026-03-02T20:00:00Z"},
    });
    match event::read(change.to_string().as_bytes(), &Options::default()).pop() {
        Some(Incoming::Accepted { finding, route }) => (finding, route),
        other => panic!("{kind} {id}: {other:?}"),
    }
}

#[test]
fn wrapping_without_end() {
    let mut text = finding().to_string();
    for _ in 0..9 {
        text = json!([serde_json::from_str::<Value>(&text).unwrap()]).to_string();
    }
    let read = event::read(text.as_bytes(), &Options::default());
    let [Incoming::Unreadable { problem, .. }] = read.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(problem.reason, "the event is wrapped more than 8 times");
}

#[test]
fn members_missing_or_of_the_wrong_type() {
    for name in ["Id", "AwsAccountId", "Resources"] {
        let reason = format!("`{name}` is missing");
        check_finding(|f| drop(f.as_object_mut().unwrap().remove(name)), &reason);
        check_finding(|f| f[name] = Value::Null, &reason);
    }
    check_finding(|f| f["Id"] = "".into(), "`Id` is missing");
    check_finding(|f| f["Id"] = 1.into(), "`Id` must be a string, is a number");
    check_finding(
        |f| f["Id"] = "a\nb".into(),
        "in `Id`: `a b` is not a finding id (1 to 2048 bytes, no control characters)",
    );
    check_finding(
        |f| f["AwsAccountId"] = 111_122_223_333_u64.into(),
        "`AwsAccountId` must be a string, is a number",
    );
    check_finding(
        |f| f["AwsAccountId"] = "1".into(),
        "in `AwsAccountId`: `1` is not an AWS account id (12 digits)",
    );
    check_finding(
        |f| f["Region"] = "../etc".into(),
        "in `Region`: `../etc` is not an AWS region code (such as `eu-central-1`)",
    );
    check_finding(
        |f| drop(f.as_object_mut().unwrap().remove("Region")),
        "`Region` is missing",
    );
    check_finding(|f| f["Resources"] = json!([]), "`Resources` is missing");
    check_finding(
        |f| f["Resources"] = json!({}),
        "`Resources` must be an array, is an object",
    );
    check_finding(
        |f| f["Resources"][3] = json!("x"),
        "`Resources[3]` must be an object, is a string",
    );
    check_finding(
        |f| f["Resources"][31]["Id"] = json!(null),
        "`Resources[31].Id` is missing",
    );
    check_finding(
        |f| f["Resources"] = json!([{"Type": "AwsS3Bucket", "Id": "b\u{1b}[2J"}]),
        "resource `b [2J` has control characters in its id",
    );
    check_finding(
        |f| f["Resources"][0]["Tags"] = json!([1]),
        "`Resources[0].Tags` must be an object, is an array",
    );
    check_finding(
        |f| f["Severity"] = "HIGH".into(),
        "`Severity` must be an object, is a string",
    );
    check_finding(
        |f| f["Severity"]["Label"] = "SO-SO".into(),
        "`Severity.Label` is `SO-SO`",
    );
    check_finding(
        |f| f["Compliance"]["Status"] = false.into(),
        "`Compliance.Status` must be a string, is a boolean",
    );
    check_finding(
        |f| f["Workflow"]["Status"] = "DONE".into(),
        "`Workflow.Status` is `DONE`",
    );
    check_finding(
        |f| f["RecordState"] = "GONE".into(),
        "`RecordState` is `GONE`",
    );
    check_finding(
        |f| f["UpdatedAt"] = "yesterday".into(),
        "`UpdatedAt` is `yesterday`, not a time",
    );
    check_finding(
        |f| f["Types"] = json!(["a", 1]),
        "`Types` must be an array of strings, is a number",
    );
    check_finding(
        |f| {
            for at in ["UpdatedAt", "LastObservedAt", "CreatedAt"] {
                f.as_object_mut().unwrap().remove(at);
            }
        },
        "`UpdatedAt` is missing",
    );
}

#[test]
fn a_bad_finding_leaves_its_neighbours_alone() {
    let (good, mut bad) = (finding(), finding());
    bad["AwsAccountId"] = json!(null);
    let event = json!({
        "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub",
        "detail": {"findings": [good, bad, 7, good]},
    });
    let read = event::read(event.to_string().as_bytes(), &Options::default());
    let kinds: Vec<_> = read.iter().map(std::mem::discriminant).collect();
    assert_eq!(read.len(), 4);
    assert!(matches!(read[0], Incoming::Accepted { .. }));
    assert!(matches!(read[1], Incoming::Unreadable { .. }));
    assert_eq!((kinds[2], kinds[3]), (kinds[1], kinds[0]));
}

#[test]
fn a_broken_list_is_not_taken_for_lines() {
    let finding = finding().to_string();
    for broken in [
        format!("[\n{finding},\n{finding}"),
        format!("{{\"Findings\": [\n{finding},\n{finding}\n"),
        format!("[\n{finding},\n{{oops}},\n{finding}\n]"),
    ] {
        let read = event::read(broken.as_bytes(), &Options::default());
        assert!(
            matches!(read.as_slice(), [Incoming::Unreadable { .. }]),
            "{}",
            read.len()
        );
    }
}

#[test]
fn the_same_delivery_has_the_same_generation_and_a_new_observation_another() {
    let generation = |finding: &Value| {
        let read = event::read(finding.to_string().as_bytes(), &Options::default());
        match read.as_slice() {
            [Incoming::Accepted { finding, .. }] => finding.generation,
            other => panic!("{other:?}"),
        }
    };
    let (first, mut noted, mut again) = (finding(), finding(), finding());
    // What BatchUpdateFindings changes when we tell Security Hub of a fix.
    noted["Workflow"]["Status"] = "NOTIFIED".into();
    noted["ProcessedAt"] = "2026-04-01T00:00:00Z".into();
    noted["Note"] = json!({"Text": "fixed by Stanch"});
    again["UpdatedAt"] = "2026-04-01T00:00:00Z".into();
    assert_eq!(generation(&first), generation(&noted));
    assert_ne!(generation(&first), generation(&again));
    // The same moment in another notation.
    again["UpdatedAt"] = "2026-03-02T21:00:01.500+01:00".into();
    assert_eq!(generation(&first), generation(&again));
}

#[test]
fn payloads_come_back_as_they_were() {
    for bytes in [
        b"{\"a\": 1}".as_slice(),
        b"",
        b"\xff\x00\xfe",
        b"data:application/octet-stream;base64,AAEC",
        b"data:application/octet-stream;base64,not base64",
        "schön".as_bytes(),
    ] {
        let payload = Payload::from(bytes.to_vec());
        let stored = serde_json::to_string(&payload).unwrap();
        assert_eq!(serde_json::from_str::<Payload>(&stored).unwrap(), payload);
        assert_eq!(
            payload.to_string().parse::<Payload>().unwrap().as_bytes(),
            bytes
        );
    }
    assert_eq!(Payload::from(b"{}".to_vec()).to_string(), "{}");
}
