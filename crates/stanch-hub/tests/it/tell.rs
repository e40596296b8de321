//! Who is told what, and when.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use stanch_guard::{Automatic, File, Rules, Source};
use stanch_hub::{Audience, History, Message, NotTold, Notifier};
use stanch_ledger::{Event, Record, Status};
use stanch_testkit::Listener;

use crate::world::World;

/// A channel that follows changes and wants these statuses.
struct Choosy {
    wanted: &'static [&'static str],
    is_deaf: bool,
    heard: Mutex<Vec<Message>>,
}

impl Choosy {
    fn new(wanted: &'static [&'static str], is_deaf: bool) -> Arc<Self> {
        Arc::new(Self {
            wanted,
            is_deaf,
            heard: Mutex::default(),
        })
    }

    fn statuses(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|message| message.status.clone()).collect()
    }
}

#[async_trait]
impl Notifier for Choosy {
    fn channel(&self) -> &str {
        "choosy"
    }

    fn audience(&self) -> Audience {
        Audience::Everyone
    }

    fn wants(&self, message: &Message) -> bool {
        self.wanted.contains(&message.status.as_str())
    }

    fn follows(&self) -> bool {
        true
    }

    async fn tell(&self, message: &Message, _: &Record, _: &History) -> Result<(), NotTold> {
        self.heard.lock().unwrap().push(message.clone());
        match self.is_deaf {
            false => Ok(()),
            true => Err(NotTold {
                channel: "choosy".to_owned(),
                reason: "nobody is there".to_owned(),
            }),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_of_the_beginning_and_nothing_waits_for_that() {
    for is_deaf in [false, true] {
        let mut world = World::new();
        let follower = Choosy::new(&["Running", "Success"], is_deaf);
        let other = Arc::new(Listener::default());
        world.notifiers = vec![follower.clone(), other.clone()];
        world.bucket("logs").await;
        let (id, state) = world.fix("logs").await;
        assert_eq!(state.status, Status::Success);
        assert_eq!(follower.statuses(), ["Running", "Success"]);
        let other: Vec<String> = other.heard().into_iter().map(|told| told.status).collect();
        assert_eq!(other, ["Success"]);
        let entries = world.ledger.entries(id).await.unwrap();
        let told: Vec<(&str, bool)> = entries
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Notified { channel, ok, .. } => Some((channel.as_str(), *ok)),
                _ => None,
            })
            .collect();
        let ok = !is_deaf;
        assert_eq!(told, [("choosy", ok), ("choosy", ok), ("everyone", true)]);
        assert!(world.block("logs").await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_says_where_the_finding_lives_and_whether_there_is_a_way_back() {
    let mut world = World::new();
    let account = world.settings.accounts.values_mut().next().unwrap();
    account.name = Some("payments".to_owned());
    let listener = Arc::new(Listener::default());
    world.notifiers = vec![listener.clone()];
    world.bucket("logs").await;
    world.fix("logs").await;
    let message = listener.heard().remove(0);
    assert_eq!(message.account_name.as_deref(), Some("payments"));
    assert!(message.can_be_undone);
    let origin = message.origin.unwrap();
    let product = "arn:aws:securityhub:eu-central-1::product/aws/securityhub";
    assert_eq!(origin.product_arn.as_deref(), Some(product));
    assert_eq!((origin.region, origin.is_shared), (None, false));
}

/// What threat intelligence knows has to be looked at at once, until it is fixed.
#[tokio::test(start_paused = true)]
async fn a_known_threat_is_urgent_until_it_is_fixed() {
    for (address, known) in [("203.0.113.9", true), ("198.51.100.9", false)] {
        let mut world = World::new();
        let listener = Arc::new(Listener::default());
        world.notifiers = vec![listener.clone()];
        world.bucket("logs").await;
        let feed = File {
            path: "drop.txt".to_owned(),
            text: "203.0.113.9\n".to_owned(),
        };
        let rules = Rules {
            policies: Source::BuiltIn(Automatic::default()),
            feeds: vec![feed],
            ..Rules::default()
        };
        let hub = world.ruled(rules);
        let mut finding = world.finding("logs");
        finding.details = json!({"SeenFrom": address});
        let (id, state) = world.deliver(&hub, &finding).await.remove(0);
        assert_eq!(state.status, Status::AwaitingApproval);
        hub.approve(id, "alice").await.unwrap();
        let told = listener.heard().into_iter();
        let told: Vec<(String, bool, bool)> = told
            .map(|told| (told.status, told.urgent, told.known_threat))
            .collect();
        assert_eq!(
            told,
            [
                ("AwaitingApproval".to_owned(), known, known),
                ("Success".to_owned(), false, known)
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_be_asked_is_not_among_those_who_were() {
    let mut world = World::new();
    world.automatic.guarded.clear();
    let choosy = Choosy::new(&["Success", "Refused"], false);
    world.notifiers = vec![choosy.clone()];
    world.bucket("logs").await;
    let (_, state) = world.fix("logs").await;
    assert_eq!(state.status, Status::Refused);
    let error = state.error.unwrap();
    assert!(
        error.contains("no channel reaches those who may approve it"),
        "{error}"
    );
    assert_eq!(choosy.statuses(), ["Refused"]);
    assert!(world.tap.writes().is_empty());
}
