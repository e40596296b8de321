//! What would be done about an event: the plans, without an entry in the ledger and without a write.

use serde::Serialize;
use stanch_catalog::{Plan, Remediation};
use stanch_guard::Explanation;
use stanch_ledger::{Decided, Digest, LedgerError, Received, Verdict};
use stanch_types::{Incoming, chain, event};

use crate::{
    Hub,
    intake::{Buried, Skipped, Source},
    observe::observe,
    pipeline::PlanFailure,
    secrets::mask_plan,
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
    /// The plan, where there is one, with secrets masked.
    pub plan: Option<Plan>,
    /// Its hash, as it is.
    pub plan_hash: Option<String>,
    /// What the guard would say.
    pub verdict: Option<Verdict>,
    /// The guard's reasons.
    pub reasons: Vec<String>,
    /// Why there is no plan.
    pub error: Option<String>,
}

/// A finding with the guard's decision about it, explained.
pub struct Explained {
    /// The finding.
    pub received: Received,
    /// The decision, or why there is none.
    pub explanation: Result<Explanation, String>,
}

/// What the guard says to one resource of a finding, without a look at the resource.
pub struct Judged {
    /// The finding.
    pub received: Received,
    /// The answer, or why there is none: then nothing may be done.
    pub answer: Result<Decided, String>,
}

impl Hub {
    /// Plans what would be done about an event. Reads are made; nothing is written, neither to AWS
    /// nor to the ledger.
    pub async fn preview(&self, source: &Source, bytes: &[u8]) -> Preview {
        let mut preview = self.preview_open(source, bytes).await;
        for one in &mut preview.findings {
            let mut secrets = match &one.plan {
                Some(plan) => self.secrets_in(plan),
                None => self.secrets(),
            };
            if let Some(plan) = &mut one.plan {
                mask_plan(&mut secrets, plan);
            }
            secrets.mask(&mut one.received.subject);
        }
        preview
    }

    /// The same with secrets in it: for whoever compares plans, and shows none.
    pub async fn preview_open(&self, source: &Source, bytes: &[u8]) -> Preview {
        let mut preview = Preview::default();
        for incoming in self.read(bytes).await {
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
                Incoming::Executed(executed) => preview.skipped.push(Skipped {
                    finding: executed.id,
                    reason: "it tells of an execution, and of no finding".to_owned(),
                }),
                Incoming::Unreadable { problem, payload } => preview.unreadable.push(Buried {
                    id: Digest::of(&String::from(payload)).unwrap_or(Digest::ZERO),
                    reason: problem.reason,
                    hint: problem.hint,
                }),
            }
        }
        preview
    }

    /// Asks the guard about an event's findings without looking at any resource: what the change may
    /// touch is unknown, and counts as that. Nothing is read but the ledger's counts, and nothing written.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn judge_findings(
        &self,
        source: &Source,
        bytes: &[u8],
    ) -> Result<Vec<Judged>, LedgerError> {
        let mut judged = Vec::new();
        for incoming in event::read(bytes, &self.reading_options()) {
            if let Incoming::Accepted { finding, route } = incoming {
                for resource in &finding.resources {
                    let received = self.received(source, &finding, resource, &route);
                    let remediation = match &received.problem {
                        Some(problem) => Err(problem.clone()),
                        None => self.remediation(&received),
                    };
                    let answer = match remediation {
                        Err(problem) => Err(problem),
                        Ok(remediation) => Ok(self.unseen(&received, &remediation).await?),
                    };
                    judged.push(Judged { received, answer });
                }
            }
        }
        Ok(judged)
    }

    /// Says why the guard decides about an event's findings as it does. Reads are made; nothing is
    /// written.
    pub async fn explain(&self, source: &Source, bytes: &[u8]) -> Vec<Explained> {
        let mut explained = Vec::new();
        for incoming in self.read(bytes).await {
            if let Incoming::Accepted { finding, route } = incoming {
                for resource in &finding.resources {
                    let received = self.received(source, &finding, resource, &route);
                    let explanation = match &received.problem {
                        Some(problem) => Err(problem.clone()),
                        None => self.explain_one(&received).await,
                    };
                    explained.push(Explained {
                        received,
                        explanation,
                    });
                }
            }
        }
        explained
    }

    async fn explain_one(&self, received: &Received) -> Result<Explanation, String> {
        let remediation = self.remediation(received)?;
        let mut plan = self.plan_of(&remediation, received).await?;
        let explained = self.explained(received, &remediation, &mut plan).await;
        explained.map_err(|error| chain(&error))
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
                if let Some(Decided {
                    verdict, reasons, ..
                }) = answer
                {
                    previewed.verdict = Some(verdict);
                    previewed.reasons = reasons;
                }
            }
        }
        previewed
    }

    async fn plan_now(&self, received: &Received) -> Result<(Plan, Option<Decided>), String> {
        let remediation = self.remediation(received)?;
        let mut plan = self.plan_of(&remediation, received).await?;
        if plan.compliant {
            return Ok((plan, None));
        }
        let foreseen = self.foreseen(received, &remediation, &mut plan).await;
        let answer = foreseen.map_err(|error| chain(&error))?;
        Ok((plan, Some(answer)))
    }

    async fn plan_of(
        &self,
        remediation: &Remediation,
        received: &Received,
    ) -> Result<Plan, String> {
        let planned = async {
            let subject = serde_json::from_value(received.subject.clone())?;
            let api = self.reading(remediation, received).await?;
            let observed = observe(&*api, &self.models, remediation.observe(subject)).await?;
            Ok::<Plan, PlanFailure>(observed.plan()?)
        };
        planned.await.map_err(|error| chain(&error))
    }
}
