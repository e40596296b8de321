//! When a delivery is tried again, and when it is given up.

use std::time::{Duration, Instant};

use serde_json::json;
use stanch_hub::{Message, Notifier as _};
use stanch_notify::{Filter, Forged, Notice, Patience, Subscriber, Webhook, verify};
use stanch_types::{Secret, SeverityLabel};

use crate::{
    receiver::{Answer, Got, Receiver},
    world::{failed, fixed, patient, record, sender},
};

async fn told(answers: Vec<Answer>) -> (Result<(), String>, Vec<Got>) {
    let receiver = Receiver::new(answers);
    let url = Secret::new(format!("{}/hook?secret=hunter2hunter2", receiver.url));
    let name = Webhook::name(&url);
    assert!(name.starts_with("webhook 127.0.0.1:") && !name.contains("hook?"));
    let webhook = Subscriber::new(name, Box::new(Webhook::new(url)), sender());
    let told = webhook.tell(&fixed(), &record("Success"), &[]).await;
    (told.map_err(|error| error.reason), receiver.got())
}

#[tokio::test]
async fn a_message_is_posted_as_the_topic_has_it() {
    let (result, got) = told(vec![200.into()]).await;
    assert_eq!(result, Ok(()));
    assert_eq!(got[0].line, "POST /hook?secret=hunter2hunter2 HTTP/1.1");
    assert_eq!(got[0].header("content-type"), Some("application/json"));
    assert_eq!(got[0].header("stanch-signature"), None);
    let body = got[0].json();
    let of_the_brief = [
        "RemediationId",
        "Status",
        "Account",
        "Resource",
        "Action",
        "ExecutedAt",
        "Finding",
    ];
    let names: Vec<&String> = body.as_object().unwrap().keys().take(7).collect();
    assert_eq!(names, of_the_brief);
    assert_eq!(
        (&body["Status"], &body["Finding"], &body["ExecutedAt"]),
        (
            &json!("Success"),
            &json!("A bucket is public"),
            &json!("2026-01-31T12:00:00Z")
        )
    );
}

#[tokio::test]
async fn it_is_tried_again_where_that_may_help() {
    let (result, got) = told(vec![500.into(), Answer::Closes, 204.into()]).await;
    assert_eq!((result, got.len()), (Ok(()), 3));
    let hang = Answer::Hangs(Duration::from_millis(700));
    let (result, got) = told(vec![hang, 200.into()]).await;
    assert_eq!((result, got.len()), (Ok(()), 2));
    let (result, got) = told(vec![503.into(), 503.into(), 503.into(), 200.into()]).await;
    assert_eq!((result, got.len()), (Err("it answered 503".to_owned()), 3));
    let no = Answer::Says(404, "", "no_such_hook".to_owned());
    let (result, got) = told(vec![no, 200.into()]).await;
    assert_eq!(
        (result, got.len()),
        (Err("it answered 404: no_such_hook".to_owned()), 1)
    );
    // A redirect would carry the message elsewhere.
    let away = Answer::Says(302, "Location: http://127.0.0.1:1/\r\n", String::new());
    let (result, got) = told(vec![away]).await;
    assert_eq!((result, got.len()), (Err("it answered 302".to_owned()), 1));
}

#[tokio::test]
async fn retry_after_is_kept_to_or_given_up_on() {
    let later = Answer::Says(429, "Retry-After: 1\r\n", String::new());
    let begun = Instant::now();
    let (result, got) = told(vec![later, 200.into()]).await;
    assert_eq!((result, got.len()), (Ok(()), 2));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let past = "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let (result, got) = told(vec![Answer::Says(503, past, String::new()), 200.into()]).await;
    assert_eq!((result, got.len()), (Ok(()), 2));
    let much_later = Answer::Says(429, "Retry-After: 3600\r\n", String::new());
    let (result, got) = told(vec![much_later, 200.into()]).await;
    let reason = "it answered 429, and asks to wait 3600 s, which is too long";
    assert_eq!((result, got.len()), (Err(reason.to_owned()), 1));
}

#[tokio::test]
async fn all_of_it_ends_in_time() {
    let receiver = Receiver::new(vec![Answer::Hangs(Duration::from_millis(900)); 2]);
    let url = Secret::new(receiver.url.clone());
    let sender = patient(Patience {
        attempts: 9,
        attempt: Duration::from_secs(5),
        pause: Duration::from_millis(1),
        total: Duration::from_millis(600),
    });
    let begun = Instant::now();
    let message = fixed();
    let result = sender
        .deliver(&Webhook::new(url), &Notice::new(&message))
        .await;
    assert_eq!(result, Err("no answer in time".to_owned()));
    assert!(
        begun.elapsed() < Duration::from_millis(850),
        "{:?}",
        begun.elapsed()
    );
    drop(receiver);
}

#[tokio::test]
async fn nobody_there_is_no_secret_told() {
    let url = Secret::new("http://127.0.0.1:1/hook?secret=hunter2hunter2".to_owned());
    let webhook = Subscriber::new("hook", Box::new(Webhook::new(url)), sender());
    let error = webhook
        .tell(&fixed(), &record("Success"), &[])
        .await
        .unwrap_err();
    assert!(error.reason.starts_with("no answer: "), "{}", error.reason);
    assert!(!error.reason.contains("hunter2"), "{}", error.reason);
    let echo = Answer::Says(
        400,
        "",
        "bad request for /hook?secret=hunter2hunter2".to_owned(),
    );
    let (result, _) = told(vec![echo]).await;
    assert_eq!(result, Err("it answered 400".to_owned()));
    let url = Secret::new("not a url hunter2".to_owned());
    let webhook = Subscriber::new("hook", Box::new(Webhook::new(url)), sender());
    let error = webhook
        .tell(&fixed(), &record("Success"), &[])
        .await
        .unwrap_err();
    assert!(error.reason.starts_with("it cannot be sent: ") && !error.reason.contains("hunter2"));
}

#[tokio::test]
async fn a_signature_is_of_this_body_and_this_time() {
    let receiver = Receiver::new([200]);
    let key = Secret::new("a key of more than thirty-two characters".to_owned());
    let webhook = Webhook::new(Secret::new(receiver.url.clone())).signed(key.clone());
    let message = fixed();
    let sent = sender().deliver(&webhook, &Notice::new(&message)).await;
    assert_eq!(sent, Ok(()));
    let got = receiver.got();
    let header = got[0].header("stanch-signature").unwrap();
    assert_eq!(
        got[0].header("stanch-delivery"),
        Some("6f1c0000-0000-4000-8000-000000000000/Success/2026-01-31T12:00:00Z")
    );
    let at: i64 = header.split([',', '=']).nth(1).unwrap().parse().unwrap();
    let now = jiff::Timestamp::from_second(at + 10).unwrap();
    let (body, minutes) = (&got[0].body, Duration::from_mins(5));
    assert_eq!(verify(&key, header, body, now, minutes), Ok(()));
    let late = jiff::Timestamp::from_second(at + 301).unwrap();
    assert_eq!(verify(&key, header, body, late, minutes), Err(Forged::Time));
    let other = Secret::new("another key".to_owned());
    let changed = body.replace("Success", "Failed!");
    let moved = header.replace(&at.to_string(), &(at + 300).to_string());
    for (key, header, body) in [
        (&other, header, body),
        (&key, header, &changed),
        (&key, &moved, body),
        (&key, "", body),
        (&key, "t=1", body),
        (&key, "t=x,v1=é", body),
    ] {
        let verified = verify(key, header, body, now, minutes);
        assert_eq!(verified, Err(Forged::Signature), "{header}");
    }
}

#[test]
fn filters_let_through_what_they_name() {
    let severe = Filter {
        minimum_severity: Some(SeverityLabel::Critical),
        ..Filter::default()
    };
    assert!(!severe.passes(&fixed()) && severe.passes(&failed()));
    let unknown = Message {
        severity: String::new(),
        ..fixed()
    };
    assert!(severe.passes(&unknown));
    let urgent = Message {
        urgent: true,
        ..fixed()
    };
    assert!(severe.passes(&urgent));
    let statuses = Filter {
        statuses: ["Failed".to_owned()].into(),
        ..Filter::default()
    };
    assert!(!statuses.passes(&fixed()) && statuses.passes(&failed()) && statuses.passes(&urgent));
    let accounts = |id: &str| Filter {
        accounts: [id.parse().unwrap()].into(),
        ..Filter::default()
    };
    assert!(accounts("222222222222").passes(&urgent));
    assert!(!accounts("333333333333").passes(&urgent));
}
