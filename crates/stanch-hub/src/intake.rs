//! From bytes that somebody delivered to remediations that are admitted: what this has acknowledged
//! is in the ledger, and survives.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use stanch_catalog::Target;
use stanch_ledger::{
    Admission, Digest, IdempotencyKey, LedgerError, Letter, Origin, Received, RemediationId, Route,
    State, Status,
};
use stanch_types::{
    Access, CallError, Finding, Incoming, Region, Reply, Resource, Scope, chain,
    event::{self, Executed, Unnamed},
};

use crate::{Hub, schedule::Job};

/// The name of no remediation.
const NONE: &str = "None";

/// What became of an event.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Taken {
    /// Remediations that it began.
    pub admitted: Vec<RemediationId>,
    /// Remediations that it would have begun, had they not been admitted before.
    pub duplicates: Vec<RemediationId>,
    /// Remediations that go on, since what they waited for has come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub continued: Vec<RemediationId>,
    /// Findings that need nothing, with the reason.
    pub skipped: Vec<Skipped>,
    /// Dead letters: what could not be understood or must not be acted on.
    pub buried: Vec<Buried>,
}

/// A finding that needs nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Skipped {
    /// The finding.
    pub finding: String,
    /// Why.
    pub reason: String,
}

/// A part of an event that was put aside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Buried {
    /// The dead letter.
    pub id: Digest,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

/// Who delivered an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it came from: `http`, `sqs`, a file's name.
    pub name: String,
    /// The person who asked, where the source knows one: their findings are on the manual route.
    pub requester: Option<String>,
    /// They proved a second factor.
    pub mfa: bool,
}

/// Security Hub does not tell who chose a custom action.
const CUSTOM_ACTION: &str = "custom action `";

/// Whoever asked has no name: it may be anybody.
pub(crate) fn is_unnamed(requester: &str) -> bool {
    requester.starts_with(CUSTOM_ACTION)
}

impl Source {
    /// A source without a person behind it.
    #[must_use]
    pub fn automatic(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            requester: None,
            mfa: false,
        }
    }

    /// A person's own request.
    #[must_use]
    pub fn person(name: impl Into<String>, requester: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            requester: Some(requester.into()),
            mfa: false,
        }
    }
}

impl Hub {
    /// Takes an event in. When this returns, each of its findings is admitted, known already,
    /// skipped for a reason or kept as a dead letter; the source may forget it.
    ///
    /// # Errors
    /// The ledger failed: the source has to deliver the event again.
    pub async fn take(&self, source: &Source, bytes: &[u8]) -> Result<Taken, LedgerError> {
        let mut taken = Taken::default();
        for incoming in self.read(bytes).await {
            match incoming {
                Incoming::Accepted { finding, route } => {
                    for resource in &finding.resources {
                        self.admit(source, &finding, resource, &route, &mut taken)
                            .await?;
                    }
                }
                Incoming::Skipped { id, reason, .. } => {
                    taken.skipped.push(Skipped {
                        finding: id.to_string(),
                        reason: reason.to_string(),
                    });
                }
                Incoming::Executed(executed) => match self.continued_by(&executed).await? {
                    Ok((id, job)) => {
                        taken.continued.push(id);
                        self.scheduler.submit(job).await;
                    }
                    Err(reason) => taken.skipped.push(Skipped {
                        finding: executed.id,
                        reason,
                    }),
                },
                Incoming::Unreadable { problem, payload } => {
                    let letter = Letter {
                        source: source.name.clone(),
                        reason: format!("{}; {}", problem.reason, problem.hint),
                        body: payload.into(),
                    };
                    let id = self
                        .ports
                        .ledger
                        .bury(letter, self.ports.clock.now())
                        .await?;
                    taken.buried.push(Buried {
                        id,
                        reason: problem.reason,
                        hint: problem.hint,
                    });
                }
            }
        }
        Ok(taken)
    }

    /// The remediation that goes on by what an execution tells, or why none does. The end of an execution
    /// is waited for; at the end of a step the switch is read.
    async fn continued_by(
        &self,
        executed: &Executed,
    ) -> Result<Result<(RemediationId, Job), String>, LedgerError> {
        let is_step = executed.step.is_some();
        if !is_step && !crate::automation::is_final(&executed.status) {
            return Ok(Err(format!("the execution is {}", executed.status)));
        }
        let goes_on = || Ok(Err("the execution goes on".to_owned()));
        // Who it is for is asked only while it can matter.
        if is_step && !self.stops_somewhere().await {
            return goes_on();
        }
        let Some((id, state)) = self.waiting_for(executed).await? else {
            let reason = "no remediation waits for this execution";
            return Ok(Err(reason.to_owned()));
        };
        if is_step && self.switch(&state.received).stops().await.is_none() {
            return goes_on();
        }
        Ok(Ok((id, job(id, &state.received))))
    }

    /// The remediation that waits for this execution.
    async fn waiting_for(
        &self,
        executed: &Executed,
    ) -> Result<Option<(RemediationId, State)>, LedgerError> {
        let Executed {
            id: execution,
            account,
            region,
            by,
            ..
        } = executed;
        let ledger = &self.ports.ledger;
        let named = by.as_deref().and_then(Self::of_session);
        let named = match named {
            Some(id) => match ledger.state(id).await {
                Ok((state, _)) => Some((id, state)),
                Err(LedgerError::NotFound(_)) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let named = named.filter(|(_, state)| Self::waits_for(state, account, region, execution));
        if named.is_some() {
            return Ok(named);
        }
        // The event names a user or a role, and not the session; that of a step names nobody.
        for record in ledger.unfinished().await? {
            let is_changing = matches!(record.status, Status::Running | Status::Undoing);
            if !is_changing || record.account_id != *account || record.region != *region {
                continue;
            }
            let (state, _) = ledger.state(record.remediation_id).await?;
            if crate::automation::execution(&state) == Some(execution.as_str()) {
                return Ok(Some((record.remediation_id, state)));
            }
        }
        Ok(None)
    }

    pub(crate) fn reading_options(&self) -> event::Options {
        let test_accounts = self
            .settings
            .accounts
            .iter()
            .filter(|(_, account)| account.test);
        event::Options {
            test_accounts: test_accounts.map(|(id, _)| id.clone()).collect(),
            ..event::Options::default()
        }
    }

    /// The findings of an event, their resources by the names that calls take. AWS Config is asked for
    /// a name where something could be done with it.
    pub(crate) async fn read(&self, bytes: &[u8]) -> Vec<Incoming> {
        let mut read = Vec::new();
        for incoming in event::read(bytes, &self.reading_options()) {
            read.push(match incoming {
                Incoming::Accepted { finding, route } => match Unnamed::of(&finding) {
                    Some(unnamed) if self.is_of_use(&finding) => {
                        let answer = self.ask(&unnamed, &finding).await;
                        unnamed.named(finding, route, answer)
                    }
                    _ => Incoming::Accepted { finding, route },
                },
                other => other,
            });
        }
        read
    }

    fn is_of_use(&self, finding: &Finding) -> bool {
        let has_remediation = |resource: &Resource| {
            let found = self
                .catalog
                .find(&finding.controls, &resource.resource_type);
            !found.is_empty()
        };
        self.out_of_bounds(finding).is_none() && finding.resources.iter().any(has_remediation)
    }

    async fn ask(&self, unnamed: &Unnamed, finding: &Finding) -> Result<Reply, CallError> {
        let policy = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": Unnamed::ACTION, "Resource": "*"},
        ]});
        let scope = Scope {
            account: finding.account.clone(),
            region: finding.region.clone(),
            session_name: "stanch-names".to_owned(),
            access: Access::Read(policy.to_string()),
        };
        let session = self.ports.sessions.open(&scope).await?;
        session.call(&unnamed.question()).await
    }

    async fn admit(
        &self,
        source: &Source,
        finding: &Finding,
        resource: &Resource,
        route: &event::Route,
        taken: &mut Taken,
    ) -> Result<(), LedgerError> {
        let received = Arc::new(self.received(source, finding, resource, route));
        let mut retry = 0;
        let admission = loop {
            let generation = match retry {
                0 => finding.generation.to_string(),
                retry => format!("{}#{retry}", finding.generation),
            };
            let key = IdempotencyKey::new(
                &received.account,
                &received.region,
                &received.resource_id,
                &received.remediation,
                &generation,
            );
            let now = self.ports.clock.now();
            let admitted = Arc::clone(&received);
            match self.ports.ledger.admit(key, admitted, now).await? {
                Admission::Duplicate(id) if self.may_retry(id, retry).await? => retry += 1,
                admission => break (admission, now),
            }
        };
        match admission {
            (Admission::Duplicate(id), _) => taken.duplicates.push(id),
            (Admission::New(id), at) => {
                taken.admitted.push(id);
                let job = job(id, &received);
                self.fresh.put(id, State::admitted(received, at));
                self.scheduler.submit(job).await;
            }
        }
        Ok(())
    }

    /// True if the finding was delivered again after an attempt that failed, and after the pause that
    /// the budget asks for.
    async fn may_retry(&self, id: RemediationId, retry: u32) -> Result<bool, LedgerError> {
        let budget = self.settings.budget;
        if retry + 1 >= budget.attempts {
            return Ok(false);
        }
        let record = self.ports.ledger.record(id).await?;
        let failed =
            record.status == Status::Failed || (record.undone && record.error_message.is_some());
        Ok(failed && record.updated_at + budget.cool_down <= self.ports.clock.now())
    }

    pub(crate) fn received(
        &self,
        source: &Source,
        finding: &Finding,
        resource: &Resource,
        route: &event::Route,
    ) -> Received {
        let found = self
            .catalog
            .find(&finding.controls, &resource.resource_type);
        let control = finding
            .controls
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        let settings = found
            .first()
            .and_then(|remediation| self.settings.parameters.get(&remediation.name));
        let target = Target::new(finding, resource, settings.cloned().unwrap_or_default());
        let mut region = finding.region.clone();
        let (remediation, subject) = match found.first() {
            None => (
                NONE.to_owned(),
                Err(format!(
                    "no remediation for `{control}` on an `{}`",
                    resource.resource_type
                )),
            ),
            Some(remediation) => {
                region = remediation.region(&region);
                (
                    remediation.name.clone(),
                    remediation
                        .subject(&target, self.ports.clock.now())
                        .map_err(|error| chain(&error)),
                )
            }
        };
        let other_region = (region != finding.region).then(|| finding.region.clone());
        let problem = self
            .out_of_bounds(finding)
            .or_else(|| subject.as_ref().err().cloned())
            .or_else(|| Unnamed::of(finding).map(|unnamed| unnamed.to_string()));
        let (manual, requester) = match (&source.requester, route) {
            (Some(person), _) => (true, person.clone()),
            (
                None,
                event::Route::Manual {
                    requester, action, ..
                },
            ) => (
                true,
                requester
                    .clone()
                    .unwrap_or_else(|| format!("{CUSTOM_ACTION}{action}`")),
            ),
            (None, event::Route::Automatic) => (false, source.name.clone()),
        };
        Received {
            finding_id: finding.id.to_string(),
            control,
            account: finding.account.clone(),
            region,
            resource_id: resource.id.clone(),
            resource_arn: resource.arn.clone(),
            resource_type: resource.resource_type.clone(),
            severity: finding
                .severity
                .map(|severity| severity.label.to_string())
                .unwrap_or_default(),
            title: finding.title.clone(),
            remediation,
            subject: subject.map(|subject| json!(subject)).unwrap_or_default(),
            problem,
            route: if manual {
                Route::Manual
            } else {
                Route::Automatic
            },
            requester,
            mfa: manual && source.mfa,
            first_observed: finding.first_observed_at,
            tags: resource.tags.clone(),
            indicators: stanch_guard::indicators(&finding.raw),
            origin: origin(finding, other_region),
        }
    }

    fn out_of_bounds(&self, finding: &Finding) -> Option<String> {
        let Some(account) = self.settings.accounts.get(&finding.account) else {
            return Some(format!(
                "account {} is not one of the configured accounts",
                finding.account
            ));
        };
        let regions = account.regions.as_ref()?;
        (!regions.contains(&finding.region)).then(|| {
            format!(
                "region `{}` is not enabled for account {}",
                finding.region, finding.account
            )
        })
    }
}

/// Where a finding can be told what became of it, if anywhere.
fn origin(finding: &Finding, region: Option<Region>) -> Option<Origin> {
    let (product_arn, rule) = (finding.product_arn(), finding.config_rule());
    (product_arn.is_some() || rule.is_some()).then(|| Origin {
        product_arn: product_arn.map(str::to_owned),
        region,
        config_rule: rule.map(str::to_owned),
        is_shared: finding.resources.len() > 1,
    })
}

/// The work of continuing a remediation.
pub(crate) fn job(id: RemediationId, received: &Received) -> Job {
    Job {
        id,
        account: received.account.clone(),
        resource: resource_key(received),
        parked: 0,
    }
}

/// Names the resource for everyone who changes it: as attempts and neighbours are looked up, without the
/// region, since findings of several regions may be about one role.
#[must_use]
pub fn resource_key(received: &Received) -> String {
    format!("{}/{}", received.account, received.resource_id)
}
