//! Cedar policies: the schema that follows from the catalog, and policy files held against it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    str::FromStr as _,
};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId,
    EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, PolicySetError, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use serde_json::Value;
use stanch_catalog::{Action, Catalog, Class, FactType, Remediation, Undo};

use crate::problem::{Problem, Problems};

/// A file, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, for people.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// How a change may come to run: the three questions that policies answer, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// After an approval.
    AfterApproval,
    /// Because a person asked for it.
    OnRequest,
    /// By itself.
    Automatically,
}

impl Run {
    /// From the one that permits least.
    pub const ALL: [Self; 3] = [Self::AfterApproval, Self::OnRequest, Self::Automatically];

    /// Its name in policies: `Run::"automatically"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Automatically => "automatically",
            Self::OnRequest => "onRequest",
            Self::AfterApproval => "afterApproval",
        }
    }
}

/// What policies may speak of, as a Cedar schema.
#[must_use]
pub(crate) fn schema(catalog: &Catalog, calendars: &[&str]) -> String {
    let remediations: Vec<_> = catalog.iter().collect();
    let types: BTreeSet<&str> = remediations
        .iter()
        .flat_map(|remediation| remediation.resources.iter().map(String::as_str))
        .collect();
    let facts: BTreeMap<&str, FactType> = remediations
        .iter()
        .flat_map(|remediation| &remediation.impact)
        .map(|probe| (probe.read.name.as_str(), probe.kind))
        .collect();
    let groups: BTreeSet<String> = remediations.iter().flat_map(|one| groups(one)).collect();
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = String::from(HEAD);
    let _ = writeln!(
        text,
        "\n/// The types of resource that the catalog fixes, as findings name them.\nentity ResourceType enum [{}];",
        list(&mut types.into_iter())
    );
    let calendars: String = calendars
        .iter()
        .map(|name| format!(" {name:?}: Bool,"))
        .collect();
    let facts: String = facts
        .into_iter()
        .map(|(name, kind)| {
            let kind = match kind {
                FactType::Integer => "Long",
                FactType::Boolean => "Bool",
                FactType::String => "String",
                FactType::StringList => "Set<String>",
                FactType::Timestamp => "datetime",
            };
            format!(" {name:?}?: {kind},")
        })
        .collect();
    let _ = writeln!(
        text,
        "\n/// True for each calendar that is open; `open` if all are.\ntype Calendars = {{ open: Bool,{calendars} }};\n\n/// What the remediation's impact probes saw.\ntype Impact = {{{facts} }};\n{CONTEXT}"
    );
    let _ = writeln!(
        text,
        "\naction {};",
        list(&mut groups.iter().map(String::as_str))
    );
    for remediation in &remediations {
        let groups = self::groups(remediation);
        let _ = writeln!(
            text,
            "action {:?} in [{}] appliesTo {{ principal: [Person, Source], resource: Resource, context: Case }};",
            remediation.name,
            list(&mut groups.iter().map(String::as_str))
        );
    }
    text
}

const HEAD: &str = "\
// What policies may speak of. `stanch policy schema` prints it; it follows from the catalog.

/// A role that the configuration gives a person.
entity Role;

/// A person who asked. `mfa`: the request was made with a second factor.
entity Person in [Role] { mfa: Bool };

/// Where a finding came from, when nobody asked.
entity Source;

/// The three questions, in their order: the highest that is permitted wins.
entity Run enum [\"automatically\", \"onRequest\", \"afterApproval\"];

/// `OrganizationalUnit::\"root/prod/payments\"`, in `root/prod`, in `root`.
entity OrganizationalUnit in [OrganizationalUnit];

entity Account in [OrganizationalUnit] tags String;

/// `tagsKnown`: the finding tells the tags. If it does not, that a tag is absent proves nothing.
entity Resource in [Account] {
  account: Account,
  type: ResourceType,
  region: String,
  tagsKnown: Bool,
} tags String;
";

const CONTEXT: &str = "
/// Changes of the last 24 hours, by what they have in common with this one.
type Today = { account: Long, control: Long, resourceType: Long, remediation: Long, all: Long };

type Case = {
  run: Run,
  /// A change is to be taken back; else it is to be made.
  undo: Bool,
  /// As the finding has it.
  control: String,
  /// That, and what other products call what the remediation fixes: `S3.8` of what Prowler has found.
  controls: Set<String>,
  /// 0 to 100 as Security Hub has it: 1 low, 40 medium, 70 high, 90 critical.
  severity?: Long,
  /// Since the finding was first seen.
  age?: duration,
  now: datetime,
  /// 0 to 23, UTC.
  hour: Long,
  /// 1 is Monday, 7 is Sunday; UTC.
  weekday: Long,
  calendars: Calendars,
  today: Today,
  impact: Impact,
  /// The feeds that an address or indicator of the finding is in.
  threats: Set<String>,
};";

/// The groups of actions that a remediation is in: its class, the services that it changes, and
/// whether there is a way back.
pub(crate) fn groups(remediation: &Remediation) -> BTreeSet<String> {
    let mut groups: BTreeSet<String> = remediation
        .apply
        .iter()
        .filter_map(|step| match &step.action {
            Action::Call { service, .. } => Some(service.clone()),
            _ => None,
        })
        .collect();
    groups.insert(class(remediation.safety.class).to_owned());
    if remediation.safety.undo == Undo::Exact {
        groups.insert("undoable".to_owned());
    }
    groups
}

pub(crate) const fn class(class: Class) -> &'static str {
    match class {
        Class::Safe => "safe",
        Class::Guarded => "guarded",
        Class::Destructive => "destructive",
    }
}

/// A set of policies that was checked.
///
/// Cedar evaluates each policy that it is given. A policy whose scope does not have the action, or whose
/// conditions begin with another question, comes to nothing, and cannot fail before that is known: only
/// the others are asked.
pub(crate) struct Policies {
    /// All of them.
    set: PolicySet,
    /// The same, by what they are about.
    about: HashMap<About, PolicySet>,
    authorizer: Authorizer,
    pub(crate) speaks: Speaks,
}

/// What a policy can only apply to, as far as that is to be seen at its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct About {
    /// An action, or a group of actions, in its scope; any if there is none.
    action: Option<EntityUid>,
    /// The question, where its conditions begin with that; any if they do not.
    run: Option<EntityUid>,
}

/// What policies speak of, as far as it matters what has to be known to ask them.
#[derive(Debug, Default)]
pub(crate) struct Speaks {
    /// Organizational units.
    pub(crate) units: bool,
    /// Tags of accounts.
    pub(crate) account_tags: bool,
    /// Members of the context.
    members: BTreeSet<String>,
    /// Something cannot be told, and may be anything.
    any: bool,
}

impl Speaks {
    /// Nobody can tell of what.
    const fn of_anything(&mut self) {
        (self.any, self.units, self.account_tags) = (true, true, true);
    }

    /// Whether they speak of a member of the context.
    pub(crate) fn of(&self, member: &str) -> bool {
        self.any || self.members.contains(member)
    }

    /// Whether they go by the time itself, not only by calendars.
    pub(crate) fn of_times(&self) -> bool {
        let mut times = ["now", "hour", "weekday", "age"].into_iter();
        times.any(|time| self.of(time))
    }

    /// Takes in a policy as JSON (<https://docs.cedarpolicy.com/policies/json-format.html>).
    fn hear(&mut self, policy: &Value) {
        let is_context = |one: &Value| one.pointer("/left/Var") == Some(&"context".into());
        match policy {
            Value::Object(members) => {
                self.units |= members.get("type") == Some(&"OrganizationalUnit".into());
                for (name, member) in members {
                    match name.as_str() {
                        "." | "has" if is_context(member) => {
                            let attribute = member.get("attr").and_then(Value::as_str);
                            self.members.extend(attribute.map(str::to_owned));
                        }
                        "hasTag" | "getTag" => {
                            // Of the resource itself, or else of its account.
                            self.account_tags |=
                                member.pointer("/left/Var") != Some(&"resource".into());
                            self.hear(member);
                        }
                        "Var" => self.any |= *member == "context",
                        _ => self.hear(member),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.hear(item)),
            _ => {}
        }
    }
}

/// What policies say to one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub(crate) permitted: bool,
    /// The policies that decided, by name; none where no policy permits.
    pub(crate) policies: Vec<String>,
    /// Policies that could not be evaluated.
    pub(crate) errors: Vec<String>,
}

impl Ruling {
    /// The answer where the question itself cannot be put.
    pub(crate) fn unasked(error: String) -> Self {
        Self {
            errors: vec![error],
            ..Self::default()
        }
    }
}

impl Policies {
    /// Reads policies; with a schema and a catalog, holds them against these.
    pub(crate) fn load(
        files: &[File],
        against: Option<(&str, &Catalog)>,
    ) -> Result<Self, Problems> {
        let mut set = PolicySet::new();
        let mut problems = Vec::new();
        let mut origin: HashMap<PolicyId, &File> = HashMap::new();
        for file in files {
            let parsed = match PolicySet::from_str(&file.text) {
                Ok(parsed) => parsed,
                Err(errors) => {
                    problems.extend(errors.iter().map(|error| located(file, error, error)));
                    continue;
                }
            };
            if parsed.templates().next().is_some() {
                let message = "a policy template: `?principal` and `?resource` have no value here";
                problems.push(Problem::at(&file.path, &file.text, 0, message));
                continue;
            }
            let number = |id: &PolicyId| {
                let id: &str = id.as_ref();
                id.trim_start_matches("policy")
                    .parse::<usize>()
                    .unwrap_or_default()
            };
            for policy in parsed.policies() {
                let name = match policy.annotation("id") {
                    Some(name) if !name.is_empty() => name.to_owned(),
                    _ => format!("{}#{}", file.path, number(policy.id()) + 1),
                };
                let id = PolicyId::new(&name);
                if let Some(other) = origin.insert(id.clone(), file) {
                    let message = format!("`{}` has a policy `@id({name:?})` too", other.path);
                    let offset = file.text.find(&format!("{name:?}")).unwrap_or(0);
                    let problem = Problem::at(&file.path, &file.text, offset, message);
                    problems.push(problem.hint("give each policy a name of its own"));
                    continue;
                }
                if let Err(error) = set.add(policy.new_id(id)) {
                    problems.push(Problem::at(&file.path, &file.text, 0, error.to_string()));
                }
            }
        }
        let spelt = spelt(&set);
        if let Some((schema, catalog)) = against {
            problems.extend(validate(&set, schema, &origin));
            problems.extend(misspelt(&spelt, catalog, &origin));
        }
        if problems.is_empty() {
            Self::of(set, &spelt).map_err(|error| {
                Problems(vec![Problem::at(
                    "policies",
                    "",
                    0,
                    stanch_types::chain(&*error),
                )])
            })
        } else {
            Err(Problems(problems))
        }
    }

    fn of(set: PolicySet, spelt: &[Spelt]) -> Result<Self, Box<PolicySetError>> {
        let mut about: HashMap<About, PolicySet> = HashMap::new();
        let mut speaks = Speaks::default();
        for (policy, json) in spelt {
            let actions: BTreeSet<Option<EntityUid>> = match policy.action_constraint() {
                ActionConstraint::Any => [None].into(),
                ActionConstraint::Eq(action) => [Some(action)].into(),
                ActionConstraint::In(actions) => actions.into_iter().map(Some).collect(),
            };
            match json {
                Some(json) => speaks.hear(json),
                None => speaks.of_anything(),
            }
            let run = json.as_ref().and_then(first_question);
            let run = run.map(|name| uid(&Types::get().run, name));
            for action in actions {
                let run = run.clone();
                let those = about.entry(About { action, run }).or_default();
                those.add(policy.clone())?;
            }
        }
        Ok(Self {
            set,
            about,
            authorizer: Authorizer::new(),
            speaks,
        })
    }

    /// What the policies say to a question, which the request has as `context.run`.
    pub(crate) fn ask(&self, run: Run, request: &Request, entities: &Entities) -> Ruling {
        let action = request.action();
        let groups = action.and_then(|action| entities.ancestors(action));
        let named = action.into_iter().chain(groups.into_iter().flatten());
        let actions = std::iter::once(None).chain(named.map(Some));
        let run = uid(&Types::get().run, run.name());
        let sets = actions.flat_map(|action| {
            let about = |run| About {
                action: action.cloned(),
                run,
            };
            [about(None), about(Some(run.clone()))]
        });
        let sets = sets.filter_map(|about| self.about.get(&about));
        self.ask_all(sets, request, entities)
    }

    /// What those of `sets` say together; a policy may be in several.
    fn ask_all<'p>(
        &self,
        sets: impl Iterator<Item = &'p PolicySet>,
        request: &Request,
        entities: &Entities,
    ) -> Ruling {
        let [mut permits, mut forbids, mut errors] = [const { BTreeSet::new() }; 3];
        for set in sets {
            let answer = self.authorizer.is_authorized(request, set, entities);
            let diagnostics = answer.diagnostics();
            // Cedar tells the `forbid`s that apply, or else the `permit`s.
            let decided = match answer.decision() {
                Decision::Allow => &mut permits,
                Decision::Deny => &mut forbids,
            };
            decided.extend(diagnostics.reason().map(ToString::to_string));
            errors.extend(diagnostics.errors().map(ToString::to_string));
        }
        Ruling {
            // Cedar leaves a policy that fails out, be it a `forbid`. Here that is a no.
            permitted: forbids.is_empty() && !permits.is_empty() && errors.is_empty(),
            policies: match forbids.is_empty() {
                true => permits.into_iter().collect(),
                false => forbids.into_iter().collect(),
            },
            errors: errors.into_iter().collect(),
        }
    }

    /// The same without one policy: would anything change?
    pub(crate) fn without(&self, name: &str) -> Option<Self> {
        let mut set = self.set.clone();
        set.remove_static(PolicyId::new(name)).ok()?;
        let spelt = spelt(&set);
        Self::of(set, &spelt).ok()
    }

    pub(crate) fn is_forbid(&self, name: &str) -> bool {
        let policy = self.set.policy(&PolicyId::new(name));
        policy.is_some_and(|policy| policy.effect() == Effect::Forbid)
    }

    pub(crate) fn len(&self) -> usize {
        self.set.num_of_policies()
    }
}

/// A policy, and the same as JSON where it can be written so.
type Spelt = (Policy, Option<Value>);

fn spelt(set: &PolicySet) -> Vec<Spelt> {
    let policies = set.policies();
    policies
        .map(|policy| (policy.clone(), policy.to_json().ok()))
        .collect()
}

/// The question that a policy as JSON (<https://docs.cedarpolicy.com/policies/json-format.html>) looks at
/// first: `when { context.run == Run::"automatically" && … }`.
fn first_question(policy: &Value) -> Option<&str> {
    let first = policy.get("conditions")?.get(0)?;
    let mut looks = (first.get("kind")? == "when").then(|| first.get("body"))??;
    while let Some(and) = looks.get("&&") {
        looks = and.get("left")?;
    }
    let (left, right) = (looks.pointer("/==/left/.")?, looks.pointer("/==/right")?);
    let is_run = left.pointer("/left/Var")? == "context" && left.get("attr")? == "run";
    let run = right.pointer("/Value/__entity")?;
    (is_run && run.get("type")? == "Run").then(|| run.get("id")?.as_str())?
}

fn validate(set: &PolicySet, schema: &str, origin: &HashMap<PolicyId, &File>) -> Vec<Problem> {
    let schema = match Schema::from_cedarschema_str(schema) {
        Ok((schema, _)) => schema,
        Err(error) => {
            let problem = Problem::at("schema", schema, 0, stanch_types::chain(&error));
            return vec![
                problem.hint("the catalog gives policies a name that Cedar does not take"),
            ];
        }
    };
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let problem = |id: &PolicyId, error: &dyn std::error::Error, diagnostic: &dyn Diagnostic| {
        let unknown = File {
            path: id.to_string(),
            text: String::new(),
        };
        located(
            origin.get(id).copied().unwrap_or(&unknown),
            error,
            diagnostic,
        )
    };
    let errors = result
        .validation_errors()
        .map(|error| problem(error.policy_id(), error, error));
    // A policy that can never apply is a mistake like any other.
    let warnings = result
        .validation_warnings()
        .map(|warning| problem(warning.policy_id(), warning, warning));
    errors.chain(warnings).collect()
}

/// Controls that policies compare with and that nobody calls so: such a policy never applies, and nobody
/// would notice.
fn misspelt(spelt: &[Spelt], catalog: &Catalog, origin: &HashMap<PolicyId, &File>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (policy, json) in spelt {
        let (Some(file), Some(json)) = (origin.get(policy.id()), json) else {
            continue;
        };
        let mut named = BTreeSet::new();
        controls_in(json, &mut named);
        for name in named.iter().filter(|name| catalog.spelt(name).is_none()) {
            let offset = file.text.find(&format!("{name:?}")).unwrap_or(0);
            let message = format!("nothing that can be fixed is called `{name}`");
            problems.push(Problem::at(&file.path, &file.text, offset, message).hint(
                "`stanch catalog list` shows the controls and remediations that a policy can name",
            ));
        }
    }
    problems
}

/// The texts that `context.control` and `context.controls` are compared with, in a policy as JSON
/// (<https://docs.cedarpolicy.com/policies/json-format.html>).
fn controls_in(expression: &Value, found: &mut BTreeSet<String>) {
    let is_control = |side: Option<&Value>| {
        let access = side.and_then(|side| side.get("."));
        let attribute = access.and_then(|access| access.get("attr")?.as_str());
        let of = access.and_then(|access| access.pointer("/left/Var")?.as_str());
        of == Some("context") && matches!(attribute, Some("control" | "controls"))
    };
    match expression {
        Value::Object(members) => {
            let (left, right) = (members.get("left"), members.get("right"));
            if is_control(left) {
                texts_in(right, found);
            }
            if is_control(right) {
                texts_in(left, found);
            }
            members
                .values()
                .for_each(|member| controls_in(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| controls_in(item, found)),
        _ => {}
    }
}

/// A text, or those of a set.
fn texts_in(expression: Option<&Value>, found: &mut BTreeSet<String>) {
    let text = |one: &Value| Some(one.get("Value")?.as_str()?.to_owned());
    let set = expression.and_then(|set| set.get("Set")?.as_array());
    found.extend(expression.and_then(text));
    found.extend(set.into_iter().flatten().filter_map(text));
}

fn located(file: &File, error: &dyn std::error::Error, diagnostic: &dyn Diagnostic) -> Problem {
    let label = diagnostic.labels().and_then(|mut labels| labels.next());
    let offset = label.map_or(0, |label| label.offset());
    let message = stanch_types::chain(error);
    let problem = Problem::at(&file.path, &file.text, offset, message);
    match diagnostic.help() {
        Some(help) => problem.hint(help.to_string()),
        None => problem,
    }
}

/// A name of an entity; its type is one of the schema's.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// The types of the schema's entities.
pub(crate) struct Types {
    pub(crate) role: EntityTypeName,
    pub(crate) person: EntityTypeName,
    pub(crate) source: EntityTypeName,
    pub(crate) run: EntityTypeName,
    pub(crate) unit: EntityTypeName,
    pub(crate) account: EntityTypeName,
    pub(crate) resource: EntityTypeName,
    pub(crate) resource_type: EntityTypeName,
    pub(crate) action: EntityTypeName,
}

impl Types {
    pub(crate) fn get() -> &'static Self {
        static TYPES: std::sync::LazyLock<Types> = std::sync::LazyLock::new(|| {
            #[expect(clippy::unwrap_used, reason = "the names are literals")]
            let named = |name: &str| EntityTypeName::from_str(name).unwrap();
            Types {
                role: named("Role"),
                person: named("Person"),
                source: named("Source"),
                run: named("Run"),
                unit: named("OrganizationalUnit"),
                account: named("Account"),
                resource: named("Resource"),
                resource_type: named("ResourceType"),
                action: named("Action"),
            }
        });
        &TYPES
    }
}

pub(crate) fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, RestrictedExpression)>,
    parents: impl IntoIterator<Item = EntityUid>,
    tags: &BTreeMap<String, String>,
) -> Result<Entity, String> {
    let attributes = attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let tags = tags
        .iter()
        .map(|(key, value)| (key.clone(), RestrictedExpression::new_string(value.clone())));
    Entity::new_with_tags(uid, attributes, parents, tags).map_err(|error| error.to_string())
}

pub(crate) fn record(
    members: impl IntoIterator<Item = (String, RestrictedExpression)>,
) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}

pub(crate) fn context(
    members: impl IntoIterator<Item = (String, RestrictedExpression)>,
) -> Result<Context, String> {
    Context::from_pairs(members).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::{
        facts::{Facts, Principal},
        guard::Placement,
    };

    const PRINCIPALS: [&str; 5] = [
        "principal",
        "principal is Person",
        "principal == Person::\"alice\"",
        "principal in Role::\"security\"",
        "principal is Source in Role::\"security\"",
    ];
    const ACTIONS: [&str; 7] = [
        "action",
        "action == Action::\"S3BlockPublicAccess\"",
        "action == Action::\"s3\"",
        "action in Action::\"safe\"",
        "action in Action::\"S3BlockPublicAccess\"",
        "action in [Action::\"guarded\", Action::\"s3\"]",
        "action in []",
    ];
    const RESOURCES: [&str; 3] = [
        "resource",
        "resource is Resource in OrganizationalUnit::\"root\"",
        "resource == Resource::\"other\"",
    ];
    /// Some fail: for all, for some principals, or unless the question says something.
    const CONDITIONS: [&str; 11] = [
        "",
        "when { context.run == Run::\"automatically\" }",
        "when { context.run == Run::\"onRequest\" && principal.mfa && context.nothing }",
        "when { principal.mfa && context.run == Run::\"onRequest\" }",
        "unless { context.run == Run::\"afterApproval\" }",
        "unless { context.undo }",
        "when { principal.mfa }",
        "when { context.nothing }",
        "when { resource.getTag(\"team\") == \"web\" }",
        "when { context.run == Run::\"onRequest\" && context.severity > 0 }",
        "when { resource.hasTag(\"team\") } unless { context.hour + 1 }",
    ];

    fn policies() -> impl Strategy<Value = String> {
        let one = (
            select(vec!["permit", "forbid"]),
            select(PRINCIPALS.as_slice()),
            select(ACTIONS.as_slice()),
            select(RESOURCES.as_slice()),
            select(CONDITIONS.as_slice()),
        );
        vec(one, 0..8).prop_map(|all| {
            all.into_iter()
                .map(|(effect, principal, action, resource, condition)| {
                    format!("{effect} ({principal}, {action}, {resource}) {condition};\n")
                })
                .collect()
        })
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let person = (any::<bool>(), any::<bool>()).prop_map(|(mfa, of_role)| Principal::Person {
            name: "alice".to_owned(),
            mfa,
            roles: of_role.then(|| "security".to_owned()).into_iter().collect(),
        });
        let principal = prop_oneof![person, Just(Principal::Source("sqs".to_owned()))];
        let action = select(vec!["S3BlockPublicAccess", "KmsRotateKey"]);
        let groups = vec(select(vec!["safe", "guarded", "s3", "undoable"]), 0..4);
        let told = (any::<bool>(), any::<bool>(), any::<bool>());
        (principal, action, groups, told).prop_map(|(principal, action, groups, told)| {
            let (is_tagged, is_placed, is_weighed) = told;
            Facts {
                principal,
                action: action.to_owned(),
                groups: groups.into_iter().map(str::to_owned).collect(),
                class: Class::Guarded,
                resource: "arn:aws:s3:::logs".to_owned(),
                resource_type: "AwsS3Bucket".to_owned(),
                region: "eu-central-1".to_owned(),
                tags: is_tagged
                    .then(|| ("team".to_owned(), "web".to_owned()))
                    .into_iter()
                    .collect(),
                account: "111111111111".to_owned(),
                placement: Placement {
                    ou: is_placed.then(|| "root/prod".to_owned()),
                    tags: None,
                },
                control: "S3.8".to_owned(),
                controls: BTreeSet::from(["S3.8".to_owned()]),
                severity: is_weighed.then_some(70),
                age: None,
                now: Timestamp::UNIX_EPOCH,
                undo: false,
                open: Vec::new(),
                counts: Default::default(),
                impact: Vec::new(),
                threats: BTreeSet::new(),
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn those_that_are_asked_say_what_all_would(text in policies(), facts in facts()) {
            let file = File { path: "p.cedar".to_owned(), text };
            let policies = Policies::load(&[file], None).unwrap();
            let terms = facts.terms().unwrap();
            for run in Run::ALL {
                let (request, entities) = (terms.request(run, &[]).unwrap(), &terms.entities);
                let all = policies.ask_all(std::iter::once(&policies.set), &request, entities);
                prop_assert_eq!(policies.ask(run, &request, entities), all);
            }
        }
    }

    /// What the property above is about does happen.
    #[test]
    fn policies_of_other_actions_and_questions_are_not_asked() {
        let text = "permit (principal, action, resource);\n\
            @id(\"broken\") forbid (principal, action == Action::\"A\", resource) when { context.nothing };\n\
            permit (principal, action, resource) when { context.run == Run::\"onRequest\" && principal.mfa };\n\
            permit (principal, action, resource) when { principal.mfa && context.run == Run::\"onRequest\" };\n\
            permit (principal, action, resource) when { context.run == Run::\"onRequest\" || principal.mfa };";
        let file = File {
            path: "p.cedar".to_owned(),
            text: text.to_owned(),
        };
        let policies = Policies::load(&[file], None).unwrap();
        let types = Types::get();
        let count = |action: Option<&str>, run: Option<Run>| {
            let about = About {
                action: action.map(|name| uid(&types.action, name)),
                run: run.map(|run| uid(&types.run, run.name())),
            };
            policies
                .about
                .get(&about)
                .map_or(0, PolicySet::num_of_policies)
        };
        assert_eq!(policies.len(), 5);
        assert_eq!(count(None, None), 3);
        assert_eq!(count(None, Some(Run::OnRequest)), 1);
        assert_eq!(count(Some("A"), None), 1);
        assert!(policies.is_forbid("broken"));
        let without = policies.without("broken").unwrap();
        assert_eq!((without.len(), without.about.len()), (4, 2));
    }
}
