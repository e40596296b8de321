//! The files that a guard is made of. Every one of its readers gets every input, and a guard that comes
//! of it has to answer.

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Value, json};
use stanch_catalog::Catalog;
use stanch_guard::{File, Guard, Placement, Rules, Source, TestCase};
use stanch_types::AccountId;

use super::NOW;

/// When it is asked: within the hours in which Berlin's clocks go forward and back, and on a Sunday.
const TIMES: [Timestamp; 3] = [
    Timestamp::constant(1_774_747_800, 0),
    Timestamp::constant(1_792_888_200, 0),
    NOW,
];

/// A remediation of each class: with all of the catalog the schema is most of the work.
const REMEDIATIONS: [&str; 3] = ["S3BlockPublicAccess", "S3LockObjects", "SqsEncryptQueue"];

/// What a guard knows beside the file, and what it is asked.
struct World {
    catalog: Catalog,
    rules: Rules,
    questions: [TestCase; 2],
}

impl World {
    fn new() -> Result<Self, String> {
        let shipped = Catalog::embedded();
        let files = REMEDIATIONS.map(|name| (name, shipped.text(name).unwrap_or_default()));
        let (catalog, wrong) = Catalog::load(files);
        if let Some(wrong) = wrong.first() {
            return Err(wrong.to_string());
        }
        let account = "111111111111".parse::<AccountId>();
        let account = account.map_err(|error| error.to_string())?;
        let placement = Placement {
            ou: Some("root/prod/payments".to_owned()),
            tags: Some([("stage".to_owned(), "prod".to_owned())].into()),
        };
        let question = |person: Value| {
            let case = json!({
                "name": "a public bucket",
                "remediation": "S3BlockPublicAccess",
                "account": "111111111111",
                "region": "eu-central-1",
                "resource": "arn:aws:s3:::logs-1",
                "tags": {"public": "yes", "stanch": "on"},
                "control": "S3.8",
                "severity": "HIGH",
                "person": person,
                "mfa": true,
                "first_observed": "2026-01-01T00:00:00Z",
                "impact": {"publicPolicy": false},
                "indicators": ["198.51.100.1", "2001:db8::1", "c2.example"],
                "expect": "run",
            });
            serde_json::from_value::<TestCase>(case).map_err(|error| error.to_string())
        };
        Ok(Self {
            catalog,
            rules: Rules {
                accounts: [(account, placement)].into(),
                people: [("alice".to_owned(), ["security".to_owned()].into())].into(),
                ..Rules::default()
            },
            questions: [question(Value::Null)?, question(json!("alice"))?],
        })
    }

    fn get() -> Result<&'static Self, String> {
        static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
        let world = WORLD.get_or_init(Self::new);
        world.as_ref().map_err(Clone::clone)
    }

    /// The guards that `text` makes: as a calendar, as exemptions, as a feed, as policies.
    fn guards(&self, text: &str) -> Vec<Guard> {
        let file = |path: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let other = || self.rules.clone();
        let rules = [
            Rules {
                calendars: vec![file("window.ics")],
                ..other()
            },
            Rules {
                exemptions: Some(file("exemptions.toml")),
                ..other()
            },
            Rules {
                feeds: vec![file("list.txt")],
                ..other()
            },
            Rules {
                feeds: vec![file("table.csv")],
                ..other()
            },
            Rules {
                policies: Source::Files(vec![file("rules.cedar")]),
                ..other()
            },
        ];
        let mut guards = Vec::new();
        for rules in rules {
            match Guard::load(rules, &self.catalog, NOW) {
                Ok(guard) => guards.push(guard),
                // What people are told of it is made of the text, too.
                Err(problems) => drop(problems.to_string()),
            }
        }
        guards
    }
}

pub(super) fn read(text: &str) -> Result<(), String> {
    let world = World::get()?;
    for guard in world.guards(text) {
        for at in TIMES {
            for question in &world.questions {
                let outcome = guard.test(1, question, &world.catalog, at);
                if outcome.answer == "none" {
                    return Err(format!("a guard gives no answer: {:?}", outcome.problem));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::Target, *};

    #[test]
    fn each_seed_makes_a_guard() {
        let world = World::get().unwrap();
        for seed in Target::Rules.seeds() {
            let text = String::from_utf8(seed).unwrap();
            assert!(!world.guards(&text).is_empty(), "{text}");
        }
    }
}
