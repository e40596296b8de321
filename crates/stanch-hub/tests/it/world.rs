//! A hub, its ledger and its accounts, in memory.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{Automatic, File, Guard, Rules, Source as Rulebook};
use stanch_hub::{Account, Approvals, Hub, Notifier, Ports, Settings, Source};
use stanch_ledger::{Directives, Ledger, MemoryLedger, RemediationId, State};
use stanch_models::Models;
use stanch_runbook::Ids;
use stanch_testkit::{FakeAws, FakeClock, Listener, Misconfiguration, Tap};
use stanch_types::{AccountId, Api, Call, Clock, Region};

/// Identifiers in order.
#[derive(Default)]
struct Counter(AtomicU64);

impl Ids for Counter {
    fn next(&self) -> String {
        format!("id-{}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub struct World {
    pub aws: FakeAws,
    pub tap: Tap,
    pub ledger: Arc<dyn Ledger>,
    pub directives: Arc<dyn Directives>,
    pub clock: Arc<FakeClock>,
    pub settings: Settings,
    pub automatic: Automatic,
    pub catalog: Arc<Catalog>,
    pub notifiers: Vec<Arc<dyn Notifier>>,
    pub models: Arc<Models>,
}

pub fn account() -> AccountId {
    "222222222222".parse().unwrap()
}

pub fn region() -> Region {
    "eu-central-1".parse().unwrap()
}

/// A policy, with a calendar `window` that is open in these hours of the clock's first day.
pub fn rules(policy: &str, open: &Range<u8>) -> Rules {
    let file = |path: &str, text: String| File {
        path: path.to_owned(),
        text,
    };
    let window = format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nX-CALENDAR-TYPE:DEFAULT_CLOSED\nBEGIN:VEVENT\nUID:1\nSUMMARY:e\nDTSTART:20260101T{:02}0000Z\nDTEND:20260101T{:02}0000Z\nEND:VEVENT\nEND:VCALENDAR\n",
        open.start, open.end
    );
    Rules {
        policies: Rulebook::Files(vec![file("p.cedar", policy.to_owned())]),
        calendars: vec![file("window.ics", window)],
        ..Rules::default()
    }
}

impl World {
    /// One member account; what is `guarded` and fixes S3 runs on its own.
    pub fn new() -> Self {
        let aws = FakeAws::new(&[account()]);
        let ledger = Arc::new(MemoryLedger::default());
        let mut settings = Settings::default();
        settings.accounts.insert(account(), Account::default());
        settings.approval = Approvals::by("security", &["alice", "bob", "carol"]);
        Self {
            tap: Tap::new(Arc::new(aws.clone())),
            aws,
            directives: Arc::clone(&ledger) as Arc<dyn Directives>,
            ledger,
            clock: Arc::new(FakeClock::default()),
            settings,
            automatic: Automatic {
                safe: true,
                guarded: ["S3BlockPublicAccess".to_owned()].into(),
            },
            catalog: {
                let mut catalog = Catalog::embedded();
                assert_eq!(catalog.extend([stanch_testkit::TWO_STEPS]), []);
                Arc::new(catalog)
            },
            notifiers: vec![Arc::new(Listener::default())],
            models: Arc::new(Models::embedded().unwrap()),
        }
    }

    /// A hub as it is after a start: it knows nothing but its ledger.
    pub fn hub(&self) -> Arc<Hub> {
        let ports = Ports {
            sessions: Arc::new(self.tap.clone()),
            ledger: Arc::clone(&self.ledger),
            directives: Arc::clone(&self.directives),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ids: Arc::new(Counter::default()),
            guard: Arc::new(Guard::built_in(&self.automatic)),
            notifiers: self.notifiers.clone(),
        };
        let (catalog, models) = (Arc::clone(&self.catalog), Arc::clone(&self.models));
        Arc::new(Hub::new(ports, self.settings.clone(), catalog, models))
    }

    /// A hub that decides by these rules.
    pub fn ruled(&self, rules: Rules) -> Arc<Hub> {
        let hub = self.hub();
        hub.decide_by(Guard::load(rules, &self.catalog, self.clock.now()).unwrap());
        hub
    }

    /// As the account's administrator.
    pub async fn admin(&self, service: &str, operation: &str, params: Value) -> Value {
        let api: Arc<dyn Api> = self.aws.account(&account(), &region());
        api.call(&Call::new(service, operation, params))
            .await
            .unwrap()
            .output
    }

    /// A bucket without a public access block.
    pub async fn bucket(&self, name: &str) {
        self.admin("s3", "CreateBucket", json!({"Bucket": name}))
            .await;
    }

    pub async fn block(&self, bucket: &str) -> Option<Value> {
        let api: Arc<dyn Api> = self.aws.account(&account(), &region());
        let call = Call::new("s3", "GetPublicAccessBlock", json!({"Bucket": bucket}));
        let reply = api.call(&call).await.ok()?;
        Some(reply.output["PublicAccessBlockConfiguration"].clone())
    }

    /// A bucket that takes two requests to fix.
    pub fn in_two_steps(&self, bucket: &str) -> Misconfiguration {
        let mut finding = self.finding(bucket);
        finding.control = "Test.2".parse().unwrap();
        finding
    }

    pub fn finding(&self, bucket: &str) -> Misconfiguration {
        Misconfiguration {
            account: account(),
            region: region(),
            control: "S3.8".parse().unwrap(),
            resource_type: "AwsS3Bucket".to_owned(),
            resource_id: format!("arn:aws:s3:::{bucket}"),
            details: Value::Null,
            at: self.clock.now(),
        }
    }

    /// Takes the finding in and works on all that it began.
    pub async fn deliver(
        &self,
        hub: &Hub,
        finding: &Misconfiguration,
    ) -> Vec<(RemediationId, State)> {
        let event = finding.security_hub_event().to_string();
        let taken = hub
            .take(&Source::automatic("test"), event.as_bytes())
            .await
            .unwrap();
        let mut states = Vec::new();
        for id in taken.admitted {
            states.push((id, hub.handle(id).await.unwrap()));
        }
        states
    }

    pub async fn fix(&self, bucket: &str) -> (RemediationId, State) {
        self.deliver(&self.hub(), &self.finding(bucket))
            .await
            .remove(0)
    }

    /// The names of the events of a remediation, but for whom it was told.
    pub async fn story(&self, id: RemediationId) -> String {
        let entries = self.ledger.entries(id).await.unwrap();
        entries
            .iter()
            .map(|entry| entry.event.name())
            .filter(|name| *name != "notified")
            .collect::<Vec<_>>()
            .join(" ")
    }
}
