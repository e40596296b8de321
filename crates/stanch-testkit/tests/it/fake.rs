use std::sync::Arc;

use serde_json::{Value, json};
use stanch_testkit::{Aim, FakeAws, Fault, Tap};
use stanch_types::{Access, Api, Call, CallErrorKind, Scope, Sessions};

async fn output(
    api: &dyn Api,
    service: &str,
    operation: &str,
    params: Value,
) -> Result<Value, String> {
    let reply = api.call(&Call::new(service, operation, params)).await;
    reply.map(|reply| reply.output).map_err(|error| error.code)
}

fn scope(account: &str, access: Access) -> Scope {
    Scope {
        account: account.parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        session_name: "test".to_owned(),
        access,
    }
}

#[tokio::test]
async fn a_security_group_loses_one_rule_and_keeps_the_rest() {
    let aws = FakeAws::new(&["222222222222".parse().unwrap()]);
    let api = aws
        .open(&scope("222222222222", Access::Policy("{}".to_owned())))
        .await
        .unwrap();
    let ec2 = async |operation: &str, params| output(&*api, "ec2", operation, params).await;

    let group = ec2(
        "CreateSecurityGroup",
        json!({"GroupName": "web", "Description": "d"}),
    )
    .await
    .unwrap();
    let id = &group["GroupId"];
    let ingress = json!({"GroupId": id, "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}, {"CidrIp": "10.0.0.0/8"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}]});
    let made = ec2("AuthorizeSecurityGroupIngress", ingress.clone())
        .await
        .unwrap();
    assert_eq!(made["SecurityGroupRules"].as_array().unwrap().len(), 3);
    assert_eq!(
        ec2("AuthorizeSecurityGroupIngress", ingress).await,
        Err("InvalidPermission.Duplicate".to_owned())
    );

    let open = &made["SecurityGroupRules"][0]["SecurityGroupRuleId"];
    ec2(
        "RevokeSecurityGroupIngress",
        json!({"GroupId": id, "SecurityGroupRuleIds": [open]}),
    )
    .await
    .unwrap();
    let filter = json!({"Filters": [{"Name": "group-id", "Values": [id]}]});
    let left = ec2("DescribeSecurityGroupRules", filter).await.unwrap();
    let ranges: Vec<&Value> = left["SecurityGroupRules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule.get("CidrIpv4").or(rule.get("CidrIpv6")).unwrap())
        .collect();
    assert_eq!(ranges, ["10.0.0.0/8", "::/0"]);
    let groups = ec2("DescribeSecurityGroups", json!({"GroupIds": [id]}))
        .await
        .unwrap();
    assert_eq!(
        groups["SecurityGroups"][0]["IpPermissions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let aws = FakeAws::new(&[
        "222222222222".parse().unwrap(),
        "333333333333".parse().unwrap(),
    ]);
    let region = "us-east-1".parse().unwrap();
    let (mine, theirs) = (
        aws.account(&"222222222222".parse().unwrap(), &region),
        aws.account(&"333333333333".parse().unwrap(), &region),
    );
    output(&*mine, "s3", "CreateBucket", json!({"Bucket": "b"}))
        .await
        .unwrap();
    let get = json!({"Bucket": "b"});
    assert_eq!(
        output(&*mine, "s3", "GetPublicAccessBlock", get.clone()).await,
        Err("NoSuchPublicAccessBlockConfiguration".to_owned())
    );
    assert_eq!(
        output(&*theirs, "s3", "GetPublicAccessBlock", get).await,
        Err("AccessDenied".to_owned())
    );
    let stranger = aws
        .open(&scope("444444444444", Access::Read("{}".to_owned())))
        .await;
    assert_eq!(stranger.err().unwrap().kind, CallErrorKind::Credentials);
}

#[tokio::test]
async fn faults_hit_what_they_aim_at() {
    let aws = FakeAws::new(&["222222222222".parse().unwrap()]);
    let tap = Tap::new(Arc::new(aws));
    let api = tap
        .open(&scope("222222222222", Access::Policy("{}".to_owned())))
        .await
        .unwrap();
    let call = async |operation: &str, params| {
        api.call(&Call::new("s3", operation, params))
            .await
            .map_err(|e| e.kind)
    };
    call("CreateBucket", json!({"Bucket": "b"})).await.unwrap();

    // Lost: the policy is there although the caller was told otherwise.
    tap.inject(Aim::at_write(), Fault::LoseAnswer(CallErrorKind::Server));
    let put = json!({"Bucket": "b", "Policy": "{}"});
    assert_eq!(
        call("PutBucketPolicy", put).await,
        Err(CallErrorKind::Server)
    );
    assert!(
        call("GetBucketPolicy", json!({"Bucket": "b"}))
            .await
            .is_ok()
    );

    // Refused: no effect, at the second call only.
    let refusal = Fault::Refuse {
        kind: CallErrorKind::Throttled,
        code: "SlowDown",
    };
    tap.inject(Aim::at("s3.DeleteBucketPolicy").after(1), refusal);
    assert!(
        call("DeleteBucketPolicy", json!({"Bucket": "b"}))
            .await
            .is_ok()
    );
    assert_eq!(
        call("DeleteBucketPolicy", json!({"Bucket": "b"})).await,
        Err(CallErrorKind::Throttled)
    );
    assert!(
        call("DeleteBucketPolicy", json!({"Bucket": "b"}))
            .await
            .is_ok()
    );

    let outcomes: Vec<_> = tap
        .seen()
        .into_iter()
        .filter_map(|seen| seen.error)
        .collect();
    assert_eq!(outcomes, [CallErrorKind::Server, CallErrorKind::Throttled]);
    assert_eq!(tap.writes().len(), 5);
}

#[tokio::test]
async fn a_reading_session_writes_nothing() {
    let aws = FakeAws::new(&["222222222222".parse().unwrap()]);
    let api = aws
        .open(&scope("222222222222", Access::Read("{}".to_owned())))
        .await
        .unwrap();
    assert_eq!(
        output(&*api, "s3", "CreateBucket", json!({"Bucket": "b"})).await,
        Err("AccessDenied".to_owned())
    );
    assert_eq!(
        output(&*api, "s3", "HeadBucket", json!({"Bucket": "b"})).await,
        Err("NoSuchBucket".to_owned())
    );
}
