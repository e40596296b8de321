//! Approvals by link: the page, who may use it, and how often.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    emulated::World,
    served::{Service, take},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Takes a person's messages: an address, and the bodies.
fn mailbox() -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while !text.ends_with('}') {
                let read = stream.read(&mut buffer).unwrap();
                if read == 0 {
                    break;
                }
                text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(ok.as_bytes()).unwrap();
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            let body = body.and_then(|body| serde_json::from_str(&body).ok());
            if body.is_some_and(|body| send.send(body).is_err()) {
                break;
            }
        }
    });
    (url, bodies)
}

/// What the page's form carries.
fn form(page: &str) -> &str {
    let (_, rest) = page.split_once("name=form value=\"").unwrap();
    rest.split_once('"').unwrap().0
}

fn post(service: &Service, path: &str, body: &str, header: &str) -> (u16, String) {
    let head =
        format!("POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded{header}");
    service.ask(&head, body.as_bytes())
}

#[test]
fn a_link_shows_the_plan_and_is_used_once() {
    let world = World::new();
    world.here.put("approval.key", KEY);
    let (bob, mails) = mailbox();
    let settings = [
        "--set",
        "approval.link_key_file=approval.key",
        "--set",
        &format!("approval.webhooks.bob={bob}"),
        "--set",
        &format!("approval.webhooks.carol={}", mailbox().0),
    ];
    let service = Service::start(&world.here, &settings);
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    service.ask("POST /events HTTP/1.1", event.as_bytes());
    let mail = mails.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(mail["Status"], "AwaitingApproval");
    let asked = &mail["Approval"];
    assert_eq!(asked["Person"], "bob");
    assert_eq!(asked["Facts"][1], "It is served as a website: no");
    let link = asked["Link"].as_str().unwrap();
    let path = &link[link.find("/approvals/").unwrap()..];
    let get = |path: &str| service.ask(&format!("GET {path} HTTP/1.1"), b"");

    // Looking changes nothing, however often.
    let (status, page) = get(path);
    assert_eq!(status, 200, "{page}");
    for shown in [
        "s3.PutPublicAccessBlock",
        "corporate",
        "You answer as bob.",
        asked["PlanHash"].as_str().unwrap(),
        "Approve this plan",
        "It is served as a website</th><td>no</td>",
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    for absent in ["<script", "http://", "https://", "<img", "onclick"] {
        assert!(!page.contains(absent), "{absent} in {page}");
    }
    assert_eq!(get(path).0, 200);
    assert_eq!(world.blocks(), None);

    // What is not from the page, or not from the link, counts nothing.
    let yes = format!("decision=approve&form={}", form(&page));
    let forged = [
        (403, path.to_owned(), "decision=approve".to_owned(), ""),
        (
            403,
            path.to_owned(),
            yes.clone(),
            "\r\nSec-Fetch-Site: cross-site",
        ),
        (
            403,
            path.to_owned(),
            yes.clone(),
            "\r\nOrigin: https://evil.example",
        ),
        (404, format!("{path}x"), yes.clone(), ""),
        (404, "/approvals/x.y".to_owned(), yes.clone(), ""),
        (400, path.to_owned(), yes.replace("approve", "perhaps"), ""),
    ];
    for (expected, path, body, header) in forged {
        let (status, answer) = post(&service, &path, &body, header);
        assert_eq!(status, expected, "{body} {header}: {answer}");
    }
    assert_eq!(service.ask(&format!("PUT {path} HTTP/1.1"), b"").0, 405);
    assert_eq!(world.blocks(), None);

    let (status, _) = post(&service, path, &yes, "\r\nSec-Fetch-Site: same-origin");
    assert_eq!(status, 303);
    let told = service.wait_for("remediation");
    assert_eq!(told["status"], "Success", "{told}");
    assert_eq!(world.blocks(), Some(true));

    // Once.
    let (status, answer) = post(&service, path, &yes, "");
    assert_eq!(status, 409, "{answer}");
    let (status, page) = get(path);
    assert_eq!(status, 200);
    assert!(page.contains("You approved this as security"), "{page}");
    assert!(!page.contains("<form"), "{page}");
    service.stop();
    let id = told["id"].as_str().unwrap();
    world
        .here
        .run(&["ledger", "show", id])
        .exits(0)
        .says("by bob as security, with link");
}

#[test]
fn a_rejection_by_link_is_final() {
    let world = World::new();
    world.here.put("approval.key", KEY);
    let (bob, mails) = mailbox();
    let settings = [
        "--set",
        "approval.link_key_file=approval.key",
        "--set",
        &format!("approval.webhooks.bob={bob}"),
    ];
    let service = Service::start(&world.here, &settings);
    let event = world.event("2026-01-31T12:00:00Z").to_string();
    service.ask("POST /events HTTP/1.1", event.as_bytes());
    let mail = mails.recv_timeout(Duration::from_secs(60)).unwrap();
    let link = mail["Approval"]["Link"].as_str().unwrap().to_owned();
    let path = &link[link.find("/approvals/").unwrap()..];
    let (_, page) = service.ask(&format!("GET {path} HTTP/1.1"), b"");
    let no = format!(
        "decision=reject&reason=it+is+%3Ca%3E+website&form={}",
        form(&page)
    );
    assert_eq!(post(&service, path, &no, "").0, 303);
    let (status, page) = service.ask(&format!("GET {path} HTTP/1.1"), b"");
    assert_eq!(status, 410);
    assert!(
        page.contains("rejected by bob: it is &lt;a&gt; website"),
        "{page}"
    );
    assert_eq!(world.blocks(), None);
    service.stop();
}

#[test]
fn an_approval_that_cannot_be_delivered_is_refused() {
    let mut world = World::new();
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.here.set("STANCH_APPROVAL_EXPIRES_AFTER", "1h");
    world.here.put(
        "inbox/event.json",
        world.event("2026-01-31T12:00:00Z").to_string(),
    );
    let config = world.here.path().join("stanch.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = format!("{text}\n[notify]\nwebhooks = [\"http://{gone}/hook\"]\n");
    std::fs::write(config, text).unwrap();
    let id = take(&world.here, "Refused");
    world
        .here
        .run(&["ledger", "show", &id])
        .exits(0)
        .says("could not be asked for")
        .says("no answer: Connection refused");
    assert_eq!(world.blocks(), None);
}

#[test]
fn what_waits_is_listed_and_shown() {
    let world = World::new();
    let waits = |here: &crate::command::Workplace| here.run(&["approvals", "list"]);
    world.here.put(
        "inbox/event.json",
        world.event("2026-01-31T12:00:00Z").to_string(),
    );
    let id = crate::served::wait(&world.here);
    waits(&world.here).exits(0).says(&id).says("1 security");
    let shown = world.here.run(&["approvals", "show", &id]).exits(0);
    for text in [
        "s3.PutPublicAccessBlock",
        "  what it may touch\n    Its policy lets everybody in: no\n",
        "needs 1 of security: bob, carol",
        "approve with: stanch approve",
    ] {
        assert!(shown.stdout.contains(text), "{text} in {shown}");
    }
    let sheet = world
        .here
        .run(&["approvals", "show", &id, "--json"])
        .exits(0)
        .json();
    let hash = sheet["PlanHash"].as_str().unwrap();
    assert_eq!(sheet["Plan"]["remediation"], "S3BlockPublicAccess");
    assert_eq!(
        sheet["Facts"][1],
        json!({"Name": "website", "Title": "It is served as a website", "Value": false})
    );
    let run = |more: &[&str]| {
        let arguments = [&["approve", &id][..], more].concat();
        world.here.run(&arguments)
    };
    run(&["--as", "eve"]).exits(3).says("not asked to approve");
    run(&["--as", "bob", "--as-role", "owners"])
        .exits(3)
        .says("it waits for `security`");
    run(&["--as", "bob", "--plan", "0123456789ab"])
        .exits(3)
        .says("another plan");
    assert_eq!(world.blocks(), None);
    run(&[
        "--as",
        "bob",
        "--as-role",
        "security",
        "--plan",
        &hash[..12],
    ])
    .exits(0)
    .says("fixed");
    assert_eq!(world.blocks(), Some(true));
    waits(&world.here).exits(0).says("nothing waits");
}
