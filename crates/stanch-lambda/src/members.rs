//! The member accounts, from what `MEMBER_ACCOUNTS` says, and where they stand in the organization.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Value, json};
use stanch_types::{AccountId, Arn, Call, CallError};

use crate::{Failure, organization::Organization};

/// A member account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// Its role where it is not the usual one.
    pub role: Option<String>,
    /// The path of its organizational unit, as Organizations says; none if that is not known.
    pub ou: Option<String>,
    /// Its tags; none if they are not known.
    pub tags: Option<BTreeMap<String, String>>,
}

/// Member accounts.
pub type Members = BTreeMap<AccountId, Member>;

/// What is to be known of accounts beside that they are members.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'w> {
    /// What the configuration says of accounts: that is not asked for.
    pub configured: &'w BTreeMap<AccountId, stanch_config::Member>,
    /// Listed accounts are of an organization that may be asked.
    pub places: bool,
    /// Rules go by tags.
    pub tags: bool,
}

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
        let member = Member {
            role,
            ..Member::default()
        };
        if members.insert(account, member).is_some() {
            return Err(wrong(format!("has the account of `{item}` twice")));
        }
    }
    Ok(members)
}

impl MemberList {
    /// The accounts as they are now. Where one stands may remain unknown.
    ///
    /// # Errors
    /// They cannot be looked up: then nothing is known of any account.
    pub async fn look_up(
        &self,
        organization: &mut Organization<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Members, Failure> {
        let mut members = match self {
            Self::Listed(members) => members.clone(),
            Self::Parameter(name) => {
                let call = Call::new("ssm", "GetParameter", json!({"Name": name}));
                let reply = organization.api().call(&call).await?;
                let text = reply.output.pointer("/Parameter/Value");
                listed(text.and_then(Value::as_str).unwrap_or_default())?
            }
            Self::Organization => {
                let accounts = organization.accounts().await?;
                let unplaced = accounts.keys().cloned().map(|id| (id, Member::default()));
                let mut members = unplaced.collect();
                place(&mut members, &accounts, organization, wanted).await;
                return Ok(members);
            }
        };
        if wanted.places {
            match organization.accounts().await {
                Ok(accounts) => place(&mut members, &accounts, organization, wanted).await,
                Err(error) => report(members.len(), Some(&error)),
            }
        }
        Ok(members)
    }
}

/// Asks where those of `accounts` stand that are members; for tags last, since that is a question for each.
async fn place(
    members: &mut Members,
    accounts: &BTreeMap<AccountId, Option<String>>,
    organization: &mut Organization<'_>,
    wanted: Wanted<'_>,
) {
    let configured = |id: &AccountId| wanted.configured.get(id);
    let mut unknown = 0;
    for (id, member) in members.iter_mut() {
        if configured(id).is_some_and(|known| known.ou.is_some()) {
            continue;
        }
        if let Some(path) = accounts.get(id) {
            member.ou = organization.unit(id, path.as_deref()).await;
        }
        unknown += usize::from(member.ou.is_none());
    }
    for (id, member) in members.iter_mut().filter(|_| wanted.tags) {
        if configured(id).is_some_and(|known| known.tags.is_some()) {
            continue;
        }
        if accounts.contains_key(id) {
            member.tags = organization.tags(id).await;
        }
        unknown += usize::from(member.tags.is_none());
    }
    if unknown > 0 {
        report(unknown, organization.unanswered());
    }
}

fn report(unknown: usize, error: Option<&CallError>) {
    let error = error.map(ToString::to_string).unwrap_or_default();
    tracing::warn!(unknown, error, "units or tags of accounts are not known");
}

#[cfg(test)]
mod tests {
    use stanch_models::Models;
    use stanch_testkit::{FakeApi, FakeClock};

    use super::*;
    use crate::organization::Answers;

    /// Each with its role, its unit and its tags, as far as they are known.
    fn shown(members: &Members) -> String {
        let each = members.iter().map(|(id, member)| {
            let role = member.role.as_ref().map(|role| format!("={role}"));
            let unit = member.ou.as_ref().map(|unit| format!(" in {unit}"));
            let tags = member.tags.as_ref().map(|tags| format!(" {tags:?}"));
            format!("{id}{}{}{}", or(role), or(unit), or(tags))
        });
        each.collect::<Vec<_>>().join("; ")
    }

    fn or(text: Option<String>) -> String {
        text.unwrap_or_default()
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
            Ok("222222222222=path/Fix; 333333333333"),
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

    /// An organization with one account in `root/prod`, one that is closed, and one beside the units.
    fn organization() -> FakeApi {
        FakeApi::new()
            .returns(
                "ssm.GetParameter",
                json!({"Parameter": {"Value": r#"["222222222222", "444444444444"]"#}}),
            )
            .on("organizations.ListAccounts", |call| {
                let first = json!({"Id": "111111111111", "Status": "ACTIVE",
                    "Paths": ["o-a1b2c3d4e5/r-root/111111111111/"]});
                let closed =
                    json!({"Id": "333333333333", "State": "SUSPENDED", "Status": "ACTIVE"});
                let last = json!({"Id": "222222222222", "State": "ACTIVE",
                    "Paths": ["o-a1b2c3d4e5/r-root/ou-root-prod1111/222222222222/"]});
                Ok(match call.params.get("NextToken") {
                    None => json!({"Accounts": [first, closed], "NextToken": "more"}),
                    Some(_) => json!({"Accounts": [last]}),
                })
            })
            .returns(
                "organizations.DescribeOrganizationalUnit",
                json!({"OrganizationalUnit": {"Id": "ou-root-prod1111", "Name": "prod"}}),
            )
            .on("organizations.ListTagsForResource", |call| {
                let id = call.params["ResourceId"].clone();
                Ok(json!({"Tags": [{"Key": "of", "Value": id}]}))
            })
    }

    async fn look(api: &FakeApi, list: &str, places: bool, tags: bool, file: &str) -> String {
        let (models, clock) = (Models::embedded().unwrap(), FakeClock::default());
        let mut answers = Answers::default();
        let mut organization = Organization::new(api, &models, &clock, &mut answers);
        let text = stanch_config::Text {
            path: "stanch.toml".into(),
            toml: file.to_owned(),
        };
        let resolved = stanch_config::resolve(Some(text), Vec::new()).unwrap();
        let wanted = Wanted {
            configured: &resolved.config.accounts,
            places,
            tags,
        };
        let list: MemberList = list.parse().unwrap();
        shown(&list.look_up(&mut organization, wanted).await.unwrap())
    }

    #[tokio::test]
    async fn the_list_is_looked_up_with_where_accounts_stand() {
        let api = organization();
        let (both, parameter) = ("organizations", "ssm:/Stanch/Members");
        assert_eq!(
            look(&api, both, false, false, "").await,
            "111111111111 in root; 222222222222 in root/prod"
        );
        assert_eq!(
            look(&api, both, false, true, "").await,
            r#"111111111111 in root {"of": "111111111111"}; 222222222222 in root/prod {"of": "222222222222"}"#
        );
        // Of a listed account nobody is asked where there is no organization; one that is not in it
        // stands nowhere that is known.
        let told = "222222222222; 444444444444";
        assert_eq!(look(&api, parameter, false, true, "").await, told);
        let told = "222222222222 in root/prod; 444444444444";
        assert_eq!(look(&api, parameter, true, false, "").await, told);
    }

    #[tokio::test]
    async fn what_the_configuration_says_is_not_asked_for() {
        let api = organization();
        let file = "[accounts.222222222222]\nou = \"root/other\"\ntags = {stage = \"prod\"}\n";
        let list = r#"["222222222222"]"#;
        assert_eq!(look(&api, list, true, true, file).await, "222222222222");
        let asked = api.calls();
        let is_list = |call: &Call| call.operation == "ListAccounts";
        assert!(asked.iter().all(is_list), "{asked:?}");
    }

    #[tokio::test]
    async fn who_may_not_ask_knows_the_list_alone() {
        let denied = "AccessDeniedException";
        let list = r#"["222222222222"]"#;
        let api = organization().refuses("organizations.ListAccounts", denied);
        assert_eq!(look(&api, list, true, true, "").await, "222222222222");
        let api = organization().refuses("organizations.DescribeOrganizationalUnit", denied);
        assert_eq!(
            look(&api, "organizations", true, false, "").await,
            "111111111111 in root; 222222222222"
        );
    }
}
