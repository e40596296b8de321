//! The operations that the in-memory AWS answers: those of the first remediations, and those that
//! make their resources.

use serde_json::{Map, Value, json};
use stanch_types::Call;

use super::{Refusal, View};

type Answer = Result<Value, Refusal>;

const BUCKET: &str = "s3 bucket";
const BUCKET_BLOCK: &str = "s3 block";
const BUCKET_POLICY: &str = "s3 policy";
const ACCOUNT_BLOCK: &str = "s3 account block";
const GROUP: &str = "ec2 security group";
const RULE: &str = "ec2 security group rule";
const KEY: &str = "kms key";
const DATABASE: &str = "rds instance";
const TRAIL: &str = "cloudtrail trail";
const PASSWORDS: &str = "iam password policy";

pub(super) fn answer(aws: &mut View<'_>, call: &Call) -> Answer {
    let input = &call.params;
    match (call.service.as_str(), call.operation.as_str()) {
        ("sts", "GetCallerIdentity") => Ok(json!({"Account": aws.account})),

        ("s3", "CreateBucket") => {
            let bucket = text(input, "Bucket")?;
            aws.put(BUCKET, bucket, json!({"Name": bucket}));
            Ok(json!({"Location": format!("/{bucket}")}))
        }
        ("s3", "HeadBucket") => bucket(aws, input).map(|_| json!({"BucketRegion": aws.region})),
        ("s3", "GetPublicAccessBlock") => {
            let bucket = bucket(aws, input)?;
            get(
                aws,
                BUCKET_BLOCK,
                &bucket,
                "NoSuchPublicAccessBlockConfiguration",
            )
        }
        ("s3", "PutPublicAccessBlock") => {
            let bucket = bucket(aws, input)?;
            aws.put(BUCKET_BLOCK, &bucket, block(input));
            Ok(json!({}))
        }
        ("s3", "DeletePublicAccessBlock") => {
            let bucket = bucket(aws, input)?;
            aws.remove(BUCKET_BLOCK, &bucket);
            Ok(json!({}))
        }
        ("s3", "GetBucketPolicy") => {
            let bucket = bucket(aws, input)?;
            get(aws, BUCKET_POLICY, &bucket, "NoSuchBucketPolicy")
        }
        ("s3", "GetBucketPolicyStatus") => {
            let bucket = bucket(aws, input)?;
            let policy = get(aws, BUCKET_POLICY, &bucket, "NoSuchBucketPolicy")?;
            let is_public = policy.to_string().contains(r#"\"Principal\":\"*\""#);
            Ok(json!({"PolicyStatus": {"IsPublic": is_public}}))
        }
        ("s3", "GetBucketWebsite") => {
            bucket(aws, input)?;
            Err(refused("NoSuchWebsiteConfiguration", "not a website"))
        }
        ("s3", "PutBucketPolicy") => {
            let bucket = bucket(aws, input)?;
            let policy = text(input, "Policy")?;
            if serde_json::from_str::<Map<String, Value>>(policy).is_err() {
                return Err(refused("MalformedPolicy", "not a JSON object"));
            }
            aws.put(BUCKET_POLICY, &bucket, json!({"Policy": policy}));
            Ok(json!({}))
        }
        ("s3", "DeleteBucketPolicy") => {
            let bucket = bucket(aws, input)?;
            aws.remove(BUCKET_POLICY, &bucket);
            Ok(json!({}))
        }

        ("s3control", "GetPublicAccessBlock") => {
            own_account(aws, input)?;
            get(
                aws,
                ACCOUNT_BLOCK,
                "",
                "NoSuchPublicAccessBlockConfiguration",
            )
        }
        ("s3control", "PutPublicAccessBlock") => {
            own_account(aws, input)?;
            aws.put(ACCOUNT_BLOCK, "", block(input));
            Ok(json!({}))
        }
        ("s3control", "DeletePublicAccessBlock") => {
            own_account(aws, input)?;
            aws.remove(ACCOUNT_BLOCK, "");
            Ok(json!({}))
        }

        ("ec2", "CreateSecurityGroup") => {
            let id = aws.id("sg-");
            let name = text(input, "GroupName")?;
            let vpc = input
                .get("VpcId")
                .cloned()
                .unwrap_or_else(|| json!("vpc-0"));
            let group = json!({"GroupId": id, "GroupName": name, "Description": text(input, "Description")?, "VpcId": vpc, "OwnerId": aws.account});
            aws.put(GROUP, &id, group);
            Ok(json!({"GroupId": id}))
        }
        ("ec2", "DescribeSecurityGroups") => describe_groups(aws, input),
        ("ec2", "DescribeSecurityGroupRules") => {
            let wanted = filter_values(input, "group-id");
            let rules: Vec<&Value> = aws
                .all(RULE)
                .filter(|rule| {
                    wanted
                        .as_ref()
                        .is_none_or(|ids| ids.contains(&&rule["GroupId"]))
                })
                .filter(|rule| listed(input, "SecurityGroupRuleIds", &rule["SecurityGroupRuleId"]))
                .collect();
            Ok(json!({"SecurityGroupRules": rules}))
        }
        ("ec2", "AuthorizeSecurityGroupIngress") => authorize(aws, input),
        ("ec2", "RevokeSecurityGroupIngress") => revoke(aws, input),

        ("kms", "CreateKey") => {
            let id = aws.id("key-");
            let arn = aws.arn("kms", &format!("key/{id}"));
            let key = json!({"KeyId": id, "Arn": arn, "AWSAccountId": aws.account, "Enabled": true, "KeyState": "Enabled",
                "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT", "Origin": "AWS_KMS", "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": false});
            aws.put(KEY, &id, json!({"metadata": key, "rotates": false}));
            Ok(json!({"KeyMetadata": key}))
        }
        ("kms", "DescribeKey") => Ok(json!({"KeyMetadata": key(aws, input)?["metadata"]})),
        ("kms", "GetKeyRotationStatus") => {
            let key = key(aws, input)?;
            let mut status = json!({"KeyRotationEnabled": key["rotates"], "KeyId": key["metadata"].get("KeyId")});
            if let (Some(days), Some(status)) = (key.get("days"), status.as_object_mut()) {
                status.insert("RotationPeriodInDays".to_owned(), days.clone());
            }
            Ok(status)
        }
        ("kms", "EnableKeyRotation") => {
            let days = input
                .get("RotationPeriodInDays")
                .cloned()
                .unwrap_or(json!(365));
            merge(key(aws, input)?, &json!({"rotates": true, "days": days}));
            Ok(json!({}))
        }
        ("kms", "DisableKeyRotation") => {
            let key = key(aws, input)?;
            merge(key, &json!({"rotates": false}));
            if let Some(key) = key.as_object_mut() {
                key.remove("days");
            }
            Ok(json!({}))
        }

        ("rds", "CreateDBInstance") => {
            let name = text(input, "DBInstanceIdentifier")?;
            let id = format!("db-{:0>26}", aws.id("").to_uppercase());
            let mut database = json!({"PubliclyAccessible": true, "DBInstanceStatus": "available", "DbiResourceId": id,
                "DBInstanceArn": aws.arn("rds", &format!("db:{name}")), "PendingModifiedValues": {}});
            merge(&mut database, input);
            aws.put(DATABASE, name, database.clone());
            Ok(json!({"DBInstance": database}))
        }
        ("rds", "DescribeDBInstances") => {
            match input.get("DBInstanceIdentifier").and_then(Value::as_str) {
                Some(name) => match aws.find(DATABASE, name) {
                    Some(database) => Ok(json!({"DBInstances": [database]})),
                    None => Err(refused("DBInstanceNotFound", name)),
                },
                None => Ok(json!({"DBInstances": aws.all(DATABASE).collect::<Vec<_>>()})),
            }
        }
        ("rds", "ModifyDBInstance") => {
            let name = text(input, "DBInstanceIdentifier")?;
            let database = aws
                .find_mut(DATABASE, name)
                .ok_or_else(|| refused("DBInstanceNotFound", name))?;
            let mut changes = input.clone();
            if let Some(changes) = changes.as_object_mut() {
                changes.remove("ApplyImmediately");
            }
            merge(database, &changes);
            Ok(json!({"DBInstance": database}))
        }

        ("config", "BatchGetResourceConfig") => {
            let keys = input.get("resourceKeys").and_then(Value::as_array);
            let asked = |id: &Value| {
                let mut keys = keys.into_iter().flatten();
                keys.any(|key| {
                    key.get("resourceId") == Some(id)
                        && key.get("resourceType") == Some(&json!("AWS::RDS::DBInstance"))
                })
            };
            let items: Vec<Value> = aws
                .all(DATABASE)
                .filter(|database| asked(&database["DbiResourceId"]))
                .map(|database| {
                    json!({"configurationItemStatus": "OK", "resourceType": "AWS::RDS::DBInstance",
                        "resourceId": database["DbiResourceId"], "resourceName": database["DBInstanceIdentifier"],
                        "arn": database["DBInstanceArn"]})
                })
                .collect();
            Ok(json!({"baseConfigurationItems": items, "unprocessedResourceKeys": []}))
        }

        ("cloudtrail", "CreateTrail") => {
            let name = text(input, "Name")?;
            let mut trail = json!({"TrailARN": aws.arn("cloudtrail", &format!("trail/{name}")), "HomeRegion": aws.region,
                "LogFileValidationEnabled": input.get("EnableLogFileValidation").unwrap_or(&json!(false))});
            merge(&mut trail, &trail_members(input));
            aws.put(TRAIL, name, trail.clone());
            Ok(trail)
        }
        ("cloudtrail", "GetTrail") => Ok(json!({"Trail": trail(aws, input)?})),
        ("cloudtrail", "DescribeTrails") => {
            let listed = |trail: &&Value| {
                listed(input, "trailNameList", &trail["Name"])
                    || listed(input, "trailNameList", &trail["TrailARN"])
            };
            Ok(json!({"trailList": aws.all(TRAIL).filter(listed).collect::<Vec<_>>()}))
        }
        ("cloudtrail", "UpdateTrail") => {
            let trail = trail(aws, input)?;
            if let Some(on) = input.get("EnableLogFileValidation") {
                merge(trail, &json!({"LogFileValidationEnabled": on}));
            }
            let mut members = trail_members(input);
            if let Some(members) = members.as_object_mut() {
                members.remove("Name");
            }
            merge(trail, &members);
            Ok(trail.clone())
        }

        ("iam", "GetAccountPasswordPolicy") => match aws.find(PASSWORDS, "") {
            Some(policy) => Ok(json!({"PasswordPolicy": policy})),
            None => Err(refused(
                "NoSuchEntity",
                "the account has no password policy",
            )),
        },
        ("iam", "UpdateAccountPasswordPolicy") => {
            let mut policy = json!({"MinimumPasswordLength": 6, "RequireSymbols": false, "RequireNumbers": false,
                "RequireUppercaseCharacters": false, "RequireLowercaseCharacters": false, "AllowUsersToChangePassword": false,
                "ExpirePasswords": input.get("MaxPasswordAge").is_some_and(|age| *age != json!(0))});
            merge(&mut policy, input);
            aws.put(PASSWORDS, "", policy);
            Ok(json!({}))
        }
        ("iam", "DeleteAccountPasswordPolicy") => match aws.remove(PASSWORDS, "") {
            Some(_) => Ok(json!({})),
            None => Err(refused(
                "NoSuchEntity",
                "the account has no password policy",
            )),
        },

        _ => Err(Refusal::Unknown),
    }
}

fn refused(code: &'static str, message: &str) -> Refusal {
    Refusal::Aws {
        code,
        message: message.to_owned(),
    }
}

fn text<'i>(input: &'i Value, member: &str) -> Result<&'i str, Refusal> {
    input
        .get(member)
        .and_then(Value::as_str)
        .ok_or_else(|| refused("ValidationException", &format!("`{member}` is missing")))
}

/// Sets the members of `changes` in `document`.
fn merge(document: &mut Value, changes: &Value) {
    if let (Some(document), Some(changes)) = (document.as_object_mut(), changes.as_object()) {
        document.extend(
            changes
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }
}

fn get(aws: &View<'_>, kind: &'static str, name: &str, absent: &'static str) -> Answer {
    aws.find(kind, name)
        .cloned()
        .ok_or_else(|| refused(absent, name))
}

/// The bucket that is asked for, if this account owns it.
fn bucket(aws: &View<'_>, input: &Value) -> Result<String, Refusal> {
    let name = text(input, "Bucket")?;
    if aws.find(BUCKET, name).is_some() {
        return Ok(name.to_owned());
    }
    let elsewhere = |(_, _, kind, of): &&super::Key| *kind == BUCKET && of == name;
    Err(match aws.store.resources.keys().find(elsewhere) {
        Some(_) => refused("AccessDenied", "the bucket belongs to another account"),
        None => refused("NoSuchBucket", name),
    })
}

fn own_account(aws: &View<'_>, input: &Value) -> Result<(), Refusal> {
    if text(input, "AccountId")? == aws.account {
        Ok(())
    } else {
        Err(refused("AccessDenied", "another account"))
    }
}

/// What is not named is false.
fn block(input: &Value) -> Value {
    let mut block = json!({"BlockPublicAcls": false, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false});
    if let Some(given) = input.get("PublicAccessBlockConfiguration") {
        merge(&mut block, given);
    }
    json!({"PublicAccessBlockConfiguration": block})
}

/// True if the input names no values there, or this one.
fn listed(input: &Value, member: &str, value: &Value) -> bool {
    input
        .get(member)
        .and_then(Value::as_array)
        .is_none_or(|values| values.contains(value))
}

fn filter_values<'i>(input: &'i Value, name: &str) -> Option<Vec<&'i Value>> {
    let filters = input.get("Filters")?.as_array()?;
    let filter = filters.iter().find(|filter| filter["Name"] == name)?;
    Some(filter.get("Values")?.as_array()?.iter().collect())
}

fn describe_groups(aws: &View<'_>, input: &Value) -> Answer {
    if let Some(ids) = input.get("GroupIds").and_then(Value::as_array) {
        for id in ids.iter().filter_map(Value::as_str) {
            if aws.find(GROUP, id).is_none() {
                return Err(refused("InvalidGroup.NotFound", id));
            }
        }
    }
    let groups: Vec<Value> = aws
        .all(GROUP)
        .filter(|group| listed(input, "GroupIds", &group["GroupId"]))
        .map(|group| {
            let rules = aws
                .all(RULE)
                .filter(|rule| rule["GroupId"] == group["GroupId"]);
            let mut group = group.clone();
            merge(
                &mut group,
                &json!({"IpPermissions": rules.map(permission).collect::<Vec<_>>()}),
            );
            group
        })
        .collect();
    Ok(json!({"SecurityGroups": groups}))
}

/// A rule as `DescribeSecurityGroups` shows it.
fn permission(rule: &Value) -> Value {
    json!({"IpProtocol": rule["IpProtocol"], "FromPort": rule["FromPort"], "ToPort": rule["ToPort"],
        "IpRanges": range_list(rule, "CidrIpv4", "CidrIp"), "Ipv6Ranges": range_list(rule, "CidrIpv6", "CidrIpv6"),
        "UserIdGroupPairs": [], "PrefixListIds": []})
}

fn range_list(rule: &Value, from: &str, to: &str) -> Value {
    match rule.get(from) {
        Some(cidr) => json!([{to: cidr}]),
        None => json!([]),
    }
}

/// The rules that an input's permissions stand for: one for each range.
fn wanted_rules(input: &Value) -> Vec<Value> {
    let permissions = match input.get("IpPermissions").and_then(Value::as_array) {
        Some(permissions) => permissions.clone(),
        None => {
            let mut permission = input.clone();
            merge(
                &mut permission,
                &json!({"IpRanges": [{"CidrIp": input["CidrIp"]}]}),
            );
            vec![permission]
        }
    };
    let mut rules = Vec::new();
    for permission in &permissions {
        for (ranges, member, cidr) in [
            ("IpRanges", "CidrIp", "CidrIpv4"),
            ("Ipv6Ranges", "CidrIpv6", "CidrIpv6"),
        ] {
            for range in permission
                .get(ranges)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let port = |member: &str| permission.get(member).cloned().unwrap_or(json!(-1));
                let mut rule = json!({"IpProtocol": permission["IpProtocol"], "FromPort": port("FromPort"),
                    "ToPort": port("ToPort"), "IsEgress": false, cidr: range[member]});
                if let Some(description) = range.get("Description") {
                    merge(&mut rule, &json!({"Description": description}));
                }
                rules.push(rule);
            }
        }
    }
    rules
}

fn authorize(aws: &mut View<'_>, input: &Value) -> Answer {
    let group = text(input, "GroupId")?;
    if aws.find(GROUP, group).is_none() {
        return Err(refused("InvalidGroup.NotFound", group));
    }
    let mut made = Vec::new();
    for mut rule in wanted_rules(input) {
        if aws.all(RULE).any(|old| same_rule(old, group, &rule)) {
            return Err(refused(
                "InvalidPermission.Duplicate",
                "the rule already exists",
            ));
        }
        let id = aws.id("sgr-");
        merge(
            &mut rule,
            &json!({"SecurityGroupRuleId": id, "GroupId": group, "GroupOwnerId": aws.account}),
        );
        aws.put(RULE, &id, rule.clone());
        made.push(rule);
    }
    Ok(json!({"Return": true, "SecurityGroupRules": made}))
}

fn revoke(aws: &mut View<'_>, input: &Value) -> Answer {
    let group = text(input, "GroupId")?;
    let ids: Vec<String> = match input.get("SecurityGroupRuleIds").and_then(Value::as_array) {
        Some(ids) => ids
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        None => {
            let wanted = wanted_rules(input);
            let offending = |rule: &&Value| wanted.iter().any(|want| same_rule(rule, group, want));
            let found = aws
                .all(RULE)
                .filter(offending)
                .filter_map(|rule| rule["SecurityGroupRuleId"].as_str());
            found.map(str::to_owned).collect()
        }
    };
    if ids.iter().any(|id| {
        aws.find(RULE, id)
            .is_none_or(|rule| rule["GroupId"] != group)
    }) {
        return Err(refused(
            "InvalidSecurityGroupRuleId.NotFound",
            "no such rule in this group",
        ));
    }
    if ids.is_empty() {
        return Err(refused("InvalidPermission.NotFound", "no such rule"));
    }
    for id in &ids {
        aws.remove(RULE, id);
    }
    Ok(json!({"Return": true}))
}

fn same_rule(rule: &Value, group: &str, wanted: &Value) -> bool {
    rule["GroupId"] == group
        && ["IpProtocol", "FromPort", "ToPort", "CidrIpv4", "CidrIpv6"]
            .iter()
            .all(|member| rule.get(*member) == wanted.get(*member))
}

/// A key by id or ARN.
fn key<'v>(aws: &'v mut View<'_>, input: &Value) -> Result<&'v mut Value, Refusal> {
    let given = text(input, "KeyId")?;
    let id = given.rsplit('/').next().unwrap_or(given);
    aws.find_mut(KEY, id)
        .ok_or_else(|| refused("NotFoundException", given))
}

/// A trail by name or ARN.
fn trail<'v>(aws: &'v mut View<'_>, input: &Value) -> Result<&'v mut Value, Refusal> {
    let given = text(input, "Name")?;
    let name = given.rsplit('/').next().unwrap_or(given);
    aws.find_mut(TRAIL, name)
        .ok_or_else(|| refused("TrailNotFoundException", given))
}

fn trail_members(input: &Value) -> Value {
    const SAME: [&str; 7] = [
        "Name",
        "S3BucketName",
        "S3KeyPrefix",
        "IncludeGlobalServiceEvents",
        "IsMultiRegionTrail",
        "KmsKeyId",
        "IsOrganizationTrail",
    ];
    let members = input.as_object().into_iter().flatten();
    let kept = members.filter(|(name, _)| SAME.contains(&name.as_str()));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}
