//! Cedar policies: the schema that follows from the catalog, and policy files held against it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    str::FromStr as _,
};

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
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
  control: String,
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
pub(crate) struct Policies {
    set: PolicySet,
    authorizer: Authorizer,
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

impl Policies {
    /// Reads policies; with a schema, holds them against it.
    pub(crate) fn load(files: &[File], schema: Option<&str>) -> Result<Self, Problems> {
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
        if let Some(schema) = schema {
            problems.extend(validate(&set, schema, &origin));
        }
        if problems.is_empty() {
            Ok(Self {
                set,
                authorizer: Authorizer::new(),
            })
        } else {
            Err(Problems(problems))
        }
    }

    pub(crate) fn ask(&self, request: &Request, entities: &Entities) -> Ruling {
        let answer = self.authorizer.is_authorized(request, &self.set, entities);
        let diagnostics = answer.diagnostics();
        let mut policies: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
        policies.sort_unstable();
        let errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        Ruling {
            // Cedar leaves a policy that fails out, be it a `forbid`. Here that is a no.
            permitted: answer.decision() == Decision::Allow && errors.is_empty(),
            policies,
            errors,
        }
    }

    /// The same without one policy: would anything change?
    pub(crate) fn without(&self, name: &str) -> Option<Self> {
        let mut set = self.set.clone();
        set.remove_static(PolicyId::new(name)).ok()?;
        Some(Self {
            set,
            authorizer: Authorizer::new(),
        })
    }

    pub(crate) fn is_forbid(&self, name: &str) -> bool {
        let policy = self.set.policy(&PolicyId::new(name));
        policy.is_some_and(|policy| policy.effect() == Effect::Forbid)
    }

    pub(crate) fn len(&self) -> usize {
        self.set.num_of_policies()
    }
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
