//! The member accounts, from what `MEMBER_ACCOUNTS` says.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Value, json};
use stanch_models::{Models, Pages};
use stanch_types::{AccountId, Api, Arn, Call};

use crate::Failure;

/// Member accounts, each with its role where it is not the usual one.
pub type Members = BTreeMap<AccountId, Option<String>>;

/// Where the list is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberList {
    /// Here: a JSON list of account ids and role ARNs.
    Listed(Members),
    /// In a parameter of Systems Manager.
    Parameter(String),
    /// All active accounts of the organization.
    Organization,
}

impl FromStr for MemberList {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.trim() {
            "organizations" => Ok(Self::Organization),
            text => match text.strip_prefix("ssm:") {
                Some(name) => Ok(Self::Parameter(name.to_owned())),
                None => listed(text).map(Self::Listed),
            },
        }
    }
}

fn listed(text: &str) -> Result<Members, Failure> {
    let wrong = |what: String| {
        Failure::configuration(format!("the list of member accounts {what}"))
            .hint("it is a JSON list of account ids and role ARNs: `[\"222222222222\"]`")
    };
    let list: Vec<String> =
        serde_json::from_str(text).map_err(|error| wrong(format!("is no such list: {error}")))?;
    let mut members = Members::new();
    for item in list {
        let (account, role) = match item.parse::<Arn>() {
            Ok(arn) => {
                let role = arn.resource.strip_prefix("role/");
                let account = arn.account.parse();
                let (Ok(account), Some(role), "iam") = (account, role, &*arn.service) else {
                    return Err(wrong(format!("has `{item}`, which is no role's ARN")));
                };
                (account, Some(role.to_owned()))
            }
            Err(_) => {
                let account = item.parse().map_err(|_| {
                    wrong(format!("has `{item}`, which is no account id and no ARN"))
                })?;
                (account, None)
            }
        };
        if members.insert(account, role).is_some() {
            return Err(wrong(format!("has the account of `{item}` twice")));
        }
    }
    Ok(members)
}

impl MemberList {
    /// The accounts as they are now.
    ///
    /// # Errors
    /// They cannot be looked up: then nothing is known of any account.
    pub async fn look_up(&self, api: &dyn Api, models: &Models) -> Result<Members, Failure> {
        match self {
            Self::Listed(members) => Ok(members.clone()),
            Self::Parameter(name) => {
                let call = Call::new("ssm", "GetParameter", json!({"Name": name}));
                let reply = api.call(&call).await?;
                let text = reply.output.pointer("/Parameter/Value");
                listed(text.and_then(Value::as_str).unwrap_or_default())
            }
            Self::Organization => organization(api, models).await,
        }
    }
}

/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Account.html>: `State` replaces
/// `Status`, which AWS retires in 2026.
async fn organization(api: &dyn Api, models: &Models) -> Result<Members, Failure> {
    let call = Call::new("organizations", "ListAccounts", json!({}));
    let mut pages = Pages::new(api, models, call)?;
    let mut members = Members::new();
    while let Some(page) = pages.next().await? {
        let accounts = page.output.get("Accounts").and_then(Value::as_array);
        for account in accounts.into_iter().flatten() {
            let state = account.get("State").or_else(|| account.get("Status"));
            let id = account.get("Id").and_then(Value::as_str);
            if state.and_then(Value::as_str) == Some("ACTIVE")
                && let Some(id) = id.and_then(|id| id.parse().ok())
            {
                members.insert(id, None);
            }
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use stanch_testkit::FakeApi;

    use super::*;

    fn shown(members: &Members) -> String {
        let each = members.iter().map(|(id, role)| match role {
            Some(role) => format!("{id}={role}"),
            None => id.to_string(),
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_list_of_ids_and_arns() {
        let check = |text: &str, expected: Result<&str, &str>| match text.parse() {
            Ok(MemberList::Listed(members)) => assert_eq!(Ok(&*shown(&members)), expected),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                let expected = expected.unwrap_err();
                assert!(error.message.contains(expected), "{error}");
            }
        };
        check("[]", Ok(""));
        check(
            r#"["333333333333", "arn:aws-cn:iam::222222222222:role/path/Fix"]"#,
            Ok("222222222222=path/Fix 333333333333"),
        );
        check(
            r#"["22222222222"]"#,
            Err("`22222222222`, which is no account id"),
        );
        check(
            r#"["arn:aws:s3:::bucket"]"#,
            Err("`arn:aws:s3:::bucket`, which is no role's ARN"),
        );
        check(
            r#"["222222222222", "arn:aws:iam::222222222222:role/Fix"]"#,
            Err("twice"),
        );
        check("222222222222", Err("is no such list"));
        check("", Err("is no such list"));
    }

    #[tokio::test]
    async fn the_list_is_looked_up() {
        let models = Models::embedded().unwrap();
        let api = FakeApi::new()
            .returns(
                "ssm.GetParameter",
                json!({"Parameter": {"Value": r#"["222222222222"]"#}}),
            )
            .on("organizations.ListAccounts", |call| {
                let first = json!({"Id": "111111111111", "Status": "ACTIVE"});
                let closed =
                    json!({"Id": "333333333333", "State": "SUSPENDED", "Status": "ACTIVE"});
                let last = json!({"Id": "222222222222", "State": "ACTIVE"});
                Ok(match call.params.get("NextToken") {
                    None => json!({"Accounts": [first, closed], "NextToken": "more"}),
                    Some(_) => json!({"Accounts": [last]}),
                })
            });
        let look = async |text: &str| {
            let list: MemberList = text.parse().unwrap();
            shown(&list.look_up(&api, &models).await.unwrap())
        };
        assert_eq!(look("ssm:/Stanch/Members").await, "222222222222");
        assert_eq!(look("organizations").await, "111111111111 222222222222");
        assert_eq!(api.calls()[0].params, json!({"Name": "/Stanch/Members"}));
    }
}
