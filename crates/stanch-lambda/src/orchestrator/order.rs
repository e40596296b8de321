//! Events of our own: what the schedule and people's answers put on the queue.

use serde_json::Value;
use stanch_ledger::RemediationId;

/// What an event of ours asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To look for what was missed, deferred or got stuck.
    Sweep,
    /// To go on with a remediation: somebody has answered.
    Continue(RemediationId),
}

/// The largest that one of ours is; what is longer is a finding, or nothing.
const LONGEST: usize = 4_096;

/// The order in a message's body, if it is one: `{"source": "stanch", "detail-type": "Sweep"}`.
/// EventBridge lets only this account's own rules and callers say `stanch`, and the queue takes from
/// nobody else.
pub fn read(body: &str) -> Option<Order> {
    if body.len() > LONGEST {
        return None;
    }
    let event: Value = serde_json::from_str(body).ok()?;
    of(&event)
}

/// The same of an event that is read already.
pub fn of(event: &Value) -> Option<Order> {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    match (text("source")?, text("detail-type")?) {
        ("stanch", "Sweep") => Some(Order::Sweep),
        ("stanch", "Continue") => {
            let id = event.pointer("/detail/remediationId")?.as_str()?;
            id.parse().ok().map(Order::Continue)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ours_are_orders() {
        let id = "00000000-0000-5000-8000-000000000001";
        let go_on = format!(
            r#"{{"source":"stanch","detail-type":"Continue","detail":{{"remediationId":"{id}"}}}}"#
        );
        assert_eq!(read(&go_on), Some(Order::Continue(id.parse().unwrap())));
        let sweep = r#"{"source":"stanch","detail-type":"Sweep","detail":{}}"#;
        assert_eq!(read(sweep), Some(Order::Sweep));
        for other in [
            r#"{"source":"aws.config","detail-type":"Sweep","detail":{}}"#,
            r#"{"source":"stanch","detail-type":"Continue","detail":{"remediationId":"7"}}"#,
            r#"{"source":"stanch","detail-type":"Sweep""#,
            "[]",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
