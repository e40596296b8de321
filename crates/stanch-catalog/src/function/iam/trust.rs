//! Whom a statement lets in: what S3 and IAM Access Analyzer call public.
//!
//! A grant to everybody is not public where a condition demands a fixed value that only someone in
//! particular can have:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.

use std::net::IpAddr;

use super::Condition;

/// A condition that lets in only whom it names.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::function) struct Narrowing {
    /// The accounts of those, where their names tell.
    pub(in crate::function) accounts: Option<Vec<String>>,
}

/// What the value of a condition key is, and so which part of it must be fixed.
enum Meaning {
    /// An account id.
    Account,
    /// An ARN: its account, or the bucket where there is none.
    Arn,
    /// The id of an organization and a path within it.
    OrgPath,
    /// The id of a user or role, then `:` and the session's name, which whoever assumes it chooses.
    UserId,
    /// A name that belongs to someone.
    Name,
    /// Addresses.
    Network,
    /// `true` says that only the network of a VPC gets there.
    Flag,
}

/// Keys of which a fixed value narrows. Others are chosen by the caller (`aws:PrincipalTag`,
/// `aws:Referer`, `aws:username`), or say how and not who (`aws:SecureTransport`, `kms:ViaService`,
/// `lambda:FunctionUrlAuthType`: `AWS_IAM` is anybody with any account).
fn meaning(key: &str) -> Option<Meaning> {
    Some(match key {
        "aws:principalaccount"
        | "aws:sourceaccount"
        | "aws:sourceowner"
        | "aws:vpceaccount"
        | "kms:calleraccount"
        | "s3:dataaccesspointaccount" => Meaning::Account,
        "aws:principalarn" | "aws:sourcearn" | "aws:sourcevpcarn" | "s3:dataaccesspointarn" => {
            Meaning::Arn
        }
        "aws:principalorgpaths" | "aws:sourceorgpaths" | "aws:vpceorgpaths" => Meaning::OrgPath,
        "aws:userid" => Meaning::UserId,
        "aws:principalorgid"
        | "aws:sourceorgid"
        | "aws:vpceorgid"
        | "aws:sourcevpc"
        | "aws:sourcevpce"
        | "aws:principalservicename"
        | "aws:principalservicenameslist"
        | "s3:x-amz-server-side-encryption-aws-kms-key-id" => Meaning::Name,
        "aws:sourceip" => Meaning::Network,
        "elasticfilesystem:accessedviamounttarget" => Meaning::Flag,
        _ => return None,
    })
}

/// The conditions that let in only whom they name. All conditions must be met, so one is enough.
pub(in crate::function) fn narrowings(conditions: &[Condition]) -> Vec<Narrowing> {
    conditions.iter().filter_map(narrowing).collect()
}

fn narrowing(condition: &Condition) -> Option<Narrowing> {
    let operator = &*condition.operator;
    // One value that fits is demanded. `ForAllValues:` and `…IfExists` let in whoever has none.
    let operator = operator.strip_prefix("foranyvalue:").unwrap_or(operator);
    let meaning = meaning(&condition.key)?;
    let fits = match meaning {
        Meaning::Network => operator == "ipaddress",
        Meaning::Flag => operator == "bool",
        _ => [
            "stringequals",
            "stringequalsignorecase",
            "stringlike",
            "arnequals",
            "arnlike",
        ]
        .contains(&operator),
    };
    if !fits || condition.values.is_empty() {
        return None;
    }
    // Any of the values will do: each must be fixed.
    let mut accounts = Vec::new();
    for value in &condition.values {
        if value.contains("${") {
            return None;
        }
        accounts.push(match meaning {
            Meaning::Account => Some(fixed(value)?),
            Meaning::Arn => owner(value, operator.starts_with("arn"))?,
            Meaning::OrgPath => fixed(value.split('/').next()?).map(|_| None)?,
            Meaning::UserId => fixed(value.split(':').next()?).map(|_| None)?,
            Meaning::Name => fixed(value).map(|_| None)?,
            Meaning::Network => is_narrow(value).then_some(None)?,
            Meaning::Flag => value.eq_ignore_ascii_case("true").then_some(None)?,
        });
    }
    Some(Narrowing {
        accounts: accounts
            .into_iter()
            .map(|account| account.map(str::to_owned))
            .collect(),
    })
}

fn fixed(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains(['*', '?'])).then_some(text)
}

/// The account of an ARN pattern; none inside if it names its owner without one, as a bucket's does;
/// none at all if it fits the ARNs of anybody.
///
/// ARN operators match each part by itself; for string operators a `*` runs over colons.
fn owner(pattern: &str, by_parts: bool) -> Option<Option<&str>> {
    let parts: Vec<&str> = pattern.splitn(6, ':').collect();
    let [_, _, service, _, account, resource] = parts[..] else {
        return None;
    };
    let before: usize = parts.iter().take(5).map(|part| part.len() + 1).sum();
    let head = pattern.get(..before)?;
    if !by_parts && head.contains(['*', '?']) {
        return None;
    }
    if account.is_empty() {
        fixed(service)?;
        fixed(resource.split('/').next()?)?;
        return Some(None);
    }
    fixed(account).map(Some)
}

/// Ranges broader than /8 (IPv6: /32) count as public, as S3 has it.
fn is_narrow(range: &str) -> bool {
    let (address, length) = match range.split_once('/') {
        Some((address, length)) => (address, length.parse::<u8>().ok()),
        None => (range, Some(u8::MAX)),
    };
    match (address.parse(), length) {
        (Ok(IpAddr::V4(_)), Some(length)) => length >= 8,
        (Ok(IpAddr::V6(_)), Some(length)) => length >= 32,
        _ => false,
    }
}

/// Whether a principal is everybody, or everybody who happens to be called so.
pub(in crate::function) fn is_anyone(kind: &str, name: &str) -> bool {
    if !name.contains(['*', '?']) {
        return false;
    }
    kind != "AWS" || account_of(name).is_none_or(|account| account.contains(['*', '?']))
}

/// The account of an `AWS` principal: an ARN or a bare id; none for the unique id of a principal that
/// is deleted.
pub(in crate::function) fn account_of(name: &str) -> Option<&str> {
    if name.len() == 12 && name.bytes().all(|b| b.is_ascii_digit()) {
        return Some(name);
    }
    name.starts_with("arn:").then(|| name.split(':').nth(4))?
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::function::iam::json::Part;

    fn of(condition: &Value) -> Vec<Narrowing> {
        let text = condition.to_string();
        narrowings(&Condition::read(&Part::of(&text).unwrap()).unwrap())
    }

    #[test]
    fn fixed_values_narrow() {
        let narrow = [
            json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2"}}),
            json!({"stringequals": {"AWS:PRINCIPALORGID": ["o-a1b2", "o-c3"]}}),
            json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-a1b2/r-ab12/*"}}),
            json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32", "10.0.0.0/8", "198.51.100.7"]}}),
            json!({"StringEquals": {"aws:SourceVpce": "vpce-1"}, "Bool": {"aws:SecureTransport": "true"}}),
            json!({"StringLike": {"aws:userid": "AROAEXAMPLE:*"}}),
            json!({"StringEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:x:1:key/k"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::logs"}}),
            json!({"Bool": {"elasticfilesystem:AccessedViaMountTarget": true}}),
        ];
        for condition in narrow {
            assert_eq!(
                of(&condition),
                [Narrowing { accounts: None }],
                "{condition}"
            );
        }
        let accounts = [
            json!({"StringEquals": {"aws:SourceAccount": "111122223333"}}),
            json!({"StringEquals": {"kms:CallerAccount": "111122223333", "kms:ViaService": "s3.x.amazonaws.com"}}),
            json!({"ArnLike": {"aws:PrincipalArn": "arn:*:iam::111122223333:role/*"}}),
            json!({"StringLike": {"aws:SourceArn": "arn:aws:sns:eu-west-1:111122223333:*"}}),
        ];
        for condition in accounts {
            let accounts = Some(vec!["111122223333".to_owned()]);
            assert_eq!(of(&condition), [Narrowing { accounts }], "{condition}");
        }
    }

    #[test]
    fn all_else_does_not() {
        let wide = [
            json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
            json!({"StringEquals": {"aws:PrincipalOrgID": ["o-a1", "*"]}}),
            json!({"StringEquals": {"aws:PrincipalOrgID": []}}),
            json!({"StringEqualsIfExists": {"aws:SourceVpce": "vpce-1"}}),
            json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-a/r-b"}}),
            json!({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}),
            json!({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
            json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
            json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "::/0"]}}),
            json!({"IpAddress": {"aws:SourceIp": ["128.0.0.0/1"]}}),
            json!({"IpAddress": {"aws:SourceIp": "2000::/3"}}),
            json!({"StringLike": {"aws:SourceIp": "203.0.113.*"}}),
            json!({"IpAddress": {"aws:VpcSourceIp": "10.0.0.0/8"}}),
            json!({"StringEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}}),
            json!({"StringLike": {"aws:userid": "*:session"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}),
            json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:topic"}}),
            // A `*` of a string operator runs over the account.
            json!({"StringLike": {"aws:SourceArn": "arn:aws:sns:*:111122223333:topic"}}),
            json!({"StringEquals": {"aws:PrincipalTag/team": "red"}}),
            json!({"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}),
            json!({"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}),
            json!({"Bool": {"aws:SecureTransport": "true"}}),
            json!({"Bool": {"elasticfilesystem:AccessedViaMountTarget": "false"}}),
            json!({"Null": {"aws:SourceVpc": "false"}}),
            json!({}),
        ];
        for condition in wide {
            assert_eq!(of(&condition), [], "{condition}");
        }
    }

    #[test]
    fn principals() {
        for (kind, name, expected) in [
            ("AWS", "*", true),
            ("Service", "*", true),
            ("AWS", "arn:aws:iam::*:root", true),
            ("AWS", "arn:aws:iam::111122223333:role/*", false),
            ("AWS", "111122223333", false),
            ("CanonicalUser", "79a59d", false),
        ] {
            assert_eq!(is_anyone(kind, name), expected, "{kind} {name}");
        }
    }
}
