//! What would be done about an event: the plans, without an entry in the ledger and without a write.

use serde::Serialize;
use stanch_catalog::Plan;
use stanch_ledger::{Digest, Received, Verdict};
use stanch_types::{Incoming, chain, event};

use crate::{
    Hub,
    guard::{Answer, Case},
    intake::{Buried, Skipped, Source},
    observe::observe,
    pipeline::PlanFailure,
};

/// What would be done about an event.
#[derive(Debug, Default, Serialize)]
pub struct Preview {
    /// One for each resource of each finding.
    pub findings: Vec<Previewed>,
    /// Findings that need nothing.
    pub skipped: Vec<Skipped>,
    /// What could not be understood.
    pub unreadable: Vec<Buried>,
}

/// What would be done about one resource of a finding.
#[derive(Debug, Serialize)]
pub struct Previewed {
    /// The finding.
    pub received: Received,
    /// The plan, where there is one.
    pub plan: Option<Plan>,
    /// Its hash.
    pub plan_hash: Option<String>,
    /// What the guard would say.
    pub verdict: Option<Verdict>,
    /// The guard's reasons.
    pub reasons: Vec<String>,
    /// Why there is no plan.
    pub error: Option<String>,
}

impl Hub {
    /// Plans what would be done about an event. Reads are made; nothing is written, neither to AWS
    /// nor to the ledger.
    pub async fn preview(&self, source: &Source, bytes: &[u8]) -> Preview {
        let mut preview = Preview::default();
        for incoming in event::read(bytes, &self.reading_options()) {
            match incoming {
                Incoming::Accepted { finding, route } => {
                    for resource in &finding.resources {
                        let received = self.received(source, &finding, resource, &route);
                        preview.findings.push(self.preview_one(received).await);
                    }
                }
                Incoming::Skipped { id, reason, .. } => {
                    preview.skipped.push(Skipped {
                        finding: id.to_string(),
                        reason: reason.to_string(),
                    });
                }
                Incoming::Unreadable { problem, payload } => preview.unreadable.push(Buried {
                    id: Digest::of(&String::from(payload)).unwrap_or(Digest::ZERO),
                    reason: problem.reason,
                    hint: problem.hint,
                }),
            }
        }
        preview
    }

    async fn preview_one(&self, received: Received) -> Previewed {
        let mut previewed = Previewed {
            received,
            plan: None,
            plan_hash: None,
            verdict: None,
            reasons: Vec::new(),
            error: None,
        };
        if let Some(problem) = &previewed.received.problem {
            previewed.error = Some(problem.clone());
            return previewed;
        }
        match self.plan_now(&previewed.received).await {
            Err(error) => previewed.error = Some(error),
            Ok((plan, answer)) => {
                previewed.plan_hash = Some(plan.hash());
                previewed.plan = Some(plan);
                if let Some(Answer { verdict, reasons }) = answer {
                    previewed.verdict = Some(verdict);
                    previewed.reasons = reasons;
                }
            }
        }
        previewed
    }

    async fn plan_now(&self, received: &Received) -> Result<(Plan, Option<Answer>), String> {
        let remediation = self.remediation(received)?;
        let planned = async {
            let subject = serde_json::from_value(received.subject.clone())?;
            let api = self.reading(&remediation, received).await?;
            let observed = observe(&*api, &self.models, remediation.observe(subject)).await?;
            Ok::<Plan, PlanFailure>(observed.plan()?)
        };
        let plan = planned.await.map_err(|error| chain(&error))?;
        if plan.compliant {
            return Ok((plan, None));
        }
        let now = self.ports.clock.now();
        let case = Case {
            received,
            remediation: &remediation,
            plan: &plan,
            now,
        };
        let answer = self
            .ports
            .guard
            .decide(&case)
            .await
            .map_err(|error| error.to_string())?;
        let ceiling = self
            .ceiling(received)
            .await
            .map_err(|error| chain(&error))?;
        let answer = ceiling.over(answer, received.route);
        Ok((plan, Some(answer)))
    }
}
