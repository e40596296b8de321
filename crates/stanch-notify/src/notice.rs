//! What every channel shows of a message, before any of them puts it into its own format.

use stanch_hub::Message;

use crate::console;

/// A message, read for people.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'m> {
    message: &'m Message,
}

/// How a message is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It went well.
    Good,
    /// It goes on, or nothing was to be done.
    Neutral,
    /// Somebody should look at it, or is asked.
    Warning,
    /// It went wrong.
    Bad,
}

impl<'m> Notice<'m> {
    /// Reads a message.
    #[must_use]
    pub const fn new(message: &'m Message) -> Self {
        Self { message }
    }

    /// The message itself.
    #[must_use]
    pub const fn message(&self) -> &'m Message {
        self.message
    }

    /// Names this message among all: the remediation, its status and when.
    #[must_use]
    pub fn delivery(&self) -> String {
        let Message {
            remediation_id,
            status,
            executed_at,
            ..
        } = self.message;
        plain(&format!("{remediation_id}/{status}/{executed_at}"), 200)
    }

    /// What happened, in one line: `Fixed: S3.8 on my-bucket in payments (111122223333)`.
    #[must_use]
    pub fn headline(&self) -> String {
        let Message {
            control, resource, ..
        } = self.message;
        if self.is_letter() {
            return "An event could not be understood".to_owned();
        }
        let what = match control.as_str() {
            "" => &self.message.action,
            control => control,
        };
        format!(
            "{}: {what} on {} in {}",
            self.verb(),
            short_name(resource),
            self.account()
        )
    }

    /// It is about an event that could not be understood, and no remediation.
    #[must_use]
    pub fn is_letter(&self) -> bool {
        self.message.status == "DeadLetter"
    }

    fn verb(&self) -> &str {
        if self.message.approval.is_some() {
            return "Approval needed";
        }
        match self.message.status.as_str() {
            "Success" => "Fixed",
            "Undone" => "Put back",
            "UndoFailed" => "Neither fixed nor put back",
            "Failed" => "Not fixed",
            "Refused" => "Refused",
            "Skipped" => "Skipped",
            "Paused" => "Paused",
            "Running" => "Change begins",
            "RolloutBack" => "Roll-out went back",
            other => other,
        }
    }

    /// How it is to be taken.
    #[must_use]
    pub fn tone(&self) -> Tone {
        match self.message.status.as_str() {
            _ if self.message.urgent => Tone::Bad,
            _ if self.message.approval.is_some() => Tone::Warning,
            "Success" => Tone::Good,
            "Failed" | "UndoFailed" => Tone::Bad,
            "Refused" | "Paused" | "Undone" | "DeadLetter" => Tone::Warning,
            _ => Tone::Neutral,
        }
    }

    /// Nothing more will happen by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(
            self.message.status.as_str(),
            "Success" | "Failed" | "Refused" | "Skipped" | "Undone" | "UndoFailed" | "NothingToDo"
        )
    }

    /// The resource is as it should be.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.message.status.as_str(), "Success" | "NothingToDo")
    }

    /// The account with its alias, if it has one: `payments (111122223333)`.
    #[must_use]
    pub fn account(&self) -> String {
        let Message {
            account,
            account_name,
            ..
        } = self.message;
        match account_name.as_deref() {
            Some(name) if !name.is_empty() => format!("{name} ({account})"),
            _ => account.clone(),
        }
    }

    /// Where the resource is in AWS's console.
    #[must_use]
    pub fn console(&self) -> Option<String> {
        console::link(self.message)
    }

    /// Label and text of what there is to know, most important first.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let message = self.message;
        let action = match message.control.as_str() {
            "" => message.action.clone(),
            control => format!("{} ({control})", message.action),
        };
        let state = match message.error.as_deref() {
            Some(_) if message.urgent => format!("{}, look at once", message.status),
            _ => message.status.clone(),
        };
        let facts = [
            ("Account", self.account()),
            ("Region", message.region.clone()),
            ("Resource", message.resource.clone()),
            ("State", state),
            ("Action", action),
            ("Severity", message.severity.clone()),
            ("Asked by", message.requester.clone()),
            ("When", message.executed_at.clone()),
        ];
        let told = facts.into_iter().filter(|(_, text)| !text.is_empty());
        told.collect()
    }

    /// Paragraphs: why, and what is to be approved.
    #[must_use]
    pub fn paragraphs(&self) -> Vec<String> {
        let mut all = vec![self.message.finding.clone()];
        all.extend(self.message.error.clone());
        if let Some(asked) = &self.message.approval {
            all.extend(asked.message.clone());
            all.extend(asked.reasons.iter().cloned());
        }
        all.retain(|text| !text.trim().is_empty());
        all
    }

    /// What the change may touch, a line each: `Network interfaces that use the group: 3`.
    #[must_use]
    pub fn touched(&self) -> &[String] {
        self.message
            .approval
            .as_ref()
            .map_or(&[], |asked| asked.facts.as_slice())
    }

    /// What becomes of the resource, a line each.
    #[must_use]
    pub fn changes(&self) -> &[String] {
        self.message
            .approval
            .as_ref()
            .map_or(&[], |asked| asked.changes.as_slice())
    }

    /// What somebody can do now: how to approve, to put back, to look closer.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let id = &self.message.remediation_id;
        if let Some(asked) = &self.message.approval {
            let plan: String = asked.plan_hash.chars().take(12).collect();
            let who = asked.needs.join(", ");
            return vec![
                format!("Needs {who}, until {}.", asked.expires),
                format!("Approve: stanch approve {id} --plan {plan}"),
                format!("Say no: stanch reject {id}"),
            ];
        }
        if self.is_letter() {
            return vec![format!("Look closer: stanch deadletter show {id}")];
        }
        let look = format!("Look closer: stanch ledger show {id}");
        match self.message.can_be_undone {
            true => vec![format!("Put it back: stanch rollback {id}"), look],
            false => vec![look],
        }
    }

    /// Where the person whom this message is for answers.
    #[must_use]
    pub fn answer_link(&self) -> Option<&'m str> {
        self.message.approval.as_ref()?.link.as_deref()
    }
}

/// The last part of an ARN, or what stands there instead.
fn short_name(resource: &str) -> String {
    let name = resource
        .parse::<stanch_types::Arn>()
        .ok()
        .map(|arn| stanch_types::name_from_arn(&arn).to_owned());
    plain(&name.unwrap_or_else(|| resource.to_owned()), 80)
}

/// Text of a stranger as one line of at most `limit` UTF-16 units: without control characters, and
/// without those by which text is shown in another order than it is written
/// (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters>).
#[must_use]
pub fn plain(text: &str, limit: usize) -> String {
    let mut clean = String::new();
    for c in text.chars() {
        let shown = match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => continue,
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        if shown == ' ' && clean.ends_with(' ') {
            continue;
        }
        clean.push(shown);
    }
    cut(clean.trim(), limit)
}

/// The beginning of a text, with an ellipsis if there is more, within `limit` UTF-16 units: by these
/// services count that are written in JavaScript or Java, and there are never fewer of them than
/// characters.
#[must_use]
pub fn cut(text: &str, limit: usize) -> String {
    let length = |text: &str| text.encode_utf16().count();
    if length(text) <= limit {
        return text.to_owned();
    }
    let (mut kept, mut left) = (String::new(), limit.saturating_sub(1));
    for c in text.chars() {
        if c.len_utf16() > left {
            break;
        }
        left -= c.len_utf16();
        kept.push(c);
    }
    if limit > 0 {
        kept.push('…');
    }
    kept
}

/// The same text, in which no `@here` or its like is left: a word joiner, which nobody sees, stands
/// behind the sign.
#[must_use]
pub fn unmentioned(text: &str) -> String {
    const ALL: [&str; 4] = ["here", "channel", "everyone", "all"];
    let mut clean = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        clean.push_str(before);
        clean.push('@');
        let is_mention = ALL.iter().any(|word| {
            after
                .get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word))
        });
        if is_mention {
            clean.push('\u{2060}');
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}
