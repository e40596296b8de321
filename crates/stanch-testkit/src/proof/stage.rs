//! A fresh organization for one try, and a hub on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Map, Value};
use stanch_catalog::{Catalog, Example, Plan, PolicyError, Remediation};
use stanch_guard::{Automatic, Guard};
use stanch_hub::{Account, Approvals, Hub, Ports, Preview, RequestError, Settings, Source, Taken};
use stanch_ledger::{Directives, Ledger, LedgerError, MemoryLedger, RemediationId, State, Status};
use stanch_models::Models;
use stanch_runbook::Ids;
use stanch_types::{AccountId, Api, Clock, Region};

use crate::{
    Emulated, EmulatorError, Emulators, FastClock, Listener, LookError, Misconfiguration,
    Organization, PlantError, Planted, Rounded, Seen, Tap, Unplayable, also, choose,
    emulator::CLOCK_AHEAD,
    judge::{Judge, JudgeError, Judged},
    look,
    organization::{MEMBERS, OrganizationError, REGIONS, role_policy},
    plant,
};

/// How much faster than the real clock the hub's runs: its waits are for consistency that the
/// emulator does not lack.
const SPEED: u32 = 25;

/// The longest time between two looks of a run; its time limits are longer.
const PAUSES: Duration = Duration::from_secs(20);

/// How long a lock outlives its hub; on the fast clock much shorter than a slow request.
pub(super) const LEASE: Duration = Duration::from_hours(6);

/// Something of the suite itself went wrong, before a property could be judged.
#[derive(Debug, thiserror::Error)]
pub enum Setback {
    /// The emulator.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// A worker cannot be started.
    #[error(transparent)]
    Worker(#[from] std::io::Error),
    /// The IAM simulator.
    #[error(transparent)]
    Judge(#[from] JudgeError),
    /// No emulator plays an example.
    #[error(transparent)]
    Unplayable(#[from] Unplayable),
    /// The organization.
    #[error(transparent)]
    Organization(#[from] OrganizationError),
    /// An example.
    #[error(transparent)]
    Plant(#[from] PlantError),
    /// A policy cannot be written.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The resource cannot be looked at.
    #[error(transparent)]
    Look(#[from] LookError),
    /// A rollback is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The hub did not take the finding.
    #[error("the finding was not admitted: {0}")]
    NotAdmitted(String),
    /// A constant is wrong.
    #[error(transparent)]
    Id(#[from] stanch_types::InvalidId),
}

/// What all tries share.
pub struct World {
    emulators: Emulators,
    pub(super) judge: Arc<Judge>,
    pub(super) models: Arc<Models>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) account: AccountId,
    pub(super) other: AccountId,
    pub(super) region: Region,
}

impl World {
    /// Emulators, each started when an example needs it.
    pub(super) fn new(catalog: Arc<Catalog>, judge: Arc<Judge>) -> Result<Self, Setback> {
        Ok(Self {
            emulators: Emulators::default(),
            judge,
            models: crate::models(),
            catalog,
            account: MEMBERS[0].0.parse()?,
            other: MEMBERS[1].0.parse()?,
            region: REGIONS[0].parse()?,
        })
    }

    /// An organization in which nothing is planted, for an example: its member roles may do what the
    /// remediation needs.
    pub(super) async fn empty(
        &self,
        remediation: &Remediation,
        example: &Example,
    ) -> Result<Stage<'_>, Setback> {
        let maker = choose(remediation, example)?;
        let emulator = self.emulators.get(maker).await?;
        emulator.reset()?;
        let role_policy = role_policy([remediation], &self.models)?;
        let aws = Emulated::at(&emulator.endpoint(), self.region.clone());
        let root = |account: &AccountId, region: &Region| aws.root(account, region);
        let organization = Organization::create(emulator.endpoint(), &root, &role_policy).await?;
        let rounded = Rounded::new(maker, &remediation.name);
        let judged = Judged::new(
            rounded.sessions(Arc::new(aws.sessions(&organization))),
            Arc::clone(&self.judge),
            Arc::clone(&self.models),
            role_policy,
        );
        Ok(Stage {
            world: self,
            parameters: [(remediation.name.clone(), example.settings.clone())].into(),
            tap: Tap::new(Arc::new(judged.clone())),
            judged,
            rounded,
            ledger: Arc::new(MemoryLedger::new()),
            clock: Arc::new(FastClock::new(begin(), SPEED).without_pauses(PAUSES)),
            aws,
        })
    }

    /// An organization with an example planted.
    pub(super) async fn planted(
        &self,
        remediation: &Remediation,
        example: &Example,
    ) -> Result<(Stage<'_>, Case), Setback> {
        let stage = self.empty(remediation, example).await?;
        let root = stage.root(&self.account);
        let planted = plant(
            &*root,
            remediation,
            example,
            (&self.account, &self.region),
            begin(),
            None,
        )
        .await?;
        let before = stage.look(remediation, &planted.misconfiguration).await?;
        let also = also(&*root, example, &planted.scope).await?;
        Ok((
            stage,
            Case {
                planted,
                before,
                also,
            },
        ))
    }
}

/// When every try begins: so far from now that what an example plants is old.
#[expect(
    clippy::disallowed_methods,
    reason = "the emulators date what is planted by the real clock"
)]
fn begin() -> Timestamp {
    let now = Timestamp::now();
    now.saturating_add(CLOCK_AHEAD).unwrap_or(now)
}

/// A planted example, and what it looked like before anything was done about it.
pub struct Case {
    pub(super) planted: Planted,
    pub(super) before: Seen,
    pub(super) also: Vec<Value>,
}

impl Case {
    pub(super) fn event(&self) -> Vec<u8> {
        self.planted.misconfiguration.bytes()
    }
}

/// One try: an organization, a ledger, and all that goes over the wire.
pub struct Stage<'w> {
    world: &'w World,
    /// The user's settings, by remediation.
    parameters: BTreeMap<String, Map<String, Value>>,
    aws: Emulated,
    rounded: Rounded,
    pub(super) judged: Judged,
    pub(super) tap: Tap,
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) clock: Arc<FastClock>,
}

impl Stage<'_> {
    pub(super) fn root(&self, account: &AccountId) -> Arc<dyn Api> {
        self.root_in(account, &self.world.region)
    }

    fn root_in(&self, account: &AccountId, region: &Region) -> Arc<dyn Api> {
        let api = self.aws.root(account, region);
        self.rounded.api(api, account, region)
    }

    /// Looks at the resource without the hub.
    pub(super) async fn look(
        &self,
        remediation: &Remediation,
        found: &Misconfiguration,
    ) -> Result<Seen, LookError> {
        let root = |account: &AccountId, region: &Region| self.root_in(account, region);
        let settings = self.parameters.get(&remediation.name);
        let settings = settings.cloned().unwrap_or_default();
        look(&root, &self.world.models, remediation, settings, found).await
    }

    /// The requests that take `plan` back, now that it was carried out and its steps answered `outputs`.
    pub(super) async fn undo_plan(
        &self,
        remediation: &Remediation,
        plan: &Plan,
        outputs: &Value,
    ) -> Result<Plan, LookError> {
        let api = self.root_in(&plan.account, &plan.region);
        let observation = remediation.observe_again(plan)?;
        let seen = stanch_hub::observe(&*api, &self.world.models, observation).await?;
        Ok(seen.undo(plan, outputs)?)
    }

    /// A hub on this stage's ledger, as a process that has just started.
    pub(super) fn hub(&self) -> Arc<Hub> {
        let settings = Settings {
            accounts: [&self.world.account, &self.world.other]
                .map(|id| (id.clone(), Account::default()))
                .into(),
            parameters: self.parameters.clone(),
            lease: LEASE,
            approval: Approvals::by("everyone", &[APPROVER]),
            ..Settings::default()
        };
        let ports = Ports {
            sessions: Arc::new(self.tap.clone()),
            ledger: Arc::clone(&self.ledger) as Arc<dyn Ledger>,
            directives: Arc::clone(&self.ledger) as Arc<dyn Directives>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ids: Arc::new(CountingIds::default()),
            guard: Arc::new(Guard::built_in(&Automatic::default())),
            notifiers: vec![Arc::new(Listener::default())],
        };
        Arc::new(Hub::new(
            ports,
            settings,
            Arc::clone(&self.world.catalog),
            Arc::clone(&self.world.models),
        ))
    }

    pub(super) async fn preview(&self, event: &[u8]) -> Preview {
        self.hub().preview_open(&person(), event).await
    }

    pub(super) async fn take(&self, hub: &Hub, event: &[u8]) -> Result<Taken, Setback> {
        Ok(hub.take(&person(), event).await?)
    }

    /// Takes a finding in that must be admitted.
    pub(super) async fn admit(&self, hub: &Hub, event: &[u8]) -> Result<RemediationId, Setback> {
        let taken = self.take(hub, event).await?;
        match taken.admitted.first() {
            Some(id) => Ok(*id),
            None => Err(Setback::NotAdmitted(format!("{taken:?}"))),
        }
    }

    /// Works on it until it is final, with the approval where one is asked for.
    pub(super) async fn finish(&self, hub: &Hub, id: RemediationId) -> Result<State, Setback> {
        let mut state = hub.handle(id).await?;
        for _ in 0..10 {
            if state.status == Status::AwaitingApproval {
                state = hub.approve(id, APPROVER).await?;
            } else if state.status.is_final() {
                break;
            } else {
                // Parked, or waiting for the lock of a hub that was killed.
                self.clock.skip(LEASE);
                state = hub.handle(id).await?;
            }
        }
        Ok(state)
    }

    /// One finding from its delivery to its end.
    pub(super) async fn run(&self, event: &[u8]) -> Result<(RemediationId, State), Setback> {
        let hub = self.hub();
        let id = self.admit(&hub, event).await?;
        Ok((id, self.finish(&hub, id).await?))
    }
}

/// Somebody who approves what others ask for.
const APPROVER: &str = "another person";

/// Somebody who may ask for what only people may ask for.
fn person() -> Source {
    Source::person("proof", "a person")
}

/// The actions that a policy document allows.
pub(super) fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy.get("Statement").map(list).unwrap_or_default();
    let texts = statements
        .iter()
        .filter_map(|statement| statement.get("Action"))
        .flat_map(list);
    texts
        .filter_map(|action| action.as_str().map(str::to_owned))
        .collect()
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    }
}

/// Ids that are the same in every run.
#[derive(Default)]
pub(super) struct CountingIds(AtomicU64);

impl Ids for CountingIds {
    fn next(&self) -> String {
        let next = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        uuid::Uuid::from_u128(u128::from(next)).to_string()
    }
}
