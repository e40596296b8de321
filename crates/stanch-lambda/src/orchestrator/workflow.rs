//! The state machine's side of it: what is handed to it, and the stages that it calls. All stages look at
//! the ledger first, so that one that is called twice does nothing twice.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use stanch_hub::{RequestError, Worked};
use stanch_ledger::{RemediationId, State, Status};
use stanch_types::{Call, CallError, chain, hex};

use super::{Run, done};
use crate::Failure;

/// How long a step that is under way is left alone, in seconds.
const STEP: i64 = 30;

/// The longest that an execution waits for something, in seconds: a day less than it may live
/// (`stanch-deploy/templates/workflow.yaml`).
const LONGEST: i64 = 14 * 24 * 60 * 60;

/// How many remediations of one execution run at once, if nothing else is said.
const AT_ONCE: u32 = 5;

/// The execution that works on these: the same for the same, whoever hands them over. At most 80
/// characters, <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>.
fn execution_name(ids: &[RemediationId]) -> String {
    match ids {
        // Derived from the idempotency key itself.
        [one] => one.to_string(),
        many => {
            let mut names: Vec<String> = many.iter().map(ToString::to_string).collect();
            names.sort_unstable();
            format!("many-{}", hex(&Sha256::digest(names.join(" "))))
        }
    }
}

impl Run<'_> {
    /// Starts an execution that goes on with these. Where there is no state machine, or it does not
    /// answer, the sweep does.
    pub(super) async fn hand_over(&self, ids: &[RemediationId]) {
        let Some(machine) = self.variables().optional("STEP_FUNCTION_ARN") else {
            tracing::info!(
                count = ids.len(),
                "left to the sweep: there is no state machine"
            );
            return;
        };
        self.start(machine, execution_name(ids), ids).await;
    }

    /// Starts an execution that goes on with this one when its change window opens: before the next sweep,
    /// a short window may be over. Its name has the day, since an execution of this remediation's own name
    /// may have ended before; and no more than that, since what is put off again and again is seen by every
    /// sweep.
    pub(super) async fn wait_for_window(&self, id: RemediationId, state: &State) {
        if let (Some(machine), Some(until)) = (
            self.variables().optional("STEP_FUNCTION_ARN"),
            self.opens(state),
        ) {
            let name = format!("{id}-{}", until.strftime("%F"));
            self.start(machine, name, &[id]).await;
        }
    }

    /// When a remediation that is deferred is to go on, if an execution can wait for that.
    fn opens(&self, state: &State) -> Option<Timestamp> {
        let until = state.deferred_until?;
        let left = until.duration_since(self.world.clock.now());
        (state.status == Status::Deferred && left.as_secs() < LONGEST).then_some(until)
    }

    async fn start(&self, machine: &str, name: String, ids: &[RemediationId]) {
        let at_once = self.variables().parsed("WORKFLOW_CONCURRENCY", "a number");
        let items: Vec<Value> = ids.iter().map(|id| json!({"remediationId": id})).collect();
        let input = json!({
            "remediations": items,
            "dependencies": [],
            "concurrency": at_once.ok().flatten().unwrap_or(AT_ONCE),
            // Each stands for itself: one that fails stops no other.
            "toleratedFailurePercentage": 100,
        });
        let start = Call::new(
            "stepfunctions",
            "StartExecution",
            json!({"stateMachineArn": machine, "name": name, "input": input.to_string()}),
        );
        match self.setup.own.call(&start).await {
            Ok(_) => tracing::info!(execution = name, "handed to the state machine"),
            Err(error) if error.code == "ExecutionAlreadyExists" => {}
            Err(error) => {
                let error = chain(&error);
                tracing::error!(execution = name, error, "left to the sweep");
            }
        }
    }

    /// Does what the state machine asks for.
    pub(super) async fn stage(&self, event: &Value) -> Result<Value, Failure> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let id = || {
            let id = text("remediationId").and_then(|id| id.parse().ok());
            id.ok_or_else(|| Failure::event("the stage names no remediation"))
        };
        match text("stage") {
            Some("continue") => self.go_on(id()?).await,
            Some("await-answer") => {
                let token = text("taskToken");
                let token = token.ok_or_else(|| Failure::event("there is no task token"))?;
                self.await_answer(id()?, token).await
            }
            Some("check-dependencies") => self.check(event.get("dependencies")).await,
            Some("roll-back") => self.roll_back(id()?, event).await,
            other => Err(Failure::event(format!(
                "there is no stage `{}`",
                other.unwrap_or_default()
            ))),
        }
    }

    /// Goes on with one remediation, and says what comes next.
    async fn go_on(&self, id: RemediationId) -> Result<Value, Failure> {
        self.go_on_with(id).await?;
        for (_, worked) in self.hub.drain().await {
            self.measure_end(id, &worked);
            match worked {
                Worked::Stands(state) | Worked::Stood(state) => {
                    self.answer_for(id, &state, true).await;
                    return Ok(self.next(&state));
                }
                Worked::Failed(error) => return Err(error.into()),
                Worked::Left => {}
            }
        }
        let (state, _) = self.hub.ledger().state(id).await?;
        Ok(self.next(&state))
    }

    fn next(&self, state: &State) -> Value {
        let until = |time: Timestamp| {
            let left = time.duration_since(self.world.clock.now()).as_secs();
            left.clamp(1, LONGEST)
        };
        let (next, seconds) = match state.status {
            Status::Success | Status::NothingToDo | Status::Skipped => ("fixed", 0),
            Status::Deferred | Status::Paused => match self.opens(state) {
                Some(opens) => ("wait", until(opens) + 1),
                // The sweep comes back to it, whenever that may be.
                None => ("left", 0),
            },
            Status::AwaitingApproval => {
                let expires = state.approval.as_ref().map(|asked| asked.request.expires);
                // A little more: the hub is to see that it has expired.
                (
                    "answer",
                    expires.map_or(STEP, |expires| until(expires) + STEP),
                )
            }
            status if status.is_final() => ("ended", 0),
            _ => ("wait", STEP),
        };
        json!({
            "next": next,
            "seconds": seconds,
            "status": state.status.to_string(),
            "error": state.error,
        })
    }

    /// Keeps the token that the state machine waits with, beside the hash of the plan that people were
    /// asked about. If they have answered meanwhile, so does this.
    async fn await_answer(&self, id: RemediationId, token: &str) -> Result<Value, Failure> {
        let (state, _) = self.hub.ledger().state(id).await?;
        let plan = state.plan.as_ref().map(|plan| plan.plan_hash.as_str());
        let expires = self.world.clock.now().as_second() + 15 * 24 * 60 * 60;
        let mut item = self.token_key(id)?;
        if let Some(item) = item.as_object_mut() {
            item.insert("Token".to_owned(), json!({"S": token}));
            item.insert("PlanHash".to_owned(), json!({"S": plan.unwrap_or("none")}));
            item.insert("ExpiresAt".to_owned(), json!({"N": expires.to_string()}));
        }
        let table = self.variables().text("STATE_TABLE")?;
        let put = Call::new(
            "dynamodb",
            "PutItem",
            json!({"TableName": table, "Item": item}),
        );
        self.setup.own.call(&put).await?;
        // After it is kept: an answer in between is seen here, one that comes later finds the token.
        let (state, _) = self.hub.ledger().state(id).await?;
        if state.status != Status::AwaitingApproval {
            self.answer(id).await;
        }
        Ok(done())
    }

    fn token_key(&self, id: RemediationId) -> Result<Value, Failure> {
        Ok(json!({"Key": {"S": format!("task-token/{id}")}, "Item": {"S": "token"}}))
    }

    /// Tells the state machine that people have answered, if it waits for that.
    pub(super) async fn answer(&self, id: RemediationId) {
        if self.variables().optional("STEP_FUNCTION_ARN").is_none() {
            return;
        }
        if let Err(failure) = self.answer_token(id).await {
            let (id, error) = (id.to_string(), failure.to_string());
            tracing::error!(
                remediation_id = id,
                error,
                "the state machine was not answered"
            );
        }
    }

    async fn answer_token(&self, id: RemediationId) -> Result<(), Failure> {
        let table = self.variables().text("STATE_TABLE")?;
        let key = self.token_key(id)?;
        let own = &self.setup.own;
        let named = json!({"TableName": table, "Key": key});
        let mut read = named.clone();
        if let Some(read) = read.as_object_mut() {
            read.insert("ConsistentRead".to_owned(), json!(true));
        }
        let found = own.call(&Call::new("dynamodb", "GetItem", read)).await?;
        let Some(token) = found.output.pointer("/Item/Token/S") else {
            return Ok(());
        };
        let answer = json!({"taskToken": token, "output": "{}"});
        let answer = Call::new("stepfunctions", "SendTaskSuccess", answer);
        match own.call(&answer).await {
            Ok(_) => {}
            Err(error) if is_over(&error) => {}
            Err(error) => return Err(error.into()),
        }
        own.call(&Call::new("dynamodb", "DeleteItem", named))
            .await?;
        Ok(())
    }

    /// Takes a change back for a person, who calls directly: nobody but this function may enter the account.
    /// That may take as long as the invocation may; what needs an approval, or waits for its time, is handed
    /// over.
    async fn roll_back(&self, id: RemediationId, event: &Value) -> Result<Value, Failure> {
        let by = event.get("by").and_then(Value::as_str);
        let by = by.ok_or_else(|| Failure::event("nobody is named who asks for it"))?;
        let is = |name: &str| event.get(name) == Some(&json!(true));
        match self.hub.rollback(id, by, is("dryRun"), is("force")).await {
            Ok(done) => {
                match done.status {
                    Some(Status::AwaitingApproval) => self.hand_over(&[id]).await,
                    Some(Status::Deferred) => {
                        let (state, _) = self.hub.ledger().state(id).await?;
                        self.wait_for_window(id, &state).await;
                    }
                    _ => {}
                }
                Ok(json!({ "done": done }))
            }
            Err(RequestError::Drift(drift)) => Ok(json!({ "drift": drift })),
            Err(error) => {
                if let RequestError::Ledger(error) = &error {
                    self.tell_of_break(id, error).await;
                }
                Ok(json!({
                    "error": chain(&error),
                    "hint": error.hint(),
                    "refused": error.is_refusal(),
                }))
            }
        }
    }

    /// Whether what has to be done before has been.
    async fn check(&self, dependencies: Option<&Value>) -> Result<Value, Failure> {
        let list = dependencies.and_then(Value::as_array);
        let list = list.ok_or_else(|| Failure::event("`dependencies` is no list"))?;
        let mut state = "met";
        for id in list {
            let id = id.as_str().and_then(|id| id.parse::<RemediationId>().ok());
            let id = id.ok_or_else(|| Failure::event("a dependency is no remediation's id"))?;
            let record = self.hub.ledger().record(id).await?;
            match record.status {
                Status::Success | Status::NothingToDo => {}
                status if status.is_final() => return Ok(json!({"state": "failed"})),
                _ => state = "pending",
            }
        }
        Ok(json!({ "state": state }))
    }
}

/// The state machine does not wait any more.
fn is_over(error: &CallError) -> bool {
    matches!(
        &*error.code,
        "TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_after_its_work() {
        let id = |n: u8| {
            format!("00000000-0000-5000-8000-0000000000{n:02}")
                .parse()
                .unwrap()
        };
        assert_eq!(execution_name(&[id(1)]), id(1).to_string());
        let both = execution_name(&[id(1), id(2)]);
        assert_eq!(both, execution_name(&[id(2), id(1)]));
        assert_ne!(both, execution_name(&[id(1), id(3)]));
        assert!(both.len() <= 80);
    }
}
