//! AWS in memory: enough of it to run the hub without a network.
//!
//! The state of an account is a set of JSON documents, kept in the shape in which the read
//! operations answer them. Permissions are not judged here: MiniStack does that.

mod services;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value;
use stanch_types::{
    Access, AccountId, Api, Call, CallError, CallErrorKind, Region, Reply, Scope, Sessions,
};

use crate::organization::MEMBER_ROLE;

/// The accounts of an organization, in memory.
#[derive(Clone)]
pub struct FakeAws(Arc<Inner>);

struct Inner {
    accounts: Vec<AccountId>,
    store: Mutex<Store>,
}

impl FakeAws {
    /// An organization of empty accounts; sessions in other accounts are refused.
    #[must_use]
    pub fn new(accounts: &[AccountId]) -> Self {
        Self(Arc::new(Inner {
            accounts: accounts.to_vec(),
            store: Mutex::default(),
        }))
    }

    /// An account as its own administrator, to set things up and to look at the end.
    #[must_use]
    pub fn account(&self, account: &AccountId, region: &Region) -> Arc<dyn Api> {
        Arc::new(FakeAccount {
            aws: self.clone(),
            account: account.clone(),
            region: region.clone(),
            read_only: false,
        })
    }
}

#[async_trait]
impl Sessions for FakeAws {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        if !self.0.accounts.contains(&scope.account) {
            let call = Call::new("sts", "AssumeRole", Value::Null);
            return Err(CallError {
                code: "AccessDenied".to_owned(),
                ..CallError::new(
                    CallErrorKind::Credentials,
                    &call,
                    "the account is not in the organization",
                )
            });
        }
        Ok(Arc::new(FakeAccount {
            aws: self.clone(),
            account: scope.account.clone(),
            region: scope.region.clone(),
            read_only: matches!(scope.access, Access::Read(_)),
        }))
    }

    fn role_arn(&self, scope: &Scope) -> String {
        let (partition, account) = (scope.region.partition(), &scope.account);
        format!("arn:{partition}:iam::{account}:role/{MEMBER_ROLE}")
    }
}

struct FakeAccount {
    aws: FakeAws,
    account: AccountId,
    region: Region,
    read_only: bool,
}

#[async_trait]
impl Api for FakeAccount {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let error = |kind, code: &str, message: String| CallError {
            code: code.to_owned(),
            ..CallError::new(kind, call, message)
        };
        if self.read_only && crate::is_write(call) {
            let message = "the session may only read".to_owned();
            return Err(error(CallErrorKind::Denied, "AccessDenied", message));
        }
        let mut store = self
            .aws
            .0
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        store.requests += 1;
        let request_id = format!("fake-{}", store.requests);
        let mut view = View {
            store: &mut store,
            account: self.account.as_str(),
            region: self.region.as_str(),
        };
        match services::answer(&mut view, call) {
            Ok(output) => Ok(Reply {
                output,
                request_id: Some(request_id),
            }),
            Err(Refusal::Aws { code, message }) => {
                Err(error(CallErrorKind::Rejected, code, message))
            }
            Err(Refusal::Unknown) => Err(error(
                CallErrorKind::Invalid,
                "",
                "the in-memory AWS of the test kit does not know this operation".to_owned(),
            )),
        }
    }
}

/// Why a call is not answered.
enum Refusal {
    /// As AWS refuses it.
    Aws { code: &'static str, message: String },
    /// Nobody has written it yet.
    Unknown,
}

/// `(account, region or empty, kind, name)` of a resource.
type Key = (String, String, &'static str, String);

#[derive(Default)]
struct Store {
    resources: BTreeMap<Key, Value>,
    requests: u64,
    ids: u64,
}

/// The store as one account and region see it.
struct View<'a> {
    store: &'a mut Store,
    account: &'a str,
    region: &'a str,
}

impl View<'_> {
    fn key(&self, kind: &'static str, name: &str) -> Key {
        // S3 and IAM are global: one name, whatever the region.
        let global = kind.starts_with("s3") || kind.starts_with("iam");
        let region = if global { "" } else { self.region };
        (
            self.account.to_owned(),
            region.to_owned(),
            kind,
            name.to_owned(),
        )
    }

    fn find(&self, kind: &'static str, name: &str) -> Option<&Value> {
        self.store.resources.get(&self.key(kind, name))
    }

    fn find_mut(&mut self, kind: &'static str, name: &str) -> Option<&mut Value> {
        let key = self.key(kind, name);
        self.store.resources.get_mut(&key)
    }

    fn put(&mut self, kind: &'static str, name: &str, value: Value) {
        let key = self.key(kind, name);
        self.store.resources.insert(key, value);
    }

    fn remove(&mut self, kind: &'static str, name: &str) -> Option<Value> {
        let key = self.key(kind, name);
        self.store.resources.remove(&key)
    }

    fn all(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        let (account, region, ..) = self.key(kind, "");
        self.store
            .resources
            .iter()
            .filter(move |((a, r, k, _), _)| *a == account && *r == region && *k == kind)
            .map(|(_, value)| value)
    }

    /// A new id: the same ones in every run.
    fn id(&mut self, prefix: &str) -> String {
        self.store.ids += 1;
        format!("{prefix}{:017x}", self.store.ids)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!(
            "arn:aws:{service}:{}:{}:{resource}",
            self.region, self.account
        )
    }
}
