//! Running a plan: the engine works through it, and the gate lets nothing else out.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stanch_catalog::{Plan, PlannedAction};
use stanch_ledger::{Digest, Event, Phase, StepFinished, StepOutcome, StepStarted};
use stanch_runbook::{AutomationStatus, Document, Engine, Operations, Options, Output};
use stanch_types::{Api, Call, CallError, CallErrorKind, Clock, Reply, chain};
use tokio::sync::Mutex;

use crate::{
    Ports,
    deadline::{Deadline, Tenure},
    journal::Journal,
    switch::Switch,
};

/// The only way for a write to AWS.
///
/// It holds a plan's requests in order. A write that is not the next of them is refused; one that is,
/// is journalled before it is sent and after it was answered. Reads pass.
struct Gate {
    api: Arc<dyn Api>,
    operations: Arc<dyn Operations>,
    journal: Arc<Mutex<Journal>>,
    switch: Switch,
    until: Until,
    /// Why a request was held back.
    stopped: Arc<OnceLock<Held>>,
    phase: Phase,
    progress: Mutex<Progress>,
}

/// Why a request was held back that may be sent later.
enum Held {
    /// By the switch.
    Paused(String),
    /// This process is about to be stopped, or others may have the resource by now.
    OutOfTime,
}

/// Until when requests are sent.
#[derive(Clone)]
pub(crate) struct Until {
    pub deadline: Arc<Deadline>,
    pub clock: Arc<dyn Clock>,
    /// How long one may take.
    pub request: Duration,
    /// What the resource's lock says.
    pub tenure: Option<Arc<Tenure>>,
}

impl Until {
    /// Why no more are sent.
    pub(crate) fn over(&self) -> Option<&'static str> {
        if self.deadline.is_within(self.request, &*self.clock) {
            return Some("this process is about to be stopped");
        }
        let tenure = self.tenure.as_ref()?;
        tenure
            .is_over(self.clock.now())
            .then_some("the lock of the resource is over by the clock, and others may have it")
    }
}

struct Progress {
    /// The requests still to be sent, the next one last.
    remaining: Vec<Request>,
    /// What was answered so far: `{step: {Output: value}}`.
    outputs: Map<String, Value>,
}

struct Request {
    index: u32,
    name: String,
    call: Call,
    outputs: Vec<Output>,
}

/// A run of a plan, or of what is left of it after a crash.
pub(crate) struct Running<'r> {
    pub plan: &'r Plan,
    /// Steps that were carried out before.
    pub skip: &'r [u32],
    /// The step before which it stops: one that people have to approve.
    pub until: Option<u32>,
    /// What those answered: `{step: {Output: value}}`.
    pub outputs: Map<String, Value>,
    pub phase: Phase,
    pub api: Arc<dyn Api>,
    pub operations: Arc<dyn Operations>,
    pub journal: Arc<Mutex<Journal>>,
    pub switch: Switch,
    pub until_when: Until,
}

/// What a run came to.
pub(crate) enum Ran {
    /// Every request was carried out.
    Done,
    /// One was not; with the causes.
    Failed(String),
    /// Changes were paused before the next one.
    Paused(String),
    /// The process is about to be stopped: the rest is for whoever goes on with it.
    OutOfTime,
    /// Systems Manager carries them out, or is asked to later.
    UnderWay,
}

impl Running<'_> {
    /// Lets the engine work through the plan behind a gate.
    pub(crate) async fn run(self, ports: &Ports) -> Ran {
        let stopped = Arc::new(OnceLock::new());
        match (self.work(ports, Arc::clone(&stopped)).await, stopped.get()) {
            (_, Some(Held::Paused(reason))) => Ran::Paused(reason.clone()),
            (_, Some(Held::OutOfTime)) => Ran::OutOfTime,
            (Ok(()), None) => Ran::Done,
            (Err(error), None) => Ran::Failed(error),
        }
    }

    async fn work(self, ports: &Ports, stopped: Arc<OnceLock<Held>>) -> Result<(), String> {
        let mut rest = self.plan.clone();
        let steps = (0_u32..).zip(rest.steps).filter(|(index, step)| {
            !self.skip.contains(index)
                && self.until.is_none_or(|until| *index < until)
                // Passed: the caller has people's word.
                && !matches!(step.action, PlannedAction::Approve { .. })
        });
        rest.steps = steps.map(|(_, step)| step).collect();
        for step in &mut rest.steps {
            if let PlannedAction::Call { call, .. } | PlannedAction::Wait { call, .. } =
                &mut step.action
            {
                call.params = bind(&call.params, &self.outputs);
            }
        }
        if rest.steps.is_empty() {
            return Ok(());
        }
        let document = rest.document().map_err(|error| chain(&error))?;
        let gate = Gate::new(&self, &document, stopped);
        let engine = Engine::new(stanch_runbook::Ports::new(
            Arc::new(gate),
            Arc::clone(&ports.clock),
            Arc::clone(&self.operations),
            Arc::clone(&ports.ids),
        ));
        let mut options = Options::default();
        options.document_name.clone_from(&self.plan.remediation);
        options.account = Some(self.plan.account.clone());
        options.region = Some(self.plan.region.clone());
        let outcome = engine
            .run(Arc::new(document), &Map::new(), options)
            .await
            .map_err(|error| chain(&error))?;
        if outcome.status() == AutomationStatus::Success {
            return Ok(());
        }
        let failed = outcome
            .steps
            .iter()
            .rev()
            .find_map(|step| Some((&step.name, step.error.as_ref()?)));
        Err(match failed {
            Some((step, error)) => format!("step `{step}`: {}", chain(error)),
            None => format!("the run ended as {:?}", outcome.status()),
        })
    }
}

impl Gate {
    /// `document` is what of the plan is still to be done.
    fn new(running: &Running<'_>, document: &Document, stopped: Arc<OnceLock<Held>>) -> Self {
        let mut remaining = Vec::new();
        for (index, step) in (0_u32..).zip(&running.plan.steps) {
            let PlannedAction::Call { call, .. } = &step.action else {
                continue;
            };
            let Some(lowered) = document.steps.iter().find(|one| one.name == step.name) else {
                continue;
            };
            remaining.push(Request {
                index,
                name: step.name.clone(),
                call: call.clone(),
                outputs: lowered.outputs.clone(),
            });
        }
        remaining.reverse();
        Self {
            api: Arc::clone(&running.api),
            operations: Arc::clone(&running.operations),
            journal: Arc::clone(&running.journal),
            switch: running.switch.clone(),
            until: running.until_when.clone(),
            stopped,
            phase: running.phase,
            progress: Mutex::new(Progress {
                remaining,
                outputs: running.outputs.clone(),
            }),
        }
    }

    async fn write(&self, call: &Call) -> Result<Reply, CallError> {
        let forbidden = |why: String| CallError::new(CallErrorKind::Forbidden, call, why);
        let mut progress = self.progress.lock().await;
        let Some(next) = progress.remaining.last() else {
            return Err(forbidden(
                "not sent: the plan has no further request".to_owned(),
            ));
        };
        let expected = Call {
            params: bind(&next.call.params, &progress.outputs),
            ..next.call.clone()
        };
        if self.operations.canonical(expected) != *call {
            return Err(forbidden(format!(
                "not sent: the plan's next request is `{}`",
                next.call
            )));
        }
        if let Some(reason) = self.switch.stops().await {
            let forbidden = forbidden(format!("not sent: {reason}"));
            self.stopped.get_or_init(|| Held::Paused(reason));
            return Err(forbidden);
        }
        if let Some(why) = self.until.over() {
            self.stopped.get_or_init(|| Held::OutOfTime);
            return Err(forbidden(format!("not sent: {why}")));
        }
        let started = Event::StepStarted(StepStarted {
            phase: self.phase,
            index: next.index,
            name: next.name.clone(),
            call: call.clone(),
            call_hash: Digest::of(call)
                .map_err(|e| forbidden(e.to_string()))?
                .to_string(),
        });
        self.journal
            .lock()
            .await
            .write([started])
            .await
            .map_err(|error| {
                forbidden(format!("not sent: it could not be recorded first: {error}"))
            })?;

        let answer = self.api.call(call).await;

        let Some(sent) = progress.remaining.pop() else {
            return answer;
        };
        let (outcome, request_id, outputs) = match &answer {
            Ok(reply) => {
                let outputs: Map<String, Value> = sent
                    .outputs
                    .iter()
                    // The engine fails the step where an answer is not what was declared.
                    .filter_map(|output| {
                        Some((output.name.clone(), output.of(&reply.output).ok()??))
                    })
                    .collect();
                (
                    StepOutcome::Ok,
                    reply.request_id.clone(),
                    Value::Object(outputs),
                )
            }
            Err(error) => {
                let failed = StepOutcome::Failed {
                    kind: error.kind,
                    code: error.code.clone(),
                    message: error.message.clone(),
                };
                (failed, error.request_id.clone(), Value::Null)
            }
        };
        progress.outputs.insert(sent.name, outputs.clone());
        let finished = Event::StepFinished(StepFinished {
            phase: self.phase,
            index: sent.index,
            outcome,
            request_id,
            outputs,
        });
        // If this cannot be stored the request stays in flight, and recovery looks at the resource.
        if let Err(error) = self.journal.lock().await.write([finished]).await {
            progress.remaining.clear();
            return Err(forbidden(format!(
                "sent, but its answer could not be recorded: {error}"
            )));
        }
        answer
    }
}

#[async_trait]
impl Api for Gate {
    async fn call(&self, call: &Call) -> Result<Reply, CallError> {
        let call = self.operations.canonical(call.clone());
        if self.operations.is_read(&call) {
            self.api.call(&call).await
        } else {
            self.write(&call).await
        }
    }
}

/// `params` with every `{{ step.Output }}` that has been answered replaced by its value.
pub(crate) fn bind(params: &Value, outputs: &Map<String, Value>) -> Value {
    match params {
        Value::String(text) => answered(text, outputs)
            .cloned()
            .unwrap_or_else(|| json!(text)),
        Value::Array(items) => items.iter().map(|item| bind(item, outputs)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), bind(value, outputs)))
            .collect(),
        other => other.clone(),
    }
}

fn answered<'o>(text: &str, outputs: &'o Map<String, Value>) -> Option<&'o Value> {
    let reference = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (step, output) = reference.split_once('.')?;
    outputs.get(step)?.get(output)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use stanch_catalog::{Catalog, Subject};
    use stanch_ledger::{
        Ledger, MemoryLedger, Verdict,
        testing::{decided, key, planned, received, started},
    };
    use stanch_models::Models;
    use stanch_runbook::{Functions, Ids, parse};
    use stanch_testkit::{FakeAws, FakeClock, Tap};
    use stanch_types::{Access, AccountId, Region, Scope, Sessions as _};

    use super::*;
    use crate::{
        ModelSecrets, Settings,
        observe::observe,
        switch::{Place, Switch},
    };

    /// Says this, whatever it is asked.
    struct Says(Value);

    #[async_trait]
    impl Functions for Says {
        fn knows(&self, _: &str) -> bool {
            true
        }

        async fn call(&self, _: &str, _: &Value) -> Result<Value, String> {
            Ok(json!({"Payload": self.0}))
        }
    }

    struct NoIds;

    impl Ids for NoIds {
        fn next(&self) -> String {
            "00000000-0000-4000-8000-000000000000".to_owned()
        }
    }

    /// Runs `document` behind the gate of the plan that blocks public access to the bucket `logs`.
    /// Gives the writes that AWS got, and how it ended.
    async fn behind_the_gate(document: &str, function: Value) -> (Vec<Call>, AutomationStatus) {
        let account: AccountId = "000000000001".parse().unwrap();
        let region: Region = "eu-central-1".parse().unwrap();
        let aws = FakeAws::new(std::slice::from_ref(&account));
        let root = aws.account(&account, &region);
        for bucket in ["logs", "other"] {
            let create = Call::new("s3", "CreateBucket", json!({"Bucket": bucket}));
            root.call(&create).await.unwrap();
        }
        let models = Arc::new(Models::embedded().unwrap());
        let remediation = Catalog::embedded().get("S3BlockPublicAccess").unwrap();
        let subject = Subject {
            account: account.clone(),
            partition: region.partition(),
            region: region.clone(),
            time: Timestamp::UNIX_EPOCH,
            resource: stanch_catalog::ResourceId {
                kind: "AwsS3Bucket".to_owned(),
                id: "arn:aws:s3:::logs".to_owned(),
            },
            parameters: Map::from_iter([("Bucket".to_owned(), json!("logs"))]),
        };
        let observed = observe(&*root, &models, remediation.observe(subject)).await;
        let plan = observed.unwrap().plan().unwrap();

        let ledger = Arc::new(MemoryLedger::new());
        let clock = Arc::new(FakeClock::default()) as Arc<dyn Clock>;
        let id = key(1).remediation_id();
        let now = clock.now();
        ledger.admit(key(1), received(1), now).await.unwrap();
        let events = vec![
            planned(false),
            decided(Verdict::Run),
            Event::Started(started(1)),
        ];
        ledger.append(id, 1, events, now).await.unwrap();
        let secrets = Arc::new(ModelSecrets::new(Arc::clone(&models)));
        let journal = Journal::open(ledger.clone(), Arc::clone(&clock), secrets, id)
            .await
            .unwrap();

        let tap = Tap::new(Arc::new(aws));
        let scope = Scope {
            account,
            region,
            session_name: "test".to_owned(),
            access: Access::Policy("{}".to_owned()),
        };
        let operations = Arc::clone(&models) as Arc<dyn Operations>;
        let settings = Settings::default();
        let place = Place::of(&received(1), &settings, &Catalog::embedded());
        let running = Running {
            plan: &plan,
            skip: &[],
            until: None,
            outputs: Map::new(),
            phase: Phase::Apply,
            api: tap.open(&scope).await.unwrap(),
            operations: Arc::clone(&operations),
            journal: Arc::new(Mutex::new(journal)),
            switch: Switch::of(ledger, &settings, place),
            until_when: Until {
                deadline: Arc::default(),
                clock: Arc::clone(&clock),
                request: Duration::ZERO,
                tenure: None,
            },
        };
        let stopped = Arc::new(OnceLock::new());
        let gate = Gate::new(&running, &plan.document().unwrap(), stopped);
        let mut ports =
            stanch_runbook::Ports::new(Arc::new(gate), clock, operations, Arc::new(NoIds));
        ports.functions = Arc::new(Says(function));
        let document = parse(document).document.unwrap();
        let outcome = Engine::new(ports)
            .run(Arc::new(document), &Map::new(), Options::default())
            .await
            .unwrap();
        (tap.writes(), outcome.status())
    }

    const BLOCK: &str = "{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}";

    fn block(name: &str, bucket: &str) -> String {
        format!(
            "  - {{name: {name}, action: aws:executeAwsApi, inputs: {{Service: s3, Api: PutPublicAccessBlock, Bucket: '{bucket}', ExpectedBucketOwner: '000000000001', PublicAccessBlockConfiguration: {BLOCK}}}}}\n"
        )
    }

    fn document(steps: &[&str]) -> String {
        format!("schemaVersion: '0.3'\nmainSteps:\n{}", steps.concat())
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_planned_is_sent() {
        let text = document(&[&block("Block", "logs")]);
        let (writes, status) = behind_the_gate(&text, Value::Null).await;
        assert_eq!((writes.len(), status), (1, AutomationStatus::Success));
    }

    #[tokio::test(start_paused = true)]
    async fn a_function_that_misbehaves() {
        let ask = "  - {name: Ask, action: aws:invokeLambdaFunction, inputs: {FunctionName: which}, outputs: [{Name: Bucket, Selector: $.Payload.Bucket, Type: String}]}\n";
        let text = document(&[ask, &block("Block", "{{ Ask.Bucket }}")]);
        let (writes, status) = behind_the_gate(&text, json!({"Bucket": "logs"})).await;
        assert_eq!((writes.len(), status), (1, AutomationStatus::Success));
        let (writes, status) = behind_the_gate(&text, json!({"Bucket": "other"})).await;
        assert_eq!((writes.len(), status), (0, AutomationStatus::Failed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_that_was_tampered_with() {
        let delete = "  - {name: Delete, action: aws:executeAwsApi, inputs: {Service: s3, Api: DeleteBucketPolicy, Bucket: logs}}\n";
        let check = async |steps: &[&str], sent: usize| {
            let text = document(steps);
            let (writes, status) = behind_the_gate(&text, Value::Null).await;
            assert_eq!(
                (writes.len(), status),
                (sent, AutomationStatus::Failed),
                "{text}"
            );
        };
        check(&[delete, &block("Block", "logs")], 0).await;
        check(&[&block("Block", "logs"), delete], 1).await;
        check(&[&block("Block", "logs"), &block("Again", "logs")], 1).await;
        check(&[&block("Block", "other")], 0).await;
        let weaker =
            block("Block", "logs").replace("BlockPublicPolicy: true", "BlockPublicPolicy: false");
        check(&[&weaker], 0).await;
        let less = block("Block", "logs").replace("BlockPublicPolicy: true, ", "");
        check(&[&less], 0).await;
        let more = block("Block", "logs").replace(
            "Bucket: 'logs'",
            "Bucket: 'logs', ChecksumAlgorithm: SHA256",
        );
        check(&[&more], 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_leads_to_another_branch() {
        let look = "  - {name: Look, action: aws:executeAwsApi, inputs: {Service: s3, Api: GetBucketPolicy, Bucket: logs}, onFailure: step:Delete, nextStep: Block}\n";
        let delete = "  - {name: Delete, action: aws:executeAwsApi, inputs: {Service: s3, Api: DeletePublicAccessBlock, Bucket: logs}, isEnd: true}\n";
        let text = document(&[look, &block("Block", "logs"), delete]);
        let (writes, status) = behind_the_gate(&text, Value::Null).await;
        assert_eq!((writes.len(), status), (0, AutomationStatus::Failed));
    }
}
