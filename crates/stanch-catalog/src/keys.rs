//! The keys of a catalog file: one table for the loader, for the JSON Schema of editors and for the
//! reference page.

use stanch_models::nearest;
use stanch_syntax::{Diagnostic, Kind, Node};

/// A mapping with known keys.
pub(crate) struct Table {
    /// What the mapping is, with its article: "a read".
    pub(crate) what: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A known key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) shape: Shape,
    /// One line, for editors.
    pub(crate) doc: &'static str,
}

/// What a value may be.
pub(crate) enum Shape {
    /// Text that is not empty.
    Text,
    /// A JMESPath expression.
    Expression,
    /// A boolean.
    Flag,
    /// A whole number, not negative.
    Count,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Text, or a list of text.
    Texts,
    /// Anything; strings may hold `{{ expressions }}`.
    Any,
    /// A list of anything.
    AnyList,
    /// A mapping with names that the author chooses.
    AnyMap,
    /// A mapping with known keys.
    Of(&'static Table),
    /// A list of mappings with known keys.
    ListOf(&'static Table),
    /// A mapping from names that the author chooses to mappings with known keys.
    MapOf(&'static Table),
    /// A mapping from names that the author chooses to text or lists of text.
    MapOfTexts,
}

const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        required: true,
        shape,
        doc,
    }
}

const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        required: false,
        shape,
        doc,
    }
}

/// The file itself.
pub(crate) static FILE: Table = Table {
    what: "a remediation",
    keys: &[
        required(
            "remediation",
            Shape::Text,
            "Its unique name, in CamelCase: `S3BlockPublicAccess`.",
        ),
        required(
            "title",
            Shape::Text,
            "One line for people, in the imperative.",
        ),
        required(
            "description",
            Shape::Text,
            "What is wrong without it, and what it does about it.",
        ),
        required(
            "resource",
            Shape::Texts,
            "The ASFF resource types that it fixes; first the one that AWS's own findings carry.",
        ),
        optional(
            "global",
            Shape::Flag,
            "Fixed once for an account and not once per region.",
        ),
        required(
            "controls",
            Shape::MapOfTexts,
            "The controls that it fixes, by framework: `security-hub`, `config`, `cis-3.0.0`, `prowler`, …",
        ),
        optional(
            "sources",
            Shape::Texts,
            "URLs at which the mapping of the controls is documented.",
        ),
        required(
            "safety",
            Shape::Of(&SAFETY),
            "What may go wrong, and whether there is a way back.",
        ),
        optional("parameters", Shape::MapOf(&PARAMETER), "Its inputs."),
        required(
            "read",
            Shape::ListOf(&READ),
            "What is observed, in order; a later read may use earlier ones.",
        ),
        optional(
            "let",
            Shape::ListOf(&LET),
            "Values computed from what was read, in order.",
        ),
        required(
            "compliant",
            Shape::Expression,
            "True when there is nothing to fix.",
        ),
        optional(
            "refuse",
            Shape::ListOf(&REFUSE),
            "Cases in which it must not begin.",
        ),
        optional(
            "impact",
            Shape::ListOf(&PROBE),
            "Facts about what the change may touch, for approvers and policies.",
        ),
        optional(
            "state",
            Shape::Expression,
            "What is compared for undo and drift; all reads if not given.",
        ),
        required(
            "apply",
            Shape::ListOf(&STEP),
            "The requests that fix it, in order.",
        ),
        optional(
            "undo",
            Shape::ListOf(&STEP),
            "The requests that put back what was seen before. Names of reads and lets mean what was seen before; `now.<read>` what is there now.",
        ),
        optional(
            "verify",
            Shape::Of(&VERIFY),
            "How often the check is read again after the change.",
        ),
        required(
            "examples",
            Shape::ListOf(&EXAMPLE),
            "Cases that show it; the proof suite runs them.",
        ),
    ],
};

/// `safety`
pub(crate) static SAFETY: Table = Table {
    what: "`safety`",
    keys: &[
        required(
            "class",
            Shape::OneOf(&["safe", "guarded", "destructive"]),
            "`safe`: no user can notice. `guarded`: someone may notice. `destructive`: something is lost.",
        ),
        required("impact", Shape::Text, "Who may notice, and what."),
        required(
            "undo",
            Shape::OneOf(&["exact", "none"]),
            "`exact`: the observed state is restored as it was.",
        ),
        optional("because", Shape::Text, "Why there is no undo."),
        optional(
            "automatic-undo",
            Shape::Flag,
            "Undone by itself when the change or its verification fails; true unless `undo` is `none`. True with `none`: the steps under `undo` put back what failed half-way.",
        ),
    ],
};

/// A member of `parameters`
pub(crate) static PARAMETER: Table = Table {
    what: "a parameter",
    keys: &[
        optional("description", Shape::Text, "What it is, for people."),
        optional(
            "from",
            Shape::Expression,
            "Taken from the finding: an expression over `resource`, `finding`, `account`, `region`, `partition`.",
        ),
        optional(
            "for",
            Shape::AnyMap,
            "The value for findings of certain controls, by the control's id.",
        ),
        optional(
            "default",
            Shape::Any,
            "The value when nothing else gives one.",
        ),
        optional(
            "type",
            Shape::OneOf(&["String", "Integer", "Boolean", "StringList"]),
            "`String` if not given.",
        ),
        optional(
            "pattern",
            Shape::Text,
            "A regular expression that the whole text (or each element of a list) must match.",
        ),
        optional("accepts", Shape::AnyList, "Values that must be taken."),
        optional("rejects", Shape::AnyList, "Values that must be refused."),
    ],
};

/// A member of `read`
pub(crate) static READ: Table = Table {
    what: "a read",
    keys: &[
        required("name", Shape::Text, "The name of what is seen."),
        required(
            "call",
            Shape::Text,
            "Service and operation as boto3 names them: `s3.GetPublicAccessBlock`.",
        ),
        optional("with", Shape::AnyMap, "The input of the call."),
        optional("when", Shape::Expression, "Not read, and null, when false."),
        optional(
            "each",
            Shape::Expression,
            "Once for each element of this list, which is then called `item`; gives `[{item, value}]`.",
        ),
        optional(
            "absent",
            Shape::Texts,
            "Error codes that mean \"there is none\": the value is then null. Any other error is an error.",
        ),
        optional(
            "pick",
            Shape::Expression,
            "The part of the answer that is kept.",
        ),
        optional(
            "paginate",
            Shape::Flag,
            "Reads all pages and joins their lists.",
        ),
        optional(
            "on",
            Shape::Texts,
            "The ARNs that the session policy is narrowed to, where they do not follow from the input.",
        ),
    ],
};

/// A member of `impact`
pub(crate) static PROBE: Table = Table {
    what: "an impact probe",
    keys: &[
        required(
            "name",
            Shape::Text,
            "The name of the fact; policies call it `context.impact.<name>`.",
        ),
        required("title", Shape::Text, "What the fact says, for people."),
        required(
            "type",
            Shape::OneOf(&["Integer", "Boolean", "String", "StringList", "Timestamp"]),
            "The type of the fact.",
        ),
        required(
            "call",
            Shape::Text,
            "Service and operation as boto3 names them; a read.",
        ),
        optional(
            "with",
            Shape::AnyMap,
            "The input of the call. `past.now`, `past.day`, `past.week` and `past.month` are moments.",
        ),
        optional("when", Shape::Expression, "Not asked when false."),
        optional(
            "absent",
            Shape::Texts,
            "Error codes that mean that there is no such fact.",
        ),
        optional(
            "pick",
            Shape::Expression,
            "The fact, of the answer; null where there is none.",
        ),
        optional(
            "value",
            Shape::Expression,
            "The fact, of all names and `answer`, which is what `pick` has made.",
        ),
        optional(
            "paginate",
            Shape::Flag,
            "Reads all pages and joins their lists.",
        ),
        optional(
            "on",
            Shape::Texts,
            "The ARNs that a policy is narrowed to, where they do not follow from the input.",
        ),
    ],
};

/// A member of `let`
pub(crate) static LET: Table = Table {
    what: "a computed value",
    keys: &[
        required("name", Shape::Text, "Its name."),
        optional(
            "value",
            Shape::Expression,
            "An expression over parameters, reads and earlier values.",
        ),
        optional("function", Shape::Text, "A function of Stanch."),
        optional("with", Shape::AnyMap, "The input of the function."),
        optional(
            "each",
            Shape::Expression,
            "Once for each element of this list, which is then called `item`; gives `[{item, value}]`.",
        ),
    ],
};

/// A member of `refuse`
pub(crate) static REFUSE: Table = Table {
    what: "a refusal",
    keys: &[
        required("when", Shape::Expression, "True in that case."),
        required(
            "because",
            Shape::Text,
            "What people are told: why, and what they can do.",
        ),
    ],
};

/// A member of `apply` or `undo`
pub(crate) static STEP: Table = Table {
    what: "a step",
    keys: &[
        optional(
            "name",
            Shape::Text,
            "Its name; the operation's if not given.",
        ),
        optional("when", Shape::Expression, "Left out when false."),
        optional(
            "each",
            Shape::Expression,
            "Once for each element of this list, which is then called `item`.",
        ),
        optional(
            "call",
            Shape::Text,
            "The call to make: `s3.PutPublicAccessBlock`.",
        ),
        optional(
            "wait",
            Shape::Text,
            "A call to repeat until a value is as wanted: `rds.DescribeDBInstances`.",
        ),
        optional("sleep", Shape::Count, "Seconds to wait."),
        optional(
            "approve",
            Shape::Text,
            "What a person has to approve before the steps that follow: a cut-over.",
        ),
        optional("with", Shape::AnyMap, "The input of the call."),
        optional("until", Shape::Of(&UNTIL), "What `wait` waits for."),
        optional(
            "timeout",
            Shape::Count,
            "Seconds after which `wait` fails; 3600 if not given.",
        ),
        optional(
            "on",
            Shape::Texts,
            "The ARNs that the session policy is narrowed to, where they do not follow from the input.",
        ),
        optional(
            "allow",
            Shape::MapOfTexts,
            "Further IAM actions that the call needs, each with the ARNs that it is narrowed to: `ec2:CreateTags`.",
        ),
        optional(
            "outputs",
            Shape::MapOf(&OUTPUT),
            "What later steps and `undo` need of the answer: `steps.<name>.<Output>`.",
        ),
    ],
};

/// `until`
pub(crate) static UNTIL: Table = Table {
    what: "`until`",
    keys: &[
        required(
            "select",
            Shape::Text,
            "Where the value is in the answer, as Automation's selectors say it: `$.DBInstances[0].DBInstanceStatus`.",
        ),
        required("values", Shape::AnyList, "The values that end the wait."),
    ],
};

/// A member of `outputs`
pub(crate) static OUTPUT: Table = Table {
    what: "an output",
    keys: &[
        required(
            "select",
            Shape::Text,
            "Where it is in the answer, as Automation's selectors say it: `$.Snapshot.SnapshotId`.",
        ),
        optional(
            "type",
            Shape::OneOf(&[
                "String",
                "StringList",
                "Boolean",
                "Integer",
                "StringMap",
                "MapList",
            ]),
            "`String` if not given.",
        ),
    ],
};

/// `verify`
pub(crate) static VERIFY: Table = Table {
    what: "`verify`",
    keys: &[
        optional(
            "attempts",
            Shape::Count,
            "Times the check is read, at most; 5 if not given.",
        ),
        optional(
            "every",
            Shape::Count,
            "Seconds between two of them; 3 if not given.",
        ),
    ],
};

/// A member of `examples`
pub(crate) static EXAMPLE: Table = Table {
    what: "an example",
    keys: &[
        required("title", Shape::Text, "What it shows."),
        optional(
            "given",
            Shape::ListOf(&GIVEN),
            "Calls that plant it in an empty account.",
        ),
        required("finding", Shape::Of(&FINDING), "What arrives."),
        optional(
            "compliant",
            Shape::Flag,
            "Nothing is to be fixed here, and nothing may be changed.",
        ),
        optional(
            "also",
            Shape::ListOf(&GIVEN),
            "Reads whose answers must be the same before and after.",
        ),
    ],
};

/// A member of `given` or `also`
pub(crate) static GIVEN: Table = Table {
    what: "a call",
    keys: &[
        optional("name", Shape::Text, "The name of its answer."),
        required("call", Shape::Text, "Service and operation."),
        optional(
            "with",
            Shape::AnyMap,
            "Its input, over `account`, `region`, `partition` and the answers of earlier calls.",
        ),
        optional(
            "pick",
            Shape::Expression,
            "The part of the answer that is kept.",
        ),
    ],
};

/// `finding`
pub(crate) static FINDING: Table = Table {
    what: "`finding`",
    keys: &[
        required("control", Shape::Text, "A control of this file: `S3.8`."),
        required(
            "resource",
            Shape::Text,
            "The resource's id, as the finding has it.",
        ),
        optional(
            "type",
            Shape::Text,
            "The resource's type, if it is not the first of `resource`.",
        ),
        optional(
            "details",
            Shape::AnyMap,
            "The finding's details of the resource.",
        ),
        optional("settings", Shape::AnyMap, "Parameters that a user has set."),
    ],
};

/// Complains about everything in `node` that the table does not allow. What is left standing can be
/// taken apart without looking at its shape again.
pub(crate) fn check(node: &Node, table: &'static Table, found: &mut Vec<Diagnostic>) {
    let Some(entries) = node.as_map() else {
        found.push(Diagnostic::error(
            node.at,
            format!(
                "{} is a mapping, but this is {}",
                table.what,
                node.describe()
            ),
        ));
        return;
    };
    for entry in entries {
        match table.keys.iter().find(|key| key.name == entry.key) {
            Some(key) => check_shape(&entry.value, &entry.key, &key.shape, found),
            None => {
                let known = || table.keys.iter().map(|key| key.name);
                let hint = match nearest(&entry.key, known()).first() {
                    Some(name) => format!("write `{name}`"),
                    None => format!("the keys of {} are {}", table.what, list(known())),
                };
                found.push(
                    Diagnostic::error(
                        entry.at,
                        format!("{} has no key `{}`", table.what, entry.key),
                    )
                    .hint(hint),
                );
            }
        }
    }
    for key in table.keys.iter().filter(|key| key.required) {
        if !entries.iter().any(|entry| entry.key == key.name) {
            found.push(
                Diagnostic::error(node.at, format!("{} needs `{}`", table.what, key.name))
                    .hint(format!("{}: {}", key.name, key.doc)),
            );
        }
    }
}

fn check_shape(node: &Node, name: &str, shape: &Shape, found: &mut Vec<Diagnostic>) {
    let mut complain = |wanted: &str| {
        found.push(Diagnostic::error(
            node.at,
            format!("`{name}` is {wanted}, but this is {}", node.describe()),
        ));
    };
    let is_text = |node: &Node| node.as_str().is_some_and(|text| !text.trim().is_empty());
    let is_texts = |node: &Node| {
        is_text(node)
            || node
                .as_list()
                .is_some_and(|items| !items.is_empty() && items.iter().all(is_text))
    };
    match shape {
        Shape::Text if !is_text(node) => complain("text"),
        Shape::Expression if !is_text(node) => complain("an expression in quotes"),
        Shape::Flag if !matches!(node.kind, Kind::Bool(_)) => complain("true or false"),
        Shape::Count if count(node).is_none() => complain("a whole number"),
        Shape::Texts if !is_texts(node) => complain("text or a list of text"),
        Shape::AnyList if node.as_list().is_none() => complain("a list"),
        Shape::AnyMap if node.as_map().is_none() => complain("a mapping"),
        Shape::OneOf(words) => {
            let word = node.as_str().unwrap_or_default();
            if !words.contains(&word) {
                found.push(
                    Diagnostic::error(node.at, format!("`{name}` cannot be `{word}`"))
                        .hint(format!("write one of {}", list(words.iter().copied()))),
                );
            }
        }
        Shape::Of(table) => check(node, table, found),
        Shape::ListOf(table) => match node.as_list() {
            Some(items) => items.iter().for_each(|item| check(item, table, found)),
            None => complain("a list"),
        },
        Shape::MapOf(table) => match node.as_map() {
            Some(entries) => entries
                .iter()
                .for_each(|entry| check(&entry.value, table, found)),
            None => complain("a mapping"),
        },
        Shape::MapOfTexts => match node.as_map() {
            Some(entries) => {
                for entry in entries.iter().filter(|entry| !is_texts(&entry.value)) {
                    found.push(Diagnostic::error(
                        entry.value.at,
                        format!(
                            "`{}` is text or a list of text, but this is {}",
                            entry.key,
                            entry.value.describe()
                        ),
                    ));
                }
            }
            None => complain("a mapping"),
        },
        _ => {}
    }
}

/// The whole number that a node is.
pub(crate) fn count(node: &Node) -> Option<u64> {
    match &node.kind {
        Kind::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// "`a`, `b`, `c`"
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
