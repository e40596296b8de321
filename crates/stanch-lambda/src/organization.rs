//! Where accounts stand in AWS Organizations, and their tags.
//!
//! Whoever asks Organizations for anything of an organization shares its rate, and each instance of each
//! function asks. So what is asked for one account or unit is kept for an hour, and asked one after the
//! other.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use stanch_models::{Models, Pages};
use stanch_types::{AccountId, Api, Call, CallError, CallErrorKind, Clock};

/// How long an answer counts before it is asked for again.
const FRESH: Duration = Duration::from_hours(1);

/// How long it counts if there is no newer one.
const USABLE: Duration = Duration::from_hours(2);

/// How long one look-up asks. What it leaves, the next one asks for.
const LONGEST: Duration = Duration::from_mins(1);

/// More levels than there are below a root, which are five:
/// <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html>.
const DEEPEST: usize = 10;

/// What Organizations has answered, by the operation and what was asked about, and when.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<(&'static str, String), (Duration, Value)>);

/// Organizations, as one look-up asks it. Nothing but the accounts themselves has to be answered.
pub struct Organization<'o> {
    api: &'o dyn Api,
    models: &'o Models,
    clock: &'o dyn Clock,
    answers: &'o mut Answers,
    until: Duration,
    unanswered: Option<CallError>,
}

impl<'o> Organization<'o> {
    /// Organizations behind `api`; what it answers is kept in `answers`.
    #[must_use]
    pub fn new(
        api: &'o dyn Api,
        models: &'o Models,
        clock: &'o dyn Clock,
        answers: &'o mut Answers,
    ) -> Self {
        let now = clock.monotonic();
        let is_usable = |since: Duration| now.saturating_sub(since) < USABLE;
        answers.0.retain(|_, (since, _)| is_usable(*since));
        Self {
            api,
            models,
            clock,
            answers,
            until: now + LONGEST,
            unanswered: None,
        }
    }

    /// AWS, as it is asked.
    #[must_use]
    pub const fn api(&self) -> &'o dyn Api {
        self.api
    }

    /// The first question that nobody answered, and why.
    #[must_use]
    pub const fn unanswered(&self) -> Option<&CallError> {
        self.unanswered.as_ref()
    }

    /// The active accounts, each with its path of ids where Organizations tells it.
    ///
    /// `State` replaces `Status`, which AWS retires in 2026:
    /// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Account.html>.
    ///
    /// # Errors
    /// They are not told.
    pub async fn accounts(&self) -> Result<BTreeMap<AccountId, Option<String>>, CallError> {
        let call = Call::new("organizations", "ListAccounts", json!({}));
        let mut pages = Pages::new(self.api, self.models, call)?;
        let mut active = BTreeMap::new();
        while let Some(page) = pages.next().await? {
            let accounts = page.output.get("Accounts").and_then(Value::as_array);
            for account in accounts.into_iter().flatten() {
                let state = account.get("State").or_else(|| account.get("Status"));
                let id = account.get("Id").and_then(Value::as_str);
                if state.and_then(Value::as_str) == Some("ACTIVE")
                    && let Some(id) = id.and_then(|id| id.parse().ok())
                {
                    active.insert(id, only_path(account));
                }
            }
        }
        Ok(active)
    }

    /// The path of the unit that an account is in, by names: `root/prod/payments`, or `root` if it is in
    /// none. None if that is not known.
    pub async fn unit(&mut self, account: &AccountId, path: Option<&str>) -> Option<String> {
        let units = match path.and_then(|path| units_on(path, account)) {
            Some(units) => units,
            None => self.units_above(account).await?,
        };
        let mut names = "root".to_owned();
        for unit in units {
            let (operation, member) = ("DescribeOrganizationalUnit", "OrganizationalUnitId");
            let described = self.ask(operation, member, &unit).await?;
            let name = described.pointer("/OrganizationalUnit/Name");
            // With a slash in it, it would be taken for two.
            let is_name = |name: &&str| !name.is_empty() && !name.contains('/');
            let name = name.and_then(Value::as_str).filter(is_name)?;
            names.push('/');
            names.push_str(name);
        }
        Some(names)
    }

    /// The tags of an account; none if they are not known.
    pub async fn tags(&mut self, account: &AccountId) -> Option<BTreeMap<String, String>> {
        let (operation, member) = ("ListTagsForResource", "ResourceId");
        let listed = self.ask(operation, member, account.as_str()).await?;
        let tags = listed.get("Tags").and_then(Value::as_array);
        let tag = |tag: &Value| {
            let text = |name: &str| tag.get(name).and_then(Value::as_str).map(str::to_owned);
            Some((text("Key")?, text("Value")?))
        };
        tags.into_iter().flatten().map(tag).collect()
    }

    /// The ids of the units that an account is in, the highest first, by asking upwards: not everywhere
    /// are paths told.
    async fn units_above(&mut self, account: &AccountId) -> Option<Vec<String>> {
        let mut units = Vec::new();
        let mut below = account.to_string();
        while units.len() < DEEPEST {
            let listed = self.ask("ListParents", "ChildId", &below).await?;
            let above = listed.pointer("/Parents/0/Id").and_then(Value::as_str)?;
            if above.starts_with("r-") {
                units.reverse();
                return Some(units);
            }
            units.push(above.to_owned());
            below = above.to_owned();
        }
        None
    }

    /// The whole answer about `id`, asked for if it is not kept.
    async fn ask(&mut self, operation: &'static str, member: &str, id: &str) -> Option<Value> {
        let key = (operation, id.to_owned());
        let now = self.clock.monotonic();
        if let Some((since, answer)) = self.answers.0.get(&key)
            && now.saturating_sub(*since) < FRESH
        {
            return Some(answer.clone());
        }
        if now < self.until {
            match self.call(operation, json!({ member: id })).await {
                Ok(answer) => {
                    self.answers.0.insert(key, (now, answer.clone()));
                    return Some(answer);
                }
                Err(error) => self.miss(error),
            }
        }
        // What is too old was thrown away.
        let (_, answer) = self.answers.0.get(&key)?;
        Some(answer.clone())
    }

    async fn call(&self, operation: &str, params: Value) -> Result<Value, CallError> {
        let call = Call::new("organizations", operation, params);
        let pages = Pages::new(self.api, self.models, call)?;
        Ok(pages.collect().await?.output)
    }

    /// Notes a question that was not answered. If that had nothing to do with what it was about, this
    /// look-up asks no more.
    pub fn miss(&mut self, error: CallError) {
        if error.kind != CallErrorKind::Rejected {
            self.until = Duration::ZERO;
        }
        self.unanswered.get_or_insert(error);
    }
}

/// An account's path of ids, if there is one.
fn only_path(account: &Value) -> Option<String> {
    match account.get("Paths")?.as_array()?.as_slice() {
        [path] => path.as_str().map(str::to_owned),
        _ => None,
    }
}

/// The units on a path such as `o-a1b2c3d4e5/r-f6g7/ou-f6g7-aaaaaaaa/ou-f6g7-bbbbbbbb/222222222222/`,
/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Account.html>.
fn units_on(path: &str, account: &AccountId) -> Option<Vec<String>> {
    let ids: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let [organization, root, units @ ..] = ids.as_slice() else {
        return None;
    };
    let units = match units {
        [units @ .., last] if *last == account.as_str() => units,
        units => units,
    };
    let is_path = organization.starts_with("o-")
        && root.starts_with("r-")
        && units.iter().all(|unit| unit.starts_with("ou-"));
    is_path.then(|| units.iter().map(|unit| (*unit).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use stanch_testkit::{FakeApi, FakeClock};

    use super::*;

    const PAYMENTS: &str = "222222222222";

    /// `prod` with `payments` in it, where paths are not told.
    fn organization() -> FakeApi {
        FakeApi::new()
            .on("organizations.ListParents", |call| {
                let above = match call.params["ChildId"].as_str().unwrap() {
                    PAYMENTS => "ou-root-payments1",
                    "ou-root-payments1" => "ou-root-prod1111",
                    _ => "r-root",
                };
                // Empty pages come before full ones.
                Ok(match call.params.get("NextToken") {
                    None => json!({"Parents": [], "NextToken": "more"}),
                    Some(_) => json!({"Parents": [{"Id": above, "Type": "any"}]}),
                })
            })
            .on("organizations.DescribeOrganizationalUnit", |call| {
                let id = call.params["OrganizationalUnitId"].as_str().unwrap();
                let name = match id {
                    "ou-root-payments1" => "Payments",
                    "ou-root-prod1111" => "prod",
                    _ => "a/b",
                };
                Ok(json!({"OrganizationalUnit": {"Id": id, "Name": name}}))
            })
            .returns(
                "organizations.ListTagsForResource",
                json!({"Tags": [{"Key": "stage", "Value": "prod"}]}),
            )
    }

    struct Asked {
        api: FakeApi,
        models: Models,
        clock: FakeClock,
        answers: Answers,
    }

    impl Asked {
        fn new(api: FakeApi) -> Self {
            Self {
                api,
                models: Models::embedded().unwrap(),
                clock: FakeClock::default(),
                answers: Answers::default(),
            }
        }

        fn look(&mut self) -> Organization<'_> {
            Organization::new(&self.api, &self.models, &self.clock, &mut self.answers)
        }

        async fn unit(&mut self, path: Option<&str>) -> Option<String> {
            self.look().unit(&PAYMENTS.parse().unwrap(), path).await
        }
    }

    #[tokio::test]
    async fn a_path_is_by_names_from_the_root_on() {
        let mut asked = Asked::new(organization());
        let told = "o-a1b2c3d4e5/r-root/ou-root-prod1111/ou-root-payments1/222222222222/";
        let unit = "root/prod/Payments";
        assert_eq!(asked.unit(Some(told)).await.as_deref(), Some(unit));
        assert_eq!(asked.api.calls().len(), 2, "the names alone");
        assert_eq!(asked.unit(None).await.as_deref(), Some(unit));
        // Three parents, of two pages each.
        assert_eq!(asked.api.calls().len(), 8);
        for path in ["o-a1b2c3d4e5/r-root/222222222222/", "o-a1b2c3d4e5/r-root/"] {
            assert_eq!(asked.unit(Some(path)).await.as_deref(), Some("root"));
        }
        assert_eq!(asked.api.calls().len(), 8);
        // What is no path is asked for.
        let odd = "o-a1b2c3d4e5/ou-root-prod1111/222222222222/";
        assert_eq!(asked.unit(Some(odd)).await.as_deref(), Some(unit));
    }

    #[tokio::test]
    async fn a_name_with_a_slash_is_no_place() {
        let mut asked = Asked::new(organization());
        let path = "o-a1b2c3d4e5/r-root/ou-root-odd11111/222222222222/";
        assert_eq!(asked.unit(Some(path)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_kept_for_an_hour_and_for_two_if_nobody_answers() {
        let mut asked = Asked::new(organization());
        let account: AccountId = PAYMENTS.parse().unwrap();
        let tags = |stage: &str| Some(BTreeMap::from([("stage".to_owned(), stage.to_owned())]));
        assert_eq!(asked.look().tags(&account).await, tags("prod"));
        tokio::time::advance(FRESH - Duration::from_secs(1)).await;
        assert_eq!(asked.look().tags(&account).await, tags("prod"));
        assert_eq!(asked.api.calls().len(), 1);

        let throttled = |call: &Call| {
            let kind = CallErrorKind::Throttled;
            Err(CallError::new(kind, call, "you have sent too many"))
        };
        asked.api = FakeApi::new().on("organizations.ListTagsForResource", throttled);
        tokio::time::advance(Duration::from_secs(2)).await;
        let other: AccountId = "333333333333".parse().unwrap();
        let mut look = asked.look();
        assert_eq!(look.tags(&account).await, tags("prod"));
        // It would not be answered for another one, either.
        assert_eq!(look.tags(&other).await, None);
        assert!(look.unanswered().is_some());
        assert_eq!(asked.api.calls().len(), 1);
        tokio::time::advance(FRESH).await;
        assert_eq!(asked.look().tags(&account).await, None);
    }

    #[tokio::test]
    async fn what_is_not_there_stops_no_other() {
        let api = organization().refuses("organizations.ListParents", "ChildNotFoundException");
        let mut asked = Asked::new(api);
        let account: AccountId = PAYMENTS.parse().unwrap();
        let mut look = asked.look();
        assert_eq!(look.unit(&account, None).await, None);
        assert!(look.tags(&account).await.is_some());
    }
}
