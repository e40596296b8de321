//! What is secret in events: what the API model calls sensitive, what is named as secrets are, and the same
//! texts wherever else they stand.
//!
//! *Invariant:* what is sealed when it is stored and what is masked when it is shown is found by the same
//! [`Walk`].

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    convert::Infallible,
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::{ApprovalRequest, Event, StepFinished, StepOutcome};

/// What begins a sealed value.
pub(crate) const SEALED: &str = "sealed:v1:";

/// What stands for a secret where people look.
const MASK: &str = "***";

/// The shortest text that is looked for elsewhere: a shorter one stands there by chance.
const TELLING: usize = 6;

/// Knows what an API calls sensitive.
pub trait Sensitive: Send + Sync {
    /// Whether values of `member` in requests and answers of `service` must not be shown.
    fn is_secret(&self, service: &str, member: &str) -> bool;
}

/// Goes through values and does with each secret what has to be done.
pub(crate) struct Walk<'w, E> {
    pub(crate) sensitive: &'w dyn Sensitive,
    /// The services whose values they are.
    pub(crate) services: &'w BTreeSet<String>,
    /// The texts that were found to be secret: they are wherever they stand.
    pub(crate) known: &'w mut HashSet<String>,
    /// What becomes of a secret.
    pub(crate) replace: &'w mut dyn FnMut(&mut Value) -> Result<(), E>,
}

impl<E> Walk<'_, E> {
    /// The secrets of an event.
    pub(crate) fn event(&mut self, event: &mut Event) -> Result<(), E> {
        if let Event::ApprovalRequested(request) = event {
            let changes = request
                .changed
                .iter_mut()
                .flat_map(|changed| &mut changed.changes);
            for change in changes {
                let names: Vec<String> = change.names().map(str::to_owned).collect();
                for value in change.was.iter_mut().chain(change.is.iter_mut()) {
                    self.below(&names, value)?;
                }
            }
        }
        self.values(&mut contents(event))
    }

    /// The secrets in values that belong together.
    pub(crate) fn values(&mut self, values: &mut [&mut Value]) -> Result<(), E> {
        for value in values.iter_mut() {
            self.value(value)?;
        }
        if !self.known.is_empty() {
            for value in values {
                self.elsewhere(value)?;
            }
        }
        Ok(())
    }

    /// A value within members of these names: what stands in a secret is one. What its neighbour says of a
    /// `value` (`{name: DB_PASSWORD, value: …}`) they do not tell, so that each counts as one.
    fn below(&mut self, names: &[String], value: &mut Value) -> Result<(), E> {
        for name in names {
            self.member(name, value)?;
        }
        match names.last() {
            Some(last) if last.eq_ignore_ascii_case("value") => self.named(value),
            _ => Ok(()),
        }
    }

    fn value(&mut self, value: &mut Value) -> Result<(), E> {
        match value {
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.value(item)),
            Value::Object(members) => {
                // `{name: DB_PASSWORD, value: …}`, as variables of builds and containers are.
                let said = ["name", "Name", "key", "Key"];
                let said = said.iter().find_map(|name| members.get(*name)?.as_str());
                let said = said
                    .filter(|said| is_named_as_secret(said))
                    .map(str::to_owned);
                for (name, value) in members.iter_mut() {
                    self.member(name, value)?;
                    if said.is_some() && name.eq_ignore_ascii_case("value") {
                        self.named(value)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The value of the member `name`, or what is secret in it.
    fn member(&mut self, name: &str, value: &mut Value) -> Result<(), E> {
        let is_empty = match value {
            Value::Null | Value::Bool(_) => true,
            Value::String(text) => is_covered(text),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Number(_) => false,
        };
        if is_empty {
            return Ok(());
        }
        let mut services = self.services.iter();
        if services.any(|service| self.sensitive.is_secret(service, name)) {
            return self.secret(value);
        }
        match is_named_as_secret(name) {
            true => self.named(value),
            false => self.value(value),
        }
    }

    /// A value that is named as secrets are: its texts are secret, and of objects what is secret in them.
    fn named(&mut self, value: &mut Value) -> Result<(), E> {
        match value {
            Value::String(text) if is_covered(text) => Ok(()),
            Value::String(_) => self.secret(value),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.named(item)),
            _ => self.value(value),
        }
    }

    fn secret(&mut self, value: &mut Value) -> Result<(), E> {
        note(value, self.known);
        (self.replace)(value)
    }

    /// What is the same as a secret that was found, under whatever name.
    fn elsewhere(&mut self, value: &mut Value) -> Result<(), E> {
        match value {
            Value::String(text) if self.known.contains(text.as_str()) => (self.replace)(value),
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.elsewhere(item)),
            Value::Object(members) => members
                .values_mut()
                .try_for_each(|member| self.elsewhere(member)),
            _ => Ok(()),
        }
    }
}

/// The texts of a secret that is not to stand anywhere else. Of an object they are those that are named as
/// secrets: of a function's variables, most are none.
fn note(secret: &Value, known: &mut HashSet<String>) {
    match secret {
        Value::String(text) if text.len() >= TELLING => {
            known.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| note(item, known)),
        Value::Object(members) => {
            for (name, member) in members {
                if !member.is_string() || is_named_as_secret(name) {
                    note(member, known);
                }
            }
        }
        _ => {}
    }
}

/// All texts in a secret.
fn texts(secret: &Value, found: &mut Vec<String>) {
    match secret {
        Value::String(text) if text.len() >= TELLING => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// There is nothing to hide in it, or it is hidden.
fn is_covered(text: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |rest: &str| {
        let number = rest
            .strip_prefix(" (")
            .and_then(|rest| rest.strip_suffix(')'));
        rest.is_empty() || number.is_some_and(is_number)
    };
    text.is_empty() || text.starts_with(SEALED) || text.strip_prefix(MASK).is_some_and(number)
}

/// Whether a text under this name is a secret, whatever the API says: `MasterUserPassword`, but not
/// `SecretArn`.
fn is_named_as_secret(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "password",
        "passphrase",
        "secret",
        "privatekey",
        "credential",
        "authtoken",
        "accesstoken",
        "apikey",
        "connectionstring",
        "sessiontoken",
    ];
    const HARMLESS: [&str; 10] = [
        "arn", "arns", "id", "ids", "name", "type", "status", "version", "policy", "enabled",
    ];
    let name: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    PARTS.iter().any(|part| name.contains(part)) && !HARMLESS.iter().any(|end| name.ends_with(end))
}

/// The services that are called anywhere in `value`, a plan.
fn services(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| services(item, found)),
        Value::Object(members) => {
            if let (Some(Value::String(service)), true) =
                (members.get("service"), members.contains_key("operation"))
            {
                found.insert(service.clone());
            }
            members.values().for_each(|member| services(member, found));
        }
        _ => {}
    }
}

/// The services that an event calls.
pub(crate) fn called(event: &Event, found: &mut BTreeSet<String>) {
    match event {
        Event::Planned(planned) => services(&planned.plan, found),
        Event::UndoPlanned(undo) => services(&undo.plan, found),
        Event::StepStarted(step) => {
            found.insert(step.call.service.clone());
        }
        _ => {}
    }
}

/// The members of a plan: their own names are ours, and tell nothing.
fn parts(plan: &mut Value) -> Vec<&mut Value> {
    match plan {
        Value::Object(members) => members.values_mut().collect(),
        other => vec![other],
    }
}

/// The parts of an event that come from AWS or go there.
pub(crate) fn contents(event: &mut Event) -> Vec<&mut Value> {
    match event {
        Event::Received(received) => vec![&mut received.subject],
        Event::Planned(planned) => {
            let mut all = parts(&mut planned.plan);
            all.push(&mut planned.observed);
            all
        }
        Event::StepStarted(step) => vec![&mut step.call.params],
        Event::StepFinished(step) => vec![&mut step.outputs],
        Event::Verified(verified) => vec![&mut verified.observed],
        Event::UndoPlanned(undo) => parts(&mut undo.plan),
        Event::Undone { observed } | Event::UndoFailed { observed, .. } => vec![observed],
        Event::ApprovalRequested(request) => {
            let ApprovalRequest {
                cutover, changed, ..
            } = &mut **request;
            let changes = changed.iter_mut().flat_map(|changed| &mut changed.changes);
            let values = changes.flat_map(|change| change.was.iter_mut().chain(&mut change.is));
            let observed = cutover.iter_mut().map(|cutover| &mut cutover.observed);
            observed.chain(values).collect()
        }
        _ => Vec::new(),
    }
}

/// What may repeat AWS's words in an event, and with them what a request held.
pub(crate) fn said(event: &mut Event) -> Option<&mut String> {
    match event {
        Event::StepFinished(StepFinished {
            outcome: StepOutcome::Failed { message, .. },
            ..
        }) => Some(message),
        Event::Finished { error, .. } => error.as_mut(),
        Event::UndoPlanned(undo) => Some(&mut undo.reason),
        Event::UndoVoided { reason } => Some(reason),
        Event::UndoFailed { error, .. } => Some(error),
        _ => None,
    }
}

/// Masks what `events`, which follow on those `before`, repeat of their secrets in the words of errors.
pub fn hush<'e>(
    sensitive: &Arc<dyn Sensitive>,
    before: impl IntoIterator<Item = &'e Event>,
    events: &mut [Event],
) {
    if !events.iter_mut().any(|event| said(event).is_some()) {
        return;
    }
    let mut secrets = Secrets::new(Arc::clone(sensitive));
    let mut seen: Vec<Event> = before.into_iter().cloned().collect();
    seen.extend(events.iter().cloned());
    secrets.mask_events(&mut seen.iter_mut().collect::<Vec<_>>());
    for text in events.iter_mut().filter_map(said) {
        secrets.hush(text);
    }
}

/// Masks secrets in values that are shown to people or told to other systems.
///
/// The same secret has the same mask, and another one another: `***`, `*** (2)`. Who compares what one of
/// these has masked sees that a secret has changed, but not what it is.
pub struct Secrets {
    sensitive: Arc<dyn Sensitive>,
    services: BTreeSet<String>,
    known: HashSet<String>,
    /// What was masked, as JSON, with its number.
    masked: HashMap<String, usize>,
}

impl Secrets {
    /// Knows of no service yet: what is named as secrets are is masked.
    #[must_use]
    pub fn new(sensitive: Arc<dyn Sensitive>) -> Self {
        Self {
            sensitive,
            services: BTreeSet::new(),
            known: HashSet::new(),
            masked: HashMap::new(),
        }
    }

    /// Masks values of the services, too, that are called anywhere in `plan`.
    #[must_use]
    pub fn of(mut self, plan: &Value) -> Self {
        services(plan, &mut self.services);
        self
    }

    /// Masks what is secret in `value`.
    pub fn mask(&mut self, value: &mut Value) {
        self.walk(|walk| walk.values(&mut [&mut *value]));
        cover(value);
    }

    /// Masks what is secret in values by their names.
    pub fn mask_members(&mut self, members: &mut Map<String, Value>) {
        let mut value = Value::Object(std::mem::take(members));
        self.mask(&mut value);
        if let Value::Object(masked) = value {
            *members = masked;
        }
    }

    /// Masks what is secret in the events of one remediation.
    pub fn mask_events(&mut self, events: &mut [&mut Event]) {
        for event in events.iter() {
            called(event, &mut self.services);
        }
        for event in events.iter_mut() {
            let any = self.walk(|walk| walk.event(event));
            contents(event).into_iter().for_each(cover);
            if let (true, Event::StepStarted(step)) = (any, &mut **event) {
                // Of a weak secret it would allow to try what it is.
                MASK.clone_into(&mut step.call_hash);
            }
        }
        for text in events.iter_mut().filter_map(|event| said(event)) {
            self.hush(text);
        }
    }

    /// Masks in a text what was masked before.
    fn hush(&self, text: &mut String) {
        let mut secrets = Vec::new();
        for secret in self.masked.keys() {
            if let Ok(secret) = serde_json::from_str(secret) {
                texts(&secret, &mut secrets);
            }
        }
        // One may stand in another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        for secret in secrets {
            if text.contains(&secret) {
                *text = text.replace(&secret, MASK);
            }
        }
    }

    /// Masks what `go` walks through; whether that was anything.
    fn walk(
        &mut self,
        go: impl FnOnce(&mut Walk<'_, Infallible>) -> Result<(), Infallible>,
    ) -> bool {
        let Self {
            sensitive,
            services,
            known,
            masked,
        } = self;
        let mut any = false;
        let mut replace = |value: &mut Value| {
            let next = masked.len() + 1;
            let number = *masked.entry(value.to_string()).or_insert(next);
            *value = Value::String(match number {
                1 => MASK.to_owned(),
                number => format!("{MASK} ({number})"),
            });
            any = true;
            Ok::<(), Infallible>(())
        };
        let mut walk = Walk {
            sensitive: &**sensitive,
            services,
            known,
            replace: &mut replace,
        };
        let Ok(()) = go(&mut walk);
        any
    }
}

/// Masks what is sealed in `value`.
fn cover(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with(SEALED) => MASK.clone_into(text),
        Value::Array(items) => items.iter_mut().for_each(cover),
        Value::Object(members) => members.values_mut().for_each(cover),
        _ => {}
    }
}

/// `value` with all that is sealed as `***`, for people.
#[must_use]
pub fn masked(mut value: Value) -> Value {
    cover(&mut value);
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Lambda;

    impl Sensitive for Lambda {
        fn is_secret(&self, service: &str, member: &str) -> bool {
            service == "lambda" && member == "Variables"
        }
    }

    fn secrets() -> Secrets {
        let plan = json!({"steps": [{"service": "lambda", "operation": "GetFunction"}]});
        Secrets::new(Arc::new(Lambda)).of(&plan)
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for (name, secret) in [
            ("MasterUserPassword", true),
            ("SecretString", true),
            ("auth_token", true),
            ("PrivateKey", true),
            ("SecretArn", false),
            ("SecretId", false),
            ("PasswordPolicy", false),
            ("Bucket", false),
            ("NextToken", false),
        ] {
            assert_eq!(is_named_as_secret(name), secret, "{name}");
        }
    }

    #[test]
    fn what_people_are_shown() {
        let check = |value: Value, expected: Value| {
            let mut shown = value;
            secrets().mask(&mut shown);
            assert_eq!(shown, expected);
        };
        check(json!({"Bucket": "logs"}), json!({"Bucket": "logs"}));
        check(
            json!({"Variables": {"STAGE": "test"}}),
            json!({"Variables": "***"}),
        );
        check(
            json!([{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "STAGE", "value": "test"}]),
            json!([{"name": "DB_PASSWORD", "value": "***"}, {"name": "STAGE", "value": "test"}]),
        );
        // A list of secrets, and one that only tells of them.
        check(
            json!({"Passwords": ["hunter2", "hunter3", ""], "secrets": [{"name": "A", "valueFrom": "b"}]}),
            json!({"Passwords": ["***", "*** (2)", ""], "secrets": [{"name": "A", "valueFrom": "b"}]}),
        );
        // The same text under another name.
        check(
            json!({"key": "hunter2", "Password": "hunter2", "stage": "hunter"}),
            json!({"key": "***", "Password": "***", "stage": "hunter"}),
        );
        check(
            json!({"key": "x", "Password": "x"}),
            json!({"key": "x", "Password": "***"}),
        );
        check(
            json!({"Password": "sealed:v1:AAAA"}),
            json!({"Password": "***"}),
        );
    }

    #[test]
    fn that_a_secret_changed_is_seen() {
        let mut mask = secrets();
        let mut shown = ["hunter2", "hunter3", "hunter2"].map(|one| json!({"Password": one}));
        shown.iter_mut().for_each(|one| mask.mask(one));
        let [first, other, again] = shown;
        assert_eq!(first, json!({"Password": "***"}));
        assert_eq!(other, json!({"Password": "*** (2)"}));
        assert_eq!(again, first);
        // What is masked stays as it is.
        for one in [first, other] {
            let mut again = one.clone();
            secrets().mask(&mut again);
            assert_eq!(again, one);
        }
    }
}
