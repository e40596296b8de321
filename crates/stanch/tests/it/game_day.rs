//! The game day of `docs/guides/game-day.md`: what it shows is what happened here.

use serde_json::json;
use stanch_testkit::assert_generated;

use crate::{
    command::Said,
    emulated::{BUCKET, World},
    served,
};

const INTRODUCTION: &str = "\
<!-- Written by `crates/stanch/tests/it/game_day.rs`; `cargo xtask codegen` writes it again. -->
# A game day

One finding, from the first look at it to the last pause, with everything that may come in between. It is
what a team plays through once before it lets Stanch near production, and what a test plays through on every
change of Stanch: in an emulated organization with IAM enforced, with the command that you have. Identifiers
depend on the finding and stay the same; hashes, times and durations are replaced by others.

To play it yourself: `cargo xtask demo --keep` leaves such an organization running, and prints how to talk
to it. In AWS, take an account that is marked as `test`, and a bucket of no importance. Alice operates, Bob
and Carol are the group `security`, one of whom has to approve what somebody may notice.
";

/// A story: prose, and what was typed and said.
struct Story<'w> {
    world: &'w World,
    text: String,
    /// The hashes that were shown, by their beginnings.
    hashes: Vec<String>,
}

impl Story<'_> {
    fn tell(&mut self, heading: &str, prose: &str) {
        self.text
            .push_str(&format!("\n## {heading}\n\n{}\n", wrapped(prose)));
    }

    fn say(&mut self, prose: &str) {
        self.text.push_str(&format!("\n{}\n", wrapped(prose)));
    }

    /// Types a command, which ends with `exit`.
    #[track_caller]
    fn types(&mut self, arguments: &[&str], exit: i32) -> Said {
        let said = self.world.here.run(arguments).exits(exit);
        let typed: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        let mut shown = format!("$ stanch {}\n", typed.join(" "));
        shown.push_str(&said.stdout);
        shown.push_str(&said.stderr);
        if exit != 0 {
            shown.push_str(&format!("$ echo $?\n{exit}\n"));
        }
        let shown = self.plain(&shown);
        self.text.push_str(&format!("\n```console\n{}```\n", shown));
        said
    }
}

fn quoted(word: &str) -> String {
    match word.contains(' ') {
        true => format!("\"{word}\""),
        false => word.to_owned(),
    }
}

/// Prose in lines of a page.
fn wrapped(prose: &str) -> String {
    let mut lines = vec![String::new()];
    for word in prose.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < 112 => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

impl Story<'_> {
    /// What differs from day to day, from version to version of a catalog file and from machine to machine
    /// is replaced.
    fn plain(&mut self, text: &str) -> String {
        let folder = format!("{}/", self.world.here.path().display());
        let text = text.replace(&folder, "");
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let words = words.iter().enumerate().map(|(index, word)| {
                let before = index.checked_sub(1).and_then(|index| words.get(index));
                let after = words.get(index + 1);
                self.word(before.copied(), word, after.copied())
            });
            lines.push(words.collect::<Vec<_>>().join(" "));
        }
        lines.join("\n") + "\n"
    }

    fn word(&mut self, before: Option<&str>, word: &str, after: Option<&str>) -> String {
        if let Some(word) = word.strip_suffix(',') {
            return self.word(before, word, after) + ",";
        }
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = || word.bytes().all(|byte| byte.is_ascii_digit());
        match (word.len(), before, after) {
            // Account ids are as long as the beginning of a hash.
            (12 | 64, ..) if is_hex(word) && !is_number() => self.hash(word),
            (36, Some("request"), _) => "00000000-0000-0000-0000-000000000000".to_owned(),
            (1.., _, Some("ms")) if is_number() => "800".to_owned(),
            (20 | 24, ..) if word.parse::<jiff::Timestamp>().is_ok() => {
                let end = word.get(19..).unwrap_or_default().len();
                let second = "2026-01-31T12:00:00";
                format!("{second}{}", if end == 1 { "Z" } else { ".000Z" })
            }
            _ => word.to_owned(),
        }
    }

    /// The same stand-in for the same hash, long or short.
    fn hash(&mut self, hash: &str) -> String {
        let short = hash.get(..12).unwrap_or(hash).to_owned();
        let known = self.hashes.iter().position(|known| *known == short);
        let index = known.unwrap_or_else(|| {
            self.hashes.push(short);
            self.hashes.len() - 1
        });
        let pair = format!(
            "{}{}",
            char::from(b'a' + u8::try_from(index).unwrap()),
            index + 1
        );
        pair.repeat(hash.len() / 2)
    }
}

#[test]
fn the_game_day_is_generated() {
    let world = World::new();
    let account = world.account.to_string();
    let mut story = Story {
        world: &world,
        text: INTRODUCTION.to_owned(),
        hashes: Vec::new(),
    };
    world.here.put(
        "finding.json",
        world.event("2026-01-31T12:00:00Z").to_string(),
    );

    story.tell(
        "A finding comes in",
        "Security Hub says that the bucket `corporate` is open to the public. What would be done, and who decides?",
    );
    story.types(&["plan", "finding.json"], 0);
    story.say("It comes again by itself, through `stanch serve`: the same plan, and nobody who asked for it.");
    world.here.put(
        "inbox/finding.json",
        world.event("2026-01-31T12:00:00Z").to_string(),
    );
    let id = served::wait(&world.here);
    assert_eq!(world.blocks(), None);
    story.types(&["approvals", "list"], 0);
    story.types(&["approvals", "show", &id], 0);

    story.tell(
        "Somebody changes the bucket",
        "Before Bob gets to it, a colleague turns on half of the settings by hand. Bob approves what he saw. That \
         is not what would be sent now, so that his approval is void, nothing is sent, and people are asked again \
         with the difference.",
    );
    let half = json!({"Bucket": BUCKET, "PublicAccessBlockConfiguration": {
        "BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": false, "RestrictPublicBuckets": false}});
    world.call("PutPublicAccessBlock", half);
    story.types(&["approve", &id, "--as", "bob"], 4);
    assert_eq!(world.blocks(), Some(false));
    story.types(&["approvals", "show", &id], 0);

    story.tell("Approved, and run", "Carol approves the plan as it is now.");
    story.types(&["approve", &id, "--as", "carol"], 0);
    assert_eq!(world.blocks(), Some(true));
    story.types(&["ledger", "show", &id], 0);

    story.tell(
        "Taken back",
        "A website breaks. The undo puts back what was there right before, the colleague's half included.",
    );
    story.types(&["rollback", &id, "--dry-run", "--as", "alice"], 0);
    story.types(&["rollback", &id, "--as", "alice"], 0);
    assert_eq!(world.blocks(), Some(false));

    story.tell(
        "Stopped",
        "An audit begins, and nothing may change in the account. Reading and planning go on; the next finding on \
         the bucket stands still before its first request.",
    );
    story.types(
        &[
            "pause",
            "--account",
            &account,
            "--reason",
            "audit until Friday",
            "--as",
            "alice",
        ],
        0,
    );
    world.here.put(
        "again.json",
        world.event("2026-02-01T12:00:00Z").to_string(),
    );
    story.types(&["remediate", "again.json", "--as", "alice"], 4);
    assert_eq!(world.blocks(), Some(false));
    story.types(&["pause", "list"], 0);

    story.tell(
        "Resumed",
        "It goes on from where it stood, and looks at the bucket again first.",
    );
    story.types(&["resume", "--account", &account, "--as", "alice"], 0);
    story.types(&["remediate", "again.json", "--as", "alice"], 0);
    assert_eq!(world.blocks(), Some(true));

    story.tell(
        "What the auditor gets",
        "All of it is in the ledger, and nobody can have rewritten it unnoticed.",
    );
    story.types(&["ledger", "list"], 0);
    story.types(&["ledger", "verify"], 0);

    assert_generated("docs/guides/game-day.md", &story.text);
}
