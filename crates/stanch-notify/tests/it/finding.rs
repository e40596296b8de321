//! What the finding's own system is told.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use stanch_hub::{Message, Notifier as _};
use stanch_ledger::Origin;
use stanch_notify::{ConfigRules, SecurityHub};
use stanch_types::{Access, Api, Call, CallError, CallErrorKind, Scope, Sessions};

use crate::world::{Scripted, asking, failed, fixed, record};

const PRODUCT: &str = "arn:aws:securityhub:us-east-1::product/aws/securityhub";

fn of(message: Message) -> Message {
    Message {
        origin: Some(Origin {
            product_arn: Some(PRODUCT.to_owned()),
            region: None,
            config_rule: Some("my-own-rule".to_owned()),
            is_shared: false,
        }),
        ..message
    }
}

fn workflow(message: &Message) -> Option<String> {
    let (_, call) = SecurityHub::update(message).unwrap();
    let status = call.params.pointer("/Workflow/Status")?;
    Some(status.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn findings_get_a_note_and_are_resolved_by_the_verified_fix_alone() {
    let aws = Scripted::new(vec![Ok(
        json!({"ProcessedFindings": [], "UnprocessedFindings": []}),
    )]);
    let (api, regions) = (aws.clone(), Arc::new(Mutex::new(Vec::new())));
    let asked = Arc::clone(&regions);
    let hub = SecurityHub::new(Arc::new(move |region| {
        asked.lock().unwrap().push(region.to_string());
        api.clone()
    }));
    assert!(hub.follows() && hub.wants(&of(fixed())) && !hub.wants(&fixed()));
    let mut elsewhere = of(fixed());
    elsewhere.origin.as_mut().unwrap().region = Some("eu-west-1".parse().unwrap());
    hub.tell(&elsewhere, &record("Success"), &[]).await.unwrap();
    assert_eq!(*regions.lock().unwrap(), ["eu-west-1"]);
    assert_eq!(
        aws.calls()[0].params,
        json!({
            "FindingIdentifiers": [{"Id": "finding-1", "ProductArn": PRODUCT}],
            "Note": {
                "Text": "Remediation 6f1c0000-0000-4000-8000-000000000000: Fixed: S3.8 on demo in payments (222222222222).",
                "UpdatedBy": "stanch",
            },
            "Workflow": {"Status": "RESOLVED"},
        })
    );
    let begun = Message {
        status: "Running".to_owned(),
        ..of(fixed())
    };
    for message in [of(failed()), of(asking()), begun] {
        assert_eq!(
            workflow(&message).as_deref(),
            Some("NOTIFIED"),
            "{}",
            message.status
        );
    }
    for status in ["Refused", "Skipped"] {
        let message = Message {
            status: status.to_owned(),
            ..of(failed())
        };
        assert_eq!(workflow(&message), None, "{status}");
    }
    let mut shared = of(fixed());
    shared.origin.as_mut().unwrap().is_shared = true;
    assert_eq!(workflow(&shared).as_deref(), Some("NOTIFIED"));
    let long = Message {
        error: Some("no ".repeat(1000)),
        ..of(failed())
    };
    let (_, call) = SecurityHub::update(&long).unwrap();
    assert_eq!(
        call.params["Note"]["Text"]
            .as_str()
            .unwrap()
            .chars()
            .count(),
        512
    );
}

#[tokio::test]
async fn what_was_not_processed_is_a_failure() {
    let unprocessed = json!({"ProcessedFindings": [], "UnprocessedFindings": [{
        "FindingIdentifier": {"Id": "finding-1", "ProductArn": PRODUCT},
        "ErrorCode": "FindingNotFound", "ErrorMessage": "Finding Not Found",
    }]});
    let aws = Scripted::new(vec![Ok(unprocessed)]);
    let hub = SecurityHub::new(Arc::new(move |_| aws.clone()));
    let error = hub
        .tell(&of(fixed()), &record("Success"), &[])
        .await
        .unwrap_err();
    assert_eq!(
        error.reason,
        "the finding was not updated: FindingNotFound: Finding Not Found"
    );
}

struct Members(Arc<Scripted>, Mutex<Vec<Scope>>);

#[async_trait]
impl Sessions for Members {
    async fn open(&self, scope: &Scope) -> Result<Arc<dyn Api>, CallError> {
        self.1.lock().unwrap().push(scope.clone());
        Ok(self.0.clone())
    }

    fn role_arn(&self, _: &Scope) -> String {
        String::new()
    }
}

#[tokio::test]
async fn the_rule_that_found_it_looks_again_by_a_session_for_that_alone() {
    let busy = CallError {
        code: "LimitExceededException".to_owned(),
        ..CallError::new(
            CallErrorKind::Rejected,
            &Call::new("config", "StartConfigRulesEvaluation", json!({})),
            "again",
        )
    };
    let aws = Scripted::new(vec![Ok(json!({})), Err(busy)]);
    let members = Arc::new(Members(aws.clone(), Mutex::default()));
    let rules = ConfigRules::new(members.clone());
    assert!(rules.wants(&of(fixed())) && !rules.wants(&of(failed())) && !rules.wants(&fixed()));
    rules
        .tell(&of(fixed()), &record("Success"), &[])
        .await
        .unwrap();
    assert_eq!(
        aws.calls()[0].to_string(),
        "config.StartConfigRulesEvaluation"
    );
    assert_eq!(
        aws.calls()[0].params,
        json!({"ConfigRuleNames": ["my-own-rule"]})
    );
    let scope = members.1.lock().unwrap()[0].clone();
    assert_eq!(
        (scope.account.as_str(), scope.region.as_str()),
        ("222222222222", "us-east-1")
    );
    let Access::Policy(policy) = scope.access else {
        panic!("{:?}", scope.access)
    };
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(
        policy["Statement"],
        json!([{
            "Effect": "Allow",
            "Action": "config:StartConfigRulesEvaluation",
            "Resource": "arn:aws:config:us-east-1:222222222222:config-rule/*",
        }])
    );
    let error = rules
        .tell(&of(fixed()), &record("Success"), &[])
        .await
        .unwrap_err();
    assert!(
        error.reason.contains("less than a minute ago"),
        "{}",
        error.reason
    );
}
