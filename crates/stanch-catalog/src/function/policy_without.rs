//! Policies without what they must not grant: the offending principals, actions or statements go,
//! every other byte stays.

use serde::Deserialize;

use super::iam::{
    Fate, Given, Policy, Principals, Statement, Without,
    pattern::matches_action,
    trust::{Narrowing, account_of, is_anyone, narrowings},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plain {
    policy: Option<Given>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct External {
    policy: Option<Given>,
    account: String,
    #[serde(default)]
    trusted: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalActions {
    policy: Option<Given>,
    account: String,
    #[serde(default)]
    trusted: Vec<String>,
    actions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BroadActions {
    policy: Option<Given>,
    actions: Vec<String>,
}

fn without(
    policy: Option<Given>,
    fate: impl FnMut(&Statement<'_>) -> Result<Fate, String>,
) -> Result<Without, String> {
    match policy {
        None => Ok(Without {
            policy: None,
            changed: false,
            removed: Vec::new(),
        }),
        Some(policy) => Policy::read(&policy.into_text())?.without(fate),
    }
}

/// Of a resource's policy: without what it grants to everybody.
pub(super) fn public(input: Plain) -> Result<Without, String> {
    without(input.policy, |statement| {
        let principals = statement.principals()?;
        if !statement.allow || !narrowings(&statement.conditions).is_empty() {
            Ok(Fate::Stays)
        } else if principals.not {
            Ok(Fate::Goes)
        } else {
            statement.without_principals(is_anyone)
        }
    })
}

/// Of a resource's policy: without what it grants to other accounts.
///
/// Everybody counts as another account, unless a condition narrows that to an organization, a
/// network or the like. Services, federated users and principals that were deleted stay.
pub(super) fn external(input: External) -> Result<Without, String> {
    let ours = Ours::new(&input.account, &input.trusted);
    without(input.policy, |statement| {
        let principals = statement.principals()?;
        let narrowed = narrowings(&statement.conditions);
        if !statement.allow || ours.are_all(&narrowed) {
            return Ok(Fate::Stays);
        }
        let is_narrowed = narrowed.iter().any(|n| n.accounts.is_none());
        if principals.not {
            return Ok(if is_narrowed { Fate::Stays } else { Fate::Goes });
        }
        ours.can_tell(principals)?;
        statement.without_principals(|kind, name| {
            if is_anyone(kind, name) {
                !is_narrowed
            } else {
                ours.is_foreign(kind, name)
            }
        })
    })
}

/// Of a resource's policy: without these actions for other accounts, whatever the conditions, unless
/// those let in the own accounts only.
///
/// An entry such as `s3:Put*` that fits one of the actions goes as a whole: what would be left of it
/// cannot be written down. A statement that serves both the own and other accounts becomes two.
pub(super) fn external_actions(input: ExternalActions) -> Result<Without, String> {
    let ours = Ours::new(&input.account, &input.trusted);
    without(input.policy, |statement| {
        let principals = statement.principals()?;
        if !statement.allow || ours.are_all(&narrowings(&statement.conditions)) {
            return Ok(Fate::Stays);
        }
        ours.can_tell(principals)?;
        let foreign = |kind: &str, name: &str| is_anyone(kind, name) || ours.is_foreign(kind, name);
        let all = principals.not || principals.names().all(|(kind, name)| foreign(kind, name));
        if statement.actions.not {
            return if leaves_out(statement, &input.actions) {
                Ok(Fate::Stays)
            } else if principals.not {
                Ok(Fate::Goes)
            } else {
                statement.without_principals(foreign)
            };
        }
        let gone = offending(statement, &input.actions);
        if all || !gone.contains(&true) {
            statement.without_actions(&gone)
        } else if gone.iter().all(|gone| *gone) {
            statement.without_principals(foreign)
        } else {
            split(statement, &gone, foreign)
        }
    })
}

/// The statement for the principals that keep everything, and behind it a copy for the others,
/// without what is gone.
fn split(
    statement: &Statement<'_>,
    gone: &[bool],
    loses: impl Fn(&str, &str) -> bool,
) -> Result<Fate, String> {
    let kept = statement.without_principals(&loses)?;
    let others = statement.without_principals(|kind, name| !loses(kind, name))?;
    let fewer = statement.without_actions(gone)?;
    match (kept, others, fewer) {
        (
            Fate::Loses(edits, mut removed),
            Fate::Loses(mut copied, _),
            Fate::Loses(actions, lost),
        ) => {
            copied.extend(actions);
            if let (Some(all), Some(lost)) = (removed.get_mut("Action"), lost.get("Action")) {
                all.clone_from(lost);
            }
            Ok(Fate::Splits(edits, removed, statement.copy(copied)?))
        }
        // Nobody loses anything.
        _ => Ok(Fate::Stays),
    }
}

/// Of an identity's policy: without what allows everything on everything, whatever the conditions.
///
/// `NotAction` on everything counts as that unless it leaves out all of IAM: who may change
/// permissions may do anything.
pub(super) fn admin(input: Plain) -> Result<Without, String> {
    without(input.policy, |statement| {
        is_of_identity(statement)?;
        let everywhere = statement
            .resources
            .as_ref()
            .is_some_and(|resources| resources.not || resources.names().any(is_everything));
        if !statement.allow || !everywhere {
            Ok(Fate::Stays)
        } else if statement.actions.not {
            let no_iam = statement
                .actions
                .names()
                .any(|pattern| is_every_action(pattern) || pattern.eq_ignore_ascii_case("iam:*"));
            Ok(if no_iam { Fate::Stays } else { Fate::Goes })
        } else {
            let gone: Vec<bool> = statement.actions.names().map(is_every_action).collect();
            statement.without_actions(&gone)
        }
    })
}

/// Of an identity's policy: without all actions of a service at once (`ec2:*`), on whatever
/// resources, and without `NotAction` over such:
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-21>.
pub(super) fn whole_services(input: Plain) -> Result<Without, String> {
    without(input.policy, |statement| {
        is_of_identity(statement)?;
        let gone: Vec<bool> = statement.actions.names().map(is_whole_service).collect();
        if !statement.allow {
            Ok(Fate::Stays)
        } else if statement.actions.not {
            Ok(if gone.contains(&true) {
                Fate::Goes
            } else {
                Fate::Stays
            })
        } else {
            statement.without_actions(&gone)
        }
    })
}

/// Of an identity's policy: without these actions on all resources of their kind, whatever the
/// conditions. What allows a whole service, or all but some actions, is an error: no narrower form of
/// it can be written down.
pub(super) fn broad_actions(input: BroadActions) -> Result<Without, String> {
    without(input.policy, |statement| {
        is_of_identity(statement)?;
        let everywhere = statement
            .resources
            .as_ref()
            .is_some_and(|resources| resources.not || resources.names().any(is_all_of_a_kind));
        if !statement.allow || !everywhere {
            return Ok(Fate::Stays);
        }
        let too_wide = |what: &str| {
            Err(format!(
                "{what} allows {} on all resources and is too wide to take that out; narrow the statement by hand",
                input.actions.join(", "),
            ))
        };
        if statement.actions.not {
            return if leaves_out(statement, &input.actions) {
                Ok(Fate::Stays)
            } else {
                too_wide("its `NotAction`")
            };
        }
        let gone = offending(statement, &input.actions);
        let mut lost = statement
            .actions
            .names()
            .zip(&gone)
            .filter(|(_, gone)| **gone);
        match lost.find(|(pattern, _)| is_whole_service(pattern)) {
            Some((pattern, _)) => too_wide(&format!("`{pattern}`")),
            None => statement.without_actions(&gone),
        }
    })
}

/// Which entries of `Action` fit one of the actions.
fn offending(statement: &Statement<'_>, actions: &[String]) -> Vec<bool> {
    let fits = |pattern: &str| actions.iter().any(|action| matches_action(pattern, action));
    statement.actions.names().map(fits).collect()
}

/// True if `NotAction` names every one of the actions.
fn leaves_out(statement: &Statement<'_>, actions: &[String]) -> bool {
    actions.iter().all(|action| {
        let mut patterns = statement.actions.names();
        patterns.any(|pattern| matches_action(pattern, action))
    })
}

fn is_of_identity(statement: &Statement<'_>) -> Result<(), String> {
    match statement.principals {
        Some(_) => Err("it names a principal, so this is not the policy of an identity".to_owned()),
        None => Ok(()),
    }
}

/// `*`, `*:*` and the like.
fn is_every_action(pattern: &str) -> bool {
    pattern.contains('*') && pattern.chars().all(|c| matches!(c, '*' | ':'))
}

/// `ec2:*`, and what is wider.
fn is_whole_service(pattern: &str) -> bool {
    let (_, actions) = pattern.split_once(':').unwrap_or(("", pattern));
    is_every_action(pattern) || is_every_action(actions)
}

/// `*`, `arn:aws:*` and the like.
fn is_everything(resource: &str) -> bool {
    let all_stars = |text: &str| text.chars().all(|c| matches!(c, '*' | ':'));
    match resource.strip_prefix("arn:") {
        Some(rest) => {
            let (partition, rest) = rest.split_once(':').unwrap_or(("", rest));
            rest.contains('*')
                && all_stars(rest)
                && (all_stars(partition) || partition.starts_with("aws"))
        }
        None => resource.contains('*') && all_stars(resource),
    }
}

/// `*`, `arn:aws:kms:*:*:*`, `arn:aws:kms:eu-west-1:111122223333:key/*` and the like.
fn is_all_of_a_kind(resource: &str) -> bool {
    is_everything(resource)
        || resource.splitn(6, ':').nth(5).is_some_and(|name| {
            let (_, name) = name.split_once('/').unwrap_or(("", name));
            name.contains('*') && name.chars().all(|c| c == '*')
        })
}

/// Whose a principal is.
struct Ours<'a> {
    account: &'a str,
    /// Account ids, and canonical ids of accounts.
    trusted: &'a [String],
}

impl<'a> Ours<'a> {
    const fn new(account: &'a str, trusted: &'a [String]) -> Self {
        Self { account, trusted }
    }

    fn has(&self, id: &str) -> bool {
        id == self.account || self.trusted.iter().any(|other| other == id)
    }

    /// True if the conditions let in these accounts only.
    fn are_all(&self, narrowed: &[Narrowing]) -> bool {
        narrowed.iter().any(|narrowing| {
            let accounts = narrowing.accounts.as_ref();
            accounts.is_some_and(|accounts| accounts.iter().all(|account| self.has(account)))
        })
    }

    /// True for a principal of another account. AWS's own (`arn:aws:iam::cloudfront:user/…`) has none.
    fn is_foreign(&self, kind: &str, name: &str) -> bool {
        let is_account = |id: &&str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
        match kind {
            "AWS" => account_of(name)
                .filter(is_account)
                .is_some_and(|id| !self.has(id)),
            "CanonicalUser" => !self.has(name),
            _ => false,
        }
    }

    /// A canonical id is not derived from the account's.
    fn can_tell(&self, principals: &Principals) -> Result<(), String> {
        let is_canonical =
            |id: &String| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let mut users = principals
            .names()
            .filter(|(kind, _)| *kind == "CanonicalUser");
        match users.next() {
            Some((_, id)) if !self.trusted.iter().any(is_canonical) => Err(format!(
                "whose the canonical user `{id}` is cannot be told: give the account's own canonical id among `trusted`"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::call;

    const OWN: &str = "111122223333";

    fn run(function: &str, policy: &str, more: &Value) -> Result<Value, String> {
        let mut input = more.clone();
        input["policy"] = json!(policy);
        call(function, &input).map_err(|error| error.to_string())
    }

    /// Statements before and after; `None` if they all go.
    fn check(function: &str, more: Value, before: &str, after: Option<&str>) {
        let policy = |statements: &str| {
            format!(r#"{{ "Version":"2012-10-17", "Statement" : {statements} ,"Id":"é \"{{}}\""}}"#)
        };
        let answer = run(function, &policy(before), &more).unwrap();
        let expected = after.map(policy);
        assert_eq!(answer["policy"], json!(expected), "{function} {before}");
        assert_eq!(answer["changed"], json!(after != Some(before)), "{before}");
        assert_eq!(
            answer["removed"].as_array().unwrap().is_empty(),
            after == Some(before)
        );
        if let Some(left) = expected {
            let again = run(function, &left, &more).unwrap();
            assert_eq!(
                again,
                json!({"policy": left, "changed": false, "removed": []})
            );
        }
    }

    #[test]
    fn public_grants_go() {
        let check = |before: &str, after: Option<&str>| {
            check("policy-without-public", json!({}), before, after);
        };
        let own = r#"{"Sid":"own","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"a:B","Resource":"*"}"#;
        let goes = [
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Resource":"*"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":["*"]},"NotAction":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":"*","Service":"*"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}}}"#,
        ];
        for statement in goes {
            check(statement, None);
            check(&format!("[{statement}]"), None);
            check(
                &format!("[ {statement} , {own}]"),
                Some(&format!("[ {own}]")),
            );
            check(
                &format!("[{own} , {statement} ]"),
                Some(&format!("[{own} ]")),
            );
        }
        let stays = [
            own,
            r#"{"Effect":"Deny","Principal":"*","Action":"a:B"}"#,
            r#"{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":["999988887777","arn:aws:iam::999988887777:root"]},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}"#,
        ];
        for statement in stays {
            check(statement, Some(statement));
        }
        check(
            r#"[{"Effect":"Allow","Principal":{"AWS":[ "*" , "111122223333" ]},"Action":"a:B"}]"#,
            Some(r#"[{"Effect":"Allow","Principal":{"AWS":[ "111122223333" ]},"Action":"a:B"}]"#),
        );
        check(
            r#"[{"Effect":"Allow","Principal":{ "AWS" : "*", "Service":"sns.amazonaws.com"},"Action":"a:B"}]"#,
            Some(
                r#"[{"Effect":"Allow","Principal":{ "Service":"sns.amazonaws.com"},"Action":"a:B"}]"#,
            ),
        );
        check("[]", Some("[]"));
        let none = call("policy-without-public", &json!({"policy": null})).unwrap();
        assert_eq!(
            none,
            json!({"policy": null, "changed": false, "removed": []})
        );
    }

    #[test]
    fn what_was_removed_is_told_as_statements() {
        let policy = r#"{"Statement":[
            {"Sid":"a","Effect":"Allow","Principal":"*","Action":"a:B"},
            {"Sid":"b","Effect":"Allow","Principal":{"AWS":["*","111122223333"],"Service":"x.amazonaws.com"},"Action":"a:B"}]}"#;
        let answer = run("policy-without-public", policy, &json!({})).unwrap();
        assert_eq!(
            answer["removed"],
            json!([
                {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "a:B"},
                {"Sid": "b", "Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": "a:B"},
            ])
        );
        // IAM's documents come as objects.
        let object: Value = serde_json::from_str(policy).unwrap();
        let same = call("policy-without-public", &json!({"policy": object})).unwrap();
        assert_eq!(same["removed"], answer["removed"]);
    }

    #[test]
    fn grants_to_other_accounts_go() {
        let check = |before: &str, after: Option<&str>| {
            let more = json!({"account": OWN, "trusted": ["444455556666"]});
            check("policy-without-external", more, before, after);
        };
        check(
            r#"{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root","arn:aws:iam::999988887777:role/x","444455556666","999988887777","AROAEXAMPLE","arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"]},"Action":"a:B"}"#,
            Some(
                r#"{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root","444455556666","AROAEXAMPLE","arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1"]},"Action":"a:B"}"#,
            ),
        );
        check(
            r#"{"Effect":"Allow","Principal":{"Service":"x.amazonaws.com","AWS":"999988887777"},"Action":"a:B"}"#,
            Some(r#"{"Effect":"Allow","Principal":{"Service":"x.amazonaws.com"},"Action":"a:B"}"#),
        );
        for goes in [
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:sts::999988887777:assumed-role/x/y"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","NotPrincipal":{"AWS":"999988887777"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEquals":{"aws:PrincipalAccount":["111122223333","999988887777"]}}}"#,
        ] {
            check(goes, None);
        }
        for stays in [
            r#"{"Effect":"Deny","Principal":{"AWS":"999988887777"},"Action":"a:B"}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}"#,
            r#"{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEquals":{"kms:CallerAccount":"111122223333"}}}"#,
            r#"{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/x"},"Action":"sts:AssumeRoleWithSAML"}"#,
        ] {
            check(stays, Some(stays));
        }
    }

    #[test]
    fn a_canonical_user_is_only_told_by_its_id() {
        let own = "a".repeat(64);
        let other = "b".repeat(64);
        let policy = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{{"CanonicalUser":["{own}","{other}"]}},"Action":"a:B"}}}}"#
        );
        let call = |trusted: Value| {
            let more = json!({"account": OWN, "trusted": trusted});
            run("policy-without-external", &policy, &more)
        };
        assert!(
            call(json!([]))
                .unwrap_err()
                .contains("statement 1: whose the canonical user")
        );
        let left = call(json!([own])).unwrap()["policy"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(left.contains(&own) && !left.contains(&other));
    }

    #[test]
    fn actions_of_other_accounts_go() {
        let check = |before: &str, after: Option<&str>| {
            let more =
                json!({"account": OWN, "actions": ["s3:PutBucketPolicy", "s3:PutObjectAcl"]});
            check("policy-without-actions", more, before, after);
        };
        let with = |principal: &str, action: &str| {
            format!(r#"{{"Sid":"x", "Effect":"Allow","Principal":{principal},"Action":{action}}}"#)
        };
        let other = r#"{"AWS":"999988887777"}"#;
        check(
            &with(other, r#"["s3:GetObject", "S3:putobjectacl", "s3:Put*"]"#),
            Some(&with(other, r#"["s3:GetObject"]"#)),
        );
        check(&with(other, r#""s3:*""#), None);
        check(&with(r#""*""#, r#"["*"]"#), None);
        for stays in [
            with(r#"{"AWS":"111122223333"}"#, r#""s3:*""#),
            with(other, r#""s3:Get*""#),
            with(r#"{"Service":"x.amazonaws.com"}"#, r#""s3:*""#),
            r#"{"Effect":"Allow","Principal":{"AWS":"999988887777"},"NotAction":"s3:Put*"}"#
                .to_owned(),
            r#"{"Effect":"Deny","Principal":"*","Action":"s3:PutBucketPolicy"}"#.to_owned(),
        ] {
            check(&stays, Some(&stays));
        }
        check(
            r#"{"Effect":"Allow","Principal":{"AWS":"999988887777"},"NotAction":"s3:Get*"}"#,
            None,
        );
        // Both the own and another account: two statements.
        let both = r#"{"AWS":["111122223333","999988887777"]}"#;
        check(
            &with(both, r#"["s3:GetObject","s3:PutObjectAcl"]"#),
            Some(
                r#"[{"Sid":"x", "Effect":"Allow","Principal":{"AWS":["111122223333"]},"Action":["s3:GetObject","s3:PutObjectAcl"]},{"Effect":"Allow","Principal":{"AWS":["999988887777"]},"Action":["s3:GetObject"]}]"#,
            ),
        );
        check(
            &format!("[ {} ]", with(both, r#""s3:*""#)),
            Some(&format!(
                "[ {} ]",
                with(r#"{"AWS":["111122223333"]}"#, r#""s3:*""#)
            )),
        );
    }

    #[test]
    fn administrators_go() {
        let check = |before: &str, after: Option<&str>| {
            check("policy-without-admin", json!({}), before, after);
        };
        for goes in [
            r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":["*:*"],"Resource":["arn:aws:s3:::x","*"]}"#,
            r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:*:*:*:*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}"#,
            r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:s3:::x"}"#,
            r#"{"Effect":"Allow","NotAction":"aws-portal:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","NotAction":[],"Resource":"*"}"#,
        ] {
            check(goes, None);
        }
        for stays in [
            r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::x"}"#,
            r#"{"Effect":"Allow","NotAction":["iam:*","organizations:*"],"Resource":"*"}"#,
        ] {
            check(stays, Some(stays));
        }
        check(
            r#"{"Effect":"Allow","Action":["*","s3:GetObject"],"Resource":"*"}"#,
            Some(r#"{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}"#),
        );
    }

    #[test]
    fn whole_services_go() {
        let check = |before: &str, after: Option<&str>| {
            check("policy-without-whole-services", json!({}), before, after);
        };
        check(
            r#"{"Effect":"Allow","Action":["ec2:*","ec2:Describe*","*","S3:**"],"Resource":"arn:aws:s3:::x"}"#,
            Some(r#"{"Effect":"Allow","Action":["ec2:Describe*"],"Resource":"arn:aws:s3:::x"}"#),
        );
        check(
            r#"{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}"#,
            None,
        );
        let stays = r#"[{"Effect":"Allow","NotAction":"s3:Get*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}]"#;
        check(stays, Some(stays));
    }

    #[test]
    fn actions_on_everything_go() {
        let more = || json!({"actions": ["kms:Decrypt", "kms:ReEncryptFrom"]});
        let check = |before: &str, after: Option<&str>| {
            check("policy-without-broad-actions", more(), before, after);
        };
        check(
            r#"{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*"],"Resource":"*"}"#,
            Some(r#"{"Effect":"Allow","Action":["kms:Encrypt"],"Resource":"*"}"#),
        );
        check(
            r#"{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:*:111122223333:key/*"}"#,
            None,
        );
        for stays in [
            r#"{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:x:111122223333:key/k"}"#,
            r#"{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}"#,
            r#"{"Effect":"Allow","NotAction":"kms:*","Resource":"*"}"#,
        ] {
            check(stays, Some(stays));
        }
        for wide in [
            r#"{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}"#,
            r#"{"Statement":{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}}"#,
        ] {
            let error = run("policy-without-broad-actions", wide, &more()).unwrap_err();
            assert!(
                error.contains("statement 1: ") && error.contains("too wide"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"Statement":1}"#,
            r#"{"Statement":[1]}"#,
            r#"{"Statement":[],"Statement":[]}"#,
            r#"{"statement":[]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":"*"}]}"#,
            r#"{"Statement":[{"Effect":"allow","Principal":"*","Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a:B","Foo":1}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":{"Aws":"*"},"Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":[1]},"Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","NotPrincipal":"*","Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Effect":"Deny","Principal":"*","Action":"a:B"}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":{"StringEquals":{"a":"b","a":"c"}}}]}"#,
            r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"a:B","Condition":"x"}]}"#,
        ] {
            assert!(
                run("policy-without-public", bad, &json!({})).is_err(),
                "{bad}"
            );
        }
        let resource =
            r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#;
        assert!(run("policy-without-admin", resource, &json!({})).is_err());
        let deep = format!(r#"{{"Statement":{}"#, "[".repeat(100_000));
        assert!(run("policy-without-public", &deep, &json!({})).is_err());
    }

    fn any_statement() -> impl Strategy<Value = Value> {
        let names = proptest::sample::subsequence(
            vec![
                "*",
                "111122223333",
                "arn:aws:iam::999988887777:root",
                "AIDAEXAMPLE",
            ],
            1..4,
        );
        let principal =
            (names, any::<bool>(), any::<bool>()).prop_map(|(names, service, single)| {
                let mut principal = if names.len() == 1 && single {
                    json!({"AWS": names[0]})
                } else {
                    json!({"AWS": names})
                };
                if service {
                    principal["Service"] = json!("sns.amazonaws.com");
                }
                if names == ["*"] && single && !service {
                    json!("*")
                } else {
                    principal
                }
            });
        let condition = prop_oneof![
            3 => Just(Value::Null),
            1 => Just(json!({"StringEquals": {"aws:PrincipalOrgID": "o-1"}})),
            1 => Just(json!({"StringLike": {"aws:PrincipalOrgID": "*"}})),
            1 => Just(json!({"StringEquals": {"aws:SourceAccount": "111122223333"}})),
            1 => Just(json!({"StringEquals": {"aws:SourceAccount": "999988887777"}})),
        ];
        let actions = proptest::sample::subsequence(
            vec!["s3:GetObject", "s3:PutObjectAcl", "s3:Put*", "s3:*", "*"],
            1..4,
        );
        let effect = prop_oneof![3 => Just("Allow"), 1 => Just("Deny")];
        let flags = (
            any::<bool>(),
            any::<bool>(),
            proptest::option::of("[A-Za-z]{1,5}"),
        );
        (effect, principal, condition, actions, flags).prop_map(
            |(effect, principal, condition, actions, (not_principal, not_action, sid))| {
                let mut statement = json!({});
                if let Some(sid) = sid {
                    statement["Sid"] = json!(sid);
                }
                statement["Effect"] = json!(effect);
                let name = if not_principal {
                    "NotPrincipal"
                } else {
                    "Principal"
                };
                statement[name] = principal;
                statement[if not_action { "NotAction" } else { "Action" }] = json!(actions);
                statement["Resource"] = json!("arn:aws:s3:::logs/*");
                if !condition.is_null() {
                    statement["Condition"] = condition;
                }
                statement
            },
        )
    }

    fn statements(policy: &Value) -> Vec<Value> {
        match policy.as_str() {
            None => Vec::new(),
            Some(text) => match serde_json::from_str::<Value>(text).unwrap()["Statement"].take() {
                Value::Array(statements) => statements,
                one => vec![one],
            },
        }
    }

    proptest! {
        #[test]
        fn only_what_offends_goes_and_it_goes_once(
            statements_before in proptest::collection::vec(any_statement(), 1..5),
            pretty in any::<bool>(),
            single in any::<bool>(),
            function in proptest::sample::select(vec![
                ("policy-without-public", json!({})),
                ("policy-without-external", json!({"account": OWN})),
                ("policy-without-actions", json!({"account": OWN, "actions": ["s3:PutObjectAcl"]})),
            ]),
        ) {
            let (name, more) = function;
            let list = match (&statements_before[..], single) {
                ([one], true) => one.clone(),
                _ => json!(statements_before),
            };
            let policy = json!({"Version": "2012-10-17", "Statement": list, "Id": "ü"});
            let text = if pretty { serde_json::to_string_pretty(&policy) } else { serde_json::to_string(&policy) };
            let text = text.unwrap();
            let answer = run(name, &text, &more).unwrap();
            let after = statements(&answer["policy"]);
            // Applying it twice is applying it once: what offends is not there any more.
            if let Some(left) = answer["policy"].as_str() {
                let again = run(name, left, &more).unwrap();
                prop_assert_eq!(&again["policy"], &answer["policy"]);
                prop_assert_eq!(&again["changed"], &json!(false));
                // Every byte that is left was there, in this order, unless a statement was split.
                if name != "policy-without-actions" {
                    let mut bytes = text.bytes();
                    prop_assert!(left.bytes().all(|byte| bytes.any(|other| other == byte)));
                }
            }
            if answer["changed"] == json!(false) {
                prop_assert_eq!(&answer["policy"], &json!(text));
            }
            // Each statement alone: untouched ones offend in nothing and stay as they are, in order.
            let mut expected = Vec::new();
            for statement in &statements_before {
                let alone = json!({"Statement": [statement]}).to_string();
                expected.extend(statements(&run(name, &alone, &more).unwrap()["policy"]));
            }
            prop_assert_eq!(after, expected);
            // What was removed offends, wholly: of it nothing would be left.
            for removed in answer["removed"].as_array().unwrap() {
                let alone = json!({"Statement": removed}).to_string();
                prop_assert_eq!(&run(name, &alone, &more).unwrap()["policy"], &Value::Null, "{}", removed);
            }
        }

        #[test]
        fn nothing_makes_them_panic(text in "\\PC{0,60}", cut in 0usize..400) {
            let whole = r#"{"Version":"2012-10-17","Statement":[{"Sid":"x","Effect":"Allow","Principal":{"AWS":["*","1"]},"Action":["s3:Get*"],"Condition":{"StringLike":{"aws:SourceArn":"arn:aws:s3:::x"}}}]}"#;
            let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
            for text in [text.clone(), format!("{}{text}", &whole[..cut])] {
                for function in ["policy-without-public", "policy-without-admin", "policy-without-whole-services"] {
                    let _ = run(function, &text, &json!({}));
                }
            }
        }
    }
}
