//! Channels that take several requests, against a receiver.

use serde_json::json;
use stanch_hub::{Message, Notifier as _};
use stanch_notify::{
    Channel, EventBus, Jira, Login, Notice, PagerDuty, ServiceNow, Slack, Subscriber, Teams,
};
use stanch_types::{HttpRequest, Secret};

use crate::{
    receiver::{Answer, Got, Receiver},
    world::{Scripted, asking, failed, fixed, record, sender},
};

fn login() -> Login {
    Login::Bearer(Secret::new("a-token".to_owned()))
}

fn says(body: serde_json::Value) -> Answer {
    Answer::Says(200, "", body.to_string())
}

/// Delivers to a channel at a receiver that answers so.
async fn deliver(
    channel: impl FnOnce(&str) -> Box<dyn Channel>,
    message: &Message,
    answers: Vec<Answer>,
) -> (Result<(), String>, Vec<Got>) {
    let receiver = Receiver::new(answers);
    let channel = channel(&receiver.url);
    let told = sender().deliver(&*channel, &Notice::new(message)).await;
    (told, receiver.got())
}

fn lines(got: &[Got]) -> Vec<&str> {
    let ends = |got: &'_ Got| got.line.find('?').unwrap_or(got.line.len() - 9);
    got.iter().map(|got| &got.line[..ends(got)]).collect()
}

#[tokio::test]
async fn a_change_request_is_made_when_an_approval_is_asked() {
    let none = says(json!({"result": []}));
    let made = says(json!({"result": {"sys_id": "46e18c0fa9fe"}}));
    let servicenow = |url: &str| Box::new(ServiceNow::new(url, login())) as Box<dyn Channel>;
    let (told, got) = deliver(servicenow, &asking(), vec![none, made]).await;
    assert_eq!(told, Ok(()));
    let table = "/api/now/table/change_request";
    assert_eq!(
        lines(&got),
        [format!("GET {table}"), format!("POST {table}")]
    );
    assert!(
        got[0]
            .line
            .contains("correlation_id%3D6f1c0000-0000-4000-8000-000000000000")
    );
    assert_eq!(got[0].header("authorization"), Some("Bearer a-token"));
    assert_eq!(
        got[1].json()["correlation_id"],
        "6f1c0000-0000-4000-8000-000000000000"
    );
}

#[tokio::test]
async fn it_is_found_again_and_closed_by_the_states_that_the_instance_asks_for() {
    let found = || says(json!({"result": [{"sys_id": "46e18c0fa9fe", "state": "-1"}]}));
    let servicenow = |url: &str| {
        let states = ["0", "3"].map(str::to_owned).to_vec();
        Box::new(ServiceNow::new(url, login()).closing_by(states)) as Box<dyn Channel>
    };
    let ok = || says(json!({"result": {}}));
    let (told, got) = deliver(servicenow, &fixed(), vec![found(), ok(), ok()]).await;
    assert_eq!(told, Ok(()));
    let change = "/api/now/table/change_request/46e18c0fa9fe";
    assert_eq!(
        lines(&got)[1..],
        [format!("PATCH {change}"), format!("PATCH {change}")]
    );
    assert_eq!(got[1].json(), json!({"state": "0"}));
    let last = got[2].json();
    assert_eq!(
        (&last["state"], &last["close_code"]),
        (&json!("3"), &json!("successful"))
    );
    // Refused: cancelled. Asked again: a note.
    let refused = Message {
        status: "Refused".to_owned(),
        ..failed()
    };
    let (told, got) = deliver(servicenow, &refused, vec![found(), ok()]).await;
    assert_eq!((told, &got[1].json()["state"]), (Ok(()), &json!("4")));
    let (told, got) = deliver(servicenow, &asking(), vec![found(), ok()]).await;
    assert_eq!((told, got[1].json().get("state")), (Ok(()), None));
    // Closed already: what happens later is a note.
    let closed = says(json!({"result": [{"sys_id": "46e18c0fa9fe", "state": "3"}]}));
    let undone = Message {
        status: "Undone".to_owned(),
        ..fixed()
    };
    let (told, got) = deliver(servicenow, &undone, vec![closed, ok()]).await;
    assert_eq!((told, got[1].json().get("state")), (Ok(()), None));
}

#[tokio::test]
async fn what_was_never_asked_or_begun_is_no_change() {
    let servicenow = |url: &str| Box::new(ServiceNow::new(url, login())) as Box<dyn Channel>;
    let none = || says(json!({"result": []}));
    let (told, got) = deliver(servicenow, &failed(), vec![none()]).await;
    assert_eq!((told, got.len()), (Ok(()), 1));
    // A fix whose beginning was not told is made and closed at once.
    let made = says(json!({"result": {"sys_id": "46e18c0fa9fe"}}));
    let (told, got) = deliver(servicenow, &fixed(), vec![none(), made, says(json!({}))]).await;
    assert_eq!((told, got.len()), (Ok(()), 3));
}

#[tokio::test]
async fn an_attempt_whose_answer_was_lost_makes_no_second_change() {
    let none = says(json!({"result": []}));
    let found = says(json!({"result": [{"sys_id": "46e18c0fa9fe", "state": "-5"}]}));
    let servicenow = |url: &str| Box::new(ServiceNow::new(url, login())) as Box<dyn Channel>;
    let answers = vec![none, Answer::Closes, found, says(json!({}))];
    let (told, got) = deliver(servicenow, &asking(), answers).await;
    assert_eq!(told, Ok(()));
    let methods: Vec<&str> = lines(&got)
        .iter()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(methods, ["GET", "POST", "GET", "PATCH"]);
}

#[tokio::test]
async fn ids_that_are_none_go_into_no_query_and_no_path() {
    let servicenow = |url: &str| Box::new(ServiceNow::new(url, login())) as Box<dyn Channel>;
    let odd = Message {
        remediation_id: "x^active=true".to_owned(),
        ..asking()
    };
    let (told, got) = deliver(servicenow, &odd, vec![200.into()]).await;
    assert_eq!(
        (told, got.len()),
        (Err("the remediation's id is none".to_owned()), 0)
    );
    let evil = says(json!({"result": [{"sys_id": "../../sys_user", "state": "-5"}]}));
    let (told, got) = deliver(
        servicenow,
        &fixed(),
        vec![evil, says(json!({})), says(json!({}))],
    )
    .await;
    assert_eq!(
        (told, got.len()),
        (Err("it gave no `sys_id`".to_owned()), 2)
    );
    let page = Answer::Says(200, "", "<html>".to_owned());
    let (told, _) = deliver(servicenow, &fixed(), vec![page]).await;
    assert_eq!(
        told,
        Err("it did not answer with JSON; is the address right?".to_owned())
    );
}

#[tokio::test]
async fn an_issue_is_made_once_and_then_commented_and_done() {
    let jira =
        |url: &str| Box::new(Jira::new(url, login(), "SEC").done_by("Done")) as Box<dyn Channel>;
    let none = || says(json!({"issues": []}));
    let found = || says(json!({"issues": [{"key": "SEC-7"}]}));
    let (told, got) = deliver(jira, &failed(), vec![none(), says(json!({"key": "SEC-7"}))]).await;
    assert_eq!(told, Ok(()));
    assert_eq!(
        lines(&got),
        ["GET /rest/api/3/search/jql", "POST /rest/api/3/issue"]
    );
    // What went well without an issue needs none.
    let (told, got) = deliver(jira, &fixed(), vec![none()]).await;
    assert_eq!((told, got.len()), (Ok(()), 1));
    let transitions =
        says(json!({"transitions": [{"id": "11", "name": "To Do"}, {"id": "31", "name": "Done"}]}));
    let answers = vec![found(), says(json!({})), transitions, Answer::from(204)];
    let (told, got) = deliver(jira, &fixed(), answers).await;
    assert_eq!(told, Ok(()));
    assert_eq!(
        lines(&got)[1..],
        [
            "POST /rest/api/3/issue/SEC-7/comment",
            "GET /rest/api/3/issue/SEC-7/transitions",
            "POST /rest/api/3/issue/SEC-7/transitions",
        ]
    );
    assert_eq!(got[3].json(), json!({"transition": {"id": "31"}}));
    let other = says(json!({"transitions": []}));
    let (told, _) = deliver(jira, &fixed(), vec![found(), says(json!({})), other]).await;
    assert_eq!(
        told,
        Err("the issue has no transition `Done` where it stands".to_owned())
    );
}

#[tokio::test]
async fn single_requests_go_out_and_troubles_are_told() {
    let slack = |url: &str| Box::new(Slack::new(Secret::new(url.to_owned()))) as Box<dyn Channel>;
    let (told, got) = deliver(slack, &fixed(), vec![500.into(), 200.into()]).await;
    assert_eq!((told, got.len()), (Ok(()), 2));
    let no = Answer::Says(403, "", "action_prohibited".to_owned());
    let (told, _) = deliver(slack, &fixed(), vec![no]).await;
    assert_eq!(told, Err("it answered 403: action_prohibited".to_owned()));
    let teams = |url: &str| Box::new(Teams::new(Secret::new(url.to_owned()))) as Box<dyn Channel>;
    let (told, got) = deliver(teams, &fixed(), vec![202.into()]).await;
    assert_eq!(
        (told, got[0].json()["type"].clone()),
        (Ok(()), json!("message"))
    );
}

fn incident(request: &HttpRequest) -> (String, String) {
    let body: serde_json::Value = serde_json::from_str(request.body.reveal()).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("event_action"), text("dedup_key"))
}

#[test]
fn incidents_are_for_what_is_critical_and_end_with_it() {
    let pagerduty = PagerDuty::new(stanch_notify::ENQUEUE, Secret::new("key".to_owned()));
    let takes = |message: &Message| pagerduty.takes(&Notice::new(message));
    let of = |message: &Message| incident(&pagerduty.request(&Notice::new(message)));
    let critical = |message: Message| Message {
        severity: "CRITICAL".to_owned(),
        ..message
    };
    assert!(!takes(&fixed()) && takes(&failed()) && takes(&critical(asking())));
    let opened = of(&failed());
    // Another remediation of the same finding, which went well.
    let later = critical(Message {
        remediation_id: "7f1c0000-0000-4000-8000-000000000000".to_owned(),
        ..fixed()
    });
    assert!(takes(&later));
    let resolved = of(&later);
    assert_eq!(
        (opened.0.as_str(), resolved.0.as_str()),
        ("trigger", "resolve")
    );
    assert_eq!(opened.1, resolved.1);
    assert!(opened.1.len() <= 255);
    let elsewhere = Message {
        account: "333333333333".to_owned(),
        ..failed()
    };
    assert_ne!(of(&elsewhere).1, opened.1);
    // Neither fixed nor put back is urgent whatever the severity; put back after a failure is not over.
    let stuck = Message {
        urgent: true,
        status: "UndoFailed".to_owned(),
        ..fixed()
    };
    assert!(takes(&stuck));
    assert_eq!(of(&stuck).0, "trigger");
    let undone = Message {
        status: "Undone".to_owned(),
        ..failed()
    };
    assert_eq!(of(&undone).0, "trigger");
    let wanted = Message {
        status: "Undone".to_owned(),
        ..fixed()
    };
    assert!(takes(&wanted));
    assert_eq!(of(&wanted).0, "resolve");
    // What threat intelligence knows is urgent below `CRITICAL`, too, and over once it is fixed.
    let threat = |message: Message, urgent: bool| Message {
        urgent,
        known_threat: true,
        ..message
    };
    let (asked, done) = (threat(asking(), true), threat(fixed(), false));
    assert!(takes(&asked) && takes(&done));
    assert_eq!(
        (of(&asked).0.as_str(), of(&done).0.as_str()),
        ("trigger", "resolve")
    );
}

#[tokio::test]
async fn an_event_that_was_not_taken_is_a_failure() {
    let refused = json!({"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]});
    let taken = json!({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]});
    let bus = EventBus::new(Scripted::new(vec![Ok(refused), Ok(taken)]), "default");
    let error = bus
        .tell(&fixed(), &record("Success"), &[])
        .await
        .unwrap_err();
    assert_eq!(
        error.reason,
        "the event was not taken: ThrottlingException: slow down"
    );
    assert!(bus.tell(&fixed(), &record("Success"), &[]).await.is_ok());
}

#[test]
fn who_is_not_meant_is_not_asked() {
    let key = Secret::new("key".to_owned());
    let channel = Box::new(PagerDuty::new(stanch_notify::ENQUEUE, key));
    let pagerduty = Subscriber::new("pagerduty", channel, sender());
    assert!(!pagerduty.wants(&asking()) && !pagerduty.follows());
    let servicenow = ServiceNow::new("https://example.service-now.example", login());
    assert!(Subscriber::new("servicenow", Box::new(servicenow), sender()).follows());
}
