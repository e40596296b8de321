//! Whether a plan may run: the port, and the guard that goes by a remediation's class.

use async_trait::async_trait;
use jiff::Timestamp;
use stanch_catalog::{Class, Plan, Remediation, Stage};
use stanch_ledger::{Received, Route, Verdict};

use crate::settings::Automatic;

/// What is asked.
pub struct Case<'a> {
    /// The finding.
    pub received: &'a Received,
    /// What is to be done about it.
    pub remediation: &'a Remediation,
    /// The requests.
    pub plan: &'a Plan,
    /// When.
    pub now: Timestamp,
}

/// An answer with its reasons, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is allowed.
    pub verdict: Verdict,
    /// Why.
    pub reasons: Vec<String>,
}

/// A guard that could not decide. That is a no.
#[derive(Debug, thiserror::Error)]
#[error("the guard could not decide: {0}")]
pub struct Undecided(pub String);

/// Decides whether a plan may run.
#[async_trait]
pub trait Guard: Send + Sync {
    /// The guard's name and version, for the ledger.
    fn name(&self) -> String;

    /// Decides.
    ///
    /// # Errors
    /// It could not; the caller takes that for a refusal.
    async fn decide(&self, case: &Case<'_>) -> Result<Answer, Undecided>;
}

/// Decides by class: `safe` runs, `guarded` runs when a person asked for it or the settings name it,
/// `destructive` always waits for an approval.
pub struct ClassGuard {
    automatic: Automatic,
}

impl ClassGuard {
    /// A guard with these settings.
    #[must_use]
    pub const fn new(automatic: Automatic) -> Self {
        Self { automatic }
    }

    fn judge(&self, class: Class, remediation: &str, route: Route) -> (Verdict, String) {
        let named = self.automatic.guarded.contains(remediation);
        match (class, route) {
            (Class::Destructive, _) => (
                Verdict::NeedsApproval,
                "something is lost by it: it always needs an approval".to_owned(),
            ),
            (_, Route::Manual) => (Verdict::Run, "a person asked for it".to_owned()),
            (Class::Safe, Route::Automatic) if self.automatic.safe => {
                (Verdict::Run, "no user can notice it".to_owned())
            }
            (Class::Guarded, Route::Automatic) if named => (
                Verdict::Run,
                format!("`automatic.guarded` names `{remediation}`"),
            ),
            (Class::Guarded, Route::Automatic) => (
                Verdict::NeedsApproval,
                format!(
                    "someone may notice it, and `automatic.guarded` does not name `{remediation}`"
                ),
            ),
            (Class::Safe, Route::Automatic) => {
                (Verdict::NeedsApproval, "`automatic.safe` is off".to_owned())
            }
        }
    }
}

#[async_trait]
impl Guard for ClassGuard {
    fn name(&self) -> String {
        "class".to_owned()
    }

    async fn decide(&self, case: &Case<'_>) -> Result<Answer, Undecided> {
        if case.plan.stage == Stage::Undo {
            return Ok(Answer {
                verdict: Verdict::Run,
                reasons: vec!["a person asked for it to be taken back".to_owned()],
            });
        }
        let class = case.remediation.safety.class;
        let (verdict, reason) = self.judge(class, &case.remediation.name, case.received.route);
        Ok(Answer {
            verdict,
            reasons: vec![reason],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn the_class_decides() {
        let strict = ClassGuard::new(settings::Automatic {
            safe: false,
            guarded: [].into(),
        });
        let usual = ClassGuard::new(settings::Automatic {
            safe: true,
            guarded: ["Named".to_owned()].into(),
        });
        let check = |guard: &ClassGuard, class, name, route, expected: Verdict| {
            assert_eq!(
                guard.judge(class, name, route).0,
                expected,
                "{class:?} {name} {route:?}"
            );
        };
        use Route::{Automatic, Manual};
        check(&usual, Class::Safe, "Any", Automatic, Verdict::Run);
        check(
            &strict,
            Class::Safe,
            "Any",
            Automatic,
            Verdict::NeedsApproval,
        );
        check(
            &usual,
            Class::Guarded,
            "Any",
            Automatic,
            Verdict::NeedsApproval,
        );
        check(&usual, Class::Guarded, "Named", Automatic, Verdict::Run);
        check(&strict, Class::Guarded, "Any", Manual, Verdict::Run);
        check(
            &usual,
            Class::Destructive,
            "Named",
            Automatic,
            Verdict::NeedsApproval,
        );
        check(
            &usual,
            Class::Destructive,
            "Named",
            Manual,
            Verdict::NeedsApproval,
        );
    }
}
