//! `stanch api`.

use std::{fmt::Write as _, io::Read as _};

use serde_json::{Value, json};
use stanch_models::{Models, Operation, Pages, Resolved, Service, ShapeId, ShapeKind};
use stanch_types::{Api as _, Call};

use crate::{
    cli::Api,
    output::{Color, Exit, Failure, Table, print, print_json, with},
    wire::Wire,
};

/// Runs the subcommand.
pub async fn run(wire: &Wire, command: Api) -> Result<Exit, Failure> {
    match command {
        Api::Call {
            service,
            operation,
            params,
            query,
            region,
            all_pages,
        } => {
            let query = query.map(|query| compile(&query)).transpose()?;
            let call = Call::new(service, operation, parameters(&params)?);
            // A wrong name is told before credentials and region are looked for.
            let models = wire.models()?;
            models.resolve(&call.service, &call.operation)?;
            let client = wire.client(wire.region(region)?)?;
            let output = if all_pages {
                Pages::new(&client, &models, call)?.collect().await?.output
            } else {
                client.call(&call).await?.output
            };
            print_json(&match query {
                Some(query) => search(&query, &output)?,
                None => output,
            })?;
            Ok(Exit::Done)
        }
        Api::List { service: None } => list_services(wire),
        Api::List {
            service: Some(service),
        } => list_operations(wire, &service),
        Api::Show { service, operation } => {
            let models = wire.models()?;
            let found = models.resolve(&service, &operation)?;
            show(wire, &models, &found)
        }
    }
}

fn parameters(text: &str) -> Result<Value, Failure> {
    let text = match text {
        "-" => {
            let mut all = String::new();
            std::io::stdin().lock().read_to_string(&mut all)?;
            all
        }
        text => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("`--params` is not JSON: {error}"))
            .hint("write an object: `--params '{\"Bucket\": \"demo\"}'`")
    })
}

fn compile(query: &str) -> Result<jmespath::Expression<'static>, Failure> {
    jmespath::compile(query).map_err(|error| {
        let reason = error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        Failure::usage(format!("`--query` is not JMESPath: {reason}"))
            .hint("see https://jmespath.org")
    })
}

fn search(query: &jmespath::Expression<'_>, output: &Value) -> Result<Value, Failure> {
    let found = query.search(output).map_err(|error| Failure::of(&error))?;
    serde_json::to_value(found).map_err(|error| Failure::of(&error))
}

fn list_services(wire: &Wire) -> Result<Exit, Failure> {
    let models = wire.models()?;
    let names = models.names();
    if wire.json {
        print_json(&names)?;
    } else {
        print(names.join("\n"))?;
    }
    Ok(Exit::Done)
}

const fn access(read: Option<bool>) -> &'static str {
    match read {
        Some(true) => "read",
        Some(false) => "write",
        None => "unknown, taken for a write",
    }
}

fn list_operations(wire: &Wire, service: &str) -> Result<Exit, Failure> {
    let models = wire.models()?;
    let service = models.service(service)?;
    let mut table = Table::new(["OPERATION", "ACCESS"]);
    let mut all = Vec::new();
    for operation in service.operations() {
        let read = models
            .is_read(&service, operation)
            .map_err(|error| Failure::of(&error))?;
        all.push(json!({ "operation": operation.name, "read": read }));
        table.row([operation.name.to_string(), access(read).to_owned()]);
    }
    if wire.json {
        print_json(&all)?;
    } else {
        print(table.render(Color::out()))?;
    }
    Ok(Exit::Done)
}

fn show(wire: &Wire, models: &Models, found: &Resolved) -> Result<Exit, Failure> {
    let (service, operation): (&Service, &Operation) = (&found.service, found.operation());
    let read = models
        .is_read(service, operation)
        .map_err(|error| Failure::of(&error))?;
    let actions = models
        .actions_for(service, operation)
        .map_err(|error| Failure::of(&error))?;
    if wire.json {
        let actions: Vec<Value> = actions
            .iter()
            .map(|needed| {
                json!({ "action": needed.qualified(), "optional": needed.optional, "resources": needed.arns })
            })
            .collect();
        print_json(&json!({
            "service": service.name,
            "operation": operation.name,
            "read": read,
            "actions": actions,
            "input": operation.input.map(|id| shape_json(service, id, DEPTH)),
            "output": operation.output.map(|id| shape_json(service, id, DEPTH)),
            "paginated": service.paginator(&operation.name).is_some(),
        }))?;
        return Ok(Exit::Done);
    }
    let color = Color::out();
    let mut text = format!(
        "{}: {} ({})\n",
        color.bold(format_args!("{}.{}", service.name, operation.name)),
        access(read),
        service.full_name
    );
    for needed in &actions {
        let optional = if needed.optional {
            " (for some requests)"
        } else {
            ""
        };
        let on = if needed.arns.is_empty() {
            "*".to_owned()
        } else {
            needed.arns.join(", ")
        };
        let _ = write!(text, "\n  needs {}{optional} on {on}", needed.qualified());
    }
    for (label, shape) in [("input", operation.input), ("output", operation.output)] {
        let _ = write!(text, "\n\n{}", color.bold(label));
        match shape {
            Some(id) if !service.members(id).is_empty() => outline(service, id, 1, &mut text),
            _ => text.push_str("\n  nothing"),
        }
    }
    print(text)?;
    Ok(Exit::Done)
}

/// How deep shapes are shown: some contain themselves.
const DEPTH: usize = 4;

fn kind(service: &Service, id: ShapeId) -> String {
    match &service.shape(id).kind {
        ShapeKind::Structure(structure) if structure.document => "any JSON".to_owned(),
        ShapeKind::Structure(_) => "object".to_owned(),
        ShapeKind::List { member, .. } => format!("list of {}", kind(service, member.shape)),
        ShapeKind::Map { value, .. } => format!("map of {}", kind(service, value.shape)),
        ShapeKind::String { enumeration, .. } if !enumeration.is_empty() => {
            const SHOWN: usize = 6;
            let mut names: Vec<&str> = enumeration.iter().take(SHOWN).map(|name| &**name).collect();
            if enumeration.len() > SHOWN {
                names.push("…");
            }
            names.join(" | ")
        }
        ShapeKind::String { .. } => "string".to_owned(),
        ShapeKind::Blob { .. } => "blob".to_owned(),
        ShapeKind::Boolean => "boolean".to_owned(),
        ShapeKind::Integer | ShapeKind::Long => "integer".to_owned(),
        ShapeKind::Float | ShapeKind::Double => "number".to_owned(),
        ShapeKind::Timestamp(_) => "timestamp".to_owned(),
    }
}

/// The structure that lies in a shape, below lists and maps.
fn inner(service: &Service, id: ShapeId) -> ShapeId {
    match &service.shape(id).kind {
        ShapeKind::List { member, .. } => inner(service, member.shape),
        ShapeKind::Map { value, .. } => inner(service, value.shape),
        _ => id,
    }
}

fn outline(service: &Service, id: ShapeId, depth: usize, text: &mut String) {
    for member in service.members(id) {
        let required = if member.required { " (required)" } else { "" };
        let _ = write!(
            text,
            "\n{:width$}{}: {}{required}",
            "",
            member.name,
            kind(service, member.shape),
            width = 2 * depth
        );
        if depth < DEPTH {
            outline(service, inner(service, member.shape), depth + 1, text);
        }
    }
}

fn shape_json(service: &Service, id: ShapeId, depth: usize) -> Value {
    let members: Vec<Value> = match depth {
        0 => Vec::new(),
        _ => {
            let below = |member: &stanch_models::Member| {
                let value = shape_json(service, inner(service, member.shape), depth - 1);
                let value = with(value, "name", &*member.name);
                let value = with(value, "type", kind(service, member.shape));
                with(value, "required", member.required)
            };
            service.members(id).iter().map(below).collect()
        }
    };
    if members.is_empty() {
        json!({})
    } else {
        json!({ "members": members })
    }
}
