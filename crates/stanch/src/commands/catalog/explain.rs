//! `stanch catalog explain`: all that is known of a control or of a remediation.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use serde_json::{Value, json};
use stanch_catalog::{
    Action, Catalog, Class, Mapping, Parameter, ParameterType, Permission, Remediation,
    Requirements, Step, Undo,
};
use stanch_models::Models;
use stanch_types::ControlRef;

use super::facts;
use crate::{
    output::{Color, Exit, Failure, print, print_json, with},
    wire::Wire,
};

/// Explains what `name` names: a control, under any of its names, or a remediation.
pub fn explain(wire: &Wire, name: &str) -> Result<Exit, Failure> {
    let catalog = wire.unproved_catalog()?;
    let models = wire.models()?;
    if let Some(remediation) = catalog.get(name) {
        return show(wire, &catalog, &models, None, &[remediation]);
    }
    let tables = Requirements::embedded();
    let control = meant(name, &catalog, tables).ok_or_else(|| {
        Failure::usage(format!("there is no control or remediation `{name}`"))
            .hint(near(name, &catalog, tables))
    })?;
    let fixes = catalog.of_control(&control);
    let why = tables.not_automatic(&control);
    if fixes.is_empty() && why.is_none() {
        if wire.json {
            print_json(&told(&control, &[]))?;
        }
        let known = matches!(&control, ControlRef::SecurityHub(id) if tables.knows(id));
        let hint = match known {
            true => format!("a remediation of your own can: see {GUIDE}"),
            false => near(name, &catalog, tables),
        };
        return Err(Failure::failed(format!("no remediation fixes `{control}`")).hint(hint));
    }
    show(wire, &catalog, &models, Some(&control), &fixes)
}

/// How to add a remediation.
const GUIDE: &str = "docs/guides/add-a-remediation.md";

/// The control that people mean: they leave out what says which framework's it is, and write `s3.8`.
fn meant(name: &str, catalog: &Catalog, tables: &Requirements) -> Option<ControlRef> {
    let known = |control: &ControlRef| {
        !catalog.of_control(control).is_empty()
            || match control {
                ControlRef::SecurityHub(id) => tables.knows(id),
                ControlRef::Prowler(check) => tables.checks().any(|other| other == check),
                _ => false,
            }
    };
    let asked: Option<ControlRef> = name.parse().ok();
    let any_case = || {
        let mut ids = tables.controls().into_iter();
        ids.find(|id| id.eq_ignore_ascii_case(name))
            .map(|id| ControlRef::SecurityHub(id.to_owned()))
    };
    let bare = [
        ControlRef::Prowler(name.to_owned()),
        ControlRef::config_rule(name),
    ];
    asked
        .clone()
        .filter(known)
        .or_else(any_case)
        .or_else(|| bare.into_iter().find(known))
        .or(asked)
}

fn near(name: &str, catalog: &Catalog, tables: &Requirements) -> String {
    let mut names: BTreeSet<String> = catalog.iter().map(|one| one.name.clone()).collect();
    names.extend(catalog.controls().map(ToString::to_string));
    names.extend(tables.controls().into_iter().map(str::to_owned));
    let near = stanch_models::nearest(name, names.iter().map(String::as_str));
    let quoted: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    match quoted.is_empty() {
        true => "`stanch catalog list` shows what can be fixed".to_owned(),
        false => format!("did you mean {}?", quoted.join(" or ")),
    }
}

fn show(
    wire: &Wire,
    catalog: &Catalog,
    models: &Models,
    control: Option<&ControlRef>,
    fixes: &[Arc<Remediation>],
) -> Result<Exit, Failure> {
    let mut all = Vec::new();
    for one in fixes {
        let permissions = one
            .permissions(models)
            .map_err(|error| Failure::of(&error))?;
        all.push((one, permissions));
    }
    if wire.json {
        let fixes: Vec<Value> = all
            .iter()
            .map(|(one, permissions)| {
                let facts = facts(one, catalog.path(&one.name));
                detailed(facts, one, permissions)
            })
            .collect();
        print_json(&match control {
            Some(control) => told(control, &fixes),
            None => json!(fixes),
        })?;
        return Ok(Exit::Done);
    }
    let color = Color::out();
    let mut texts: Vec<String> = control
        .map(|control| of_control(control, color))
        .into_iter()
        .collect();
    for (one, permissions) in &all {
        texts.push(explanation(
            one,
            permissions,
            catalog.path(&one.name),
            color,
        ));
    }
    print(texts.join("\n\n"))?;
    Ok(Exit::Done)
}

/// AWS's page of a control of Security Hub.
fn page(control: &ControlRef) -> Option<String> {
    let ControlRef::SecurityHub(id) = control else {
        return None;
    };
    let (service, number) = id.split_once('.')?;
    let service = service.to_ascii_lowercase();
    Some(format!(
        "https://docs.aws.amazon.com/securityhub/latest/userguide/{service}-controls.html#{service}-{number}"
    ))
}

fn is_retired(control: &ControlRef) -> bool {
    matches!(control, ControlRef::SecurityHub(id) if Requirements::embedded().is_retired(id))
}

fn told(control: &ControlRef, fixes: &[Value]) -> Value {
    let tables = Requirements::embedded();
    json!({
        "control": control,
        "page": page(control),
        "retired": is_retired(control),
        "requirements": mappings(&tables.of_control(control)),
        "not_automatic": tables.not_automatic(control),
        "remediations": fixes,
    })
}

fn of_control(control: &ControlRef, color: Color) -> String {
    let tables = Requirements::embedded();
    let mut text = color.bold(control);
    if is_retired(control) {
        text.push_str(": taken back by AWS; older findings still carry it");
    }
    let mut lines = Lines(text);
    if let Some(page) = page(control) {
        lines.line("page", &page);
    }
    if let Some(why) = tables.not_automatic(control) {
        lines.line("fix", &format!("not automatic: {why}"));
        lines.serves(&tables.of_control(control));
    }
    lines.0
}

fn mappings(mappings: &[Mapping]) -> Vec<Value> {
    mappings
        .iter()
        .map(|mapping| {
            let framework = mapping.framework;
            let sources = [framework.controls, framework.requirements];
            let sources: BTreeSet<&str> = sources.into_iter().flatten().collect();
            json!({
                "framework": framework.id,
                "title": framework.title,
                "ids": mapping.ids,
                "sources": sources,
            })
        })
        .collect()
}

const fn type_name(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "text",
        ParameterType::Integer => "a whole number",
        ParameterType::Boolean => "true or false",
        ParameterType::StringList => "a list",
    }
}

fn detailed(facts: Value, one: &Remediation, permissions: &[Permission]) -> Value {
    let parameters: Vec<Value> = one
        .parameters
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "description": parameter.description,
                "type": type_name(parameter.kind),
                "from": parameter.from.as_ref().map(stanch_catalog::Expression::source),
                "default": parameter.default,
                "for": parameter.for_control,
            })
        })
        .collect();
    let examples: Vec<Value> = one
        .examples
        .iter()
        .map(|example| json!({ "title": example.title, "compliant": example.compliant }))
        .collect();
    let actions = |read| -> Vec<&str> { actions(permissions, read) };
    let mut value = facts;
    for (name, member) in [
        (
            "requirements",
            json!(mappings(&Requirements::embedded().of(one))),
        ),
        ("sources", json!(one.sources)),
        ("parameters", json!(parameters)),
        ("reads", json!(reads(one))),
        ("requests", json!(calls(&one.apply))),
        ("undo_requests", json!(calls(&one.undo))),
        ("may_read", json!(actions(true))),
        ("may_write", json!(actions(false))),
        ("examples", json!(examples)),
    ] {
        value = with(value, name, member);
    }
    value
}

fn actions(permissions: &[Permission], read: bool) -> Vec<&str> {
    let wanted = permissions.iter().filter(|one| one.read == read);
    wanted.map(|one| one.action.as_str()).collect()
}

/// Labelled lines below a heading.
struct Lines(String);

impl Lines {
    fn line(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(self.0, "\n  {label:<9} {value}");
        }
    }

    /// Several lines under one label.
    fn list(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        for (index, value) in values.into_iter().enumerate() {
            self.line(if index == 0 { label } else { "" }, &value);
        }
    }

    fn serves(&mut self, mappings: &[Mapping]) {
        let line = |mapping: &Mapping| {
            let title = mapping.framework.title;
            match mapping.ids.is_empty() {
                true => title.to_owned(),
                false => format!("{title}: {}", mapping.ids.join(", ")),
            }
        };
        self.list("serves", mappings.iter().map(line));
    }
}

fn explanation(
    one: &Remediation,
    permissions: &[Permission],
    path: Option<&str>,
    color: Color,
) -> String {
    let mut text = Lines(format!("{}: {}\n", color.bold(&one.name), one.title));
    text.line("why", one.description.trim());
    text.line("resource", &one.resources.join(", "));
    text.line(
        "class",
        match one.safety.class {
            Class::Safe => "safe: may run on its own",
            Class::Guarded => {
                "guarded: runs on its own only where `automatic.guarded` or a policy says so"
            }
            Class::Destructive => "destructive: always needs an approval",
        },
    );
    text.line("impact", one.safety.impact.trim());
    text.line(
        "undo",
        &match &one.safety.undo {
            Undo::Exact => "exact: what was there before is put back".to_owned(),
            Undo::None { because } => format!("none: {because}"),
        },
    );
    text.list("inputs", one.parameters.iter().map(input));
    text.list(
        "touches",
        one.impact
            .iter()
            .map(|probe| format!("{}: {}", probe.read.name, probe.title)),
    );
    text.line("reads", &reads(one).join(", "));
    text.line("requests", &calls(&one.apply).join(", "));
    text.line("to undo", &calls(&one.undo).join(", "));
    text.line("may read", &actions(permissions, true).join(", "));
    text.line("may write", &actions(permissions, false).join(", "));
    let titles = one.examples.iter().map(|example| match example.compliant {
        true => format!("{} (left alone)", example.title),
        false => example.title.clone(),
    });
    text.list("examples", titles);

    let mappings = Requirements::embedded().of(one);
    let mut frameworks: Vec<(&str, Vec<&str>)> = Vec::new();
    let shown_below = |framework: &str| mappings.iter().any(|m| m.framework.id == framework);
    for control in one
        .controls
        .iter()
        .filter(|control| !shown_below(&control.framework))
    {
        match frameworks
            .iter_mut()
            .find(|(name, _)| *name == control.framework)
        {
            Some((_, ids)) => ids.push(&control.id),
            None => frameworks.push((&control.framework, vec![&control.id])),
        }
    }
    let claims = frameworks
        .iter()
        .map(|(name, ids)| format!("{name}: {}", ids.join(", ")));
    text.list("controls", claims);
    text.serves(&mappings);
    let tables = mappings
        .iter()
        .flat_map(|m| [m.framework.controls, m.framework.requirements]);
    let tables: BTreeSet<String> = tables.flatten().map(str::to_owned).collect();
    text.list("sources", one.sources.iter().cloned().chain(tables));
    text.line("file", path.unwrap_or_default());
    text.0
}

fn input(parameter: &Parameter) -> String {
    let mut text = match (&parameter.from, &parameter.default) {
        (Some(_), _) => format!("{}: from the finding", parameter.name),
        (None, Some(default)) => {
            format!(
                "{}: {}, {default} unless set",
                parameter.name,
                type_name(parameter.kind)
            )
        }
        (None, None) => format!(
            "{}: {}, to be set",
            parameter.name,
            type_name(parameter.kind)
        ),
    };
    for (control, value) in &parameter.for_control {
        let _ = write!(text, "; {value} for {control}");
    }
    if !parameter.description.is_empty() {
        let _ = write!(text, ". {}", parameter.description.trim());
    }
    text
}

fn reads(one: &Remediation) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for read in one
        .reads
        .iter()
        .chain(one.impact.iter().map(|probe| &probe.read))
    {
        let name = format!("{}.{}", read.service, read.operation);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn calls(steps: &[Step]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for step in steps {
        if let Action::Call {
            service, operation, ..
        } = &step.action
        {
            let name = format!("{service}.{operation}");
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
