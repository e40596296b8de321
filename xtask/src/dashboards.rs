//! `cargo xtask dashboards`: pictures of the CloudWatch dashboards, drawn from their definitions.
//!
//! CloudWatch is not asked: the numbers are made up, the same each time. What is shown is which widgets there are,
//! where, of what kind, and of which metrics.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde_json::Value;

use crate::run::{Failure, Outcome, root, run, section};

/// What is drawn.
#[derive(Args)]
pub struct Options {
    /// The browser that takes the pictures
    #[arg(long, default_value = "chromium")]
    browser: PathBuf,
    /// Only write the pages, below `target/dashboards/`
    #[arg(long)]
    pages: bool,
}

/// A dashboard's grid has 24 columns (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html>).
const COLUMN: u64 = 50;
const ROW: u64 = 48;
const WIDTH: u64 = 24 * COLUMN;

/// Columns of a legend.
const COLUMNS: u64 = 2;

/// Points of a curve.
const POINTS: u32 = 48;

const COLOURS: [&str; 6] = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b",
];

/// Draws every dashboard of the administrator's monitoring stack.
pub fn dashboards(options: &Options) -> Outcome {
    let template = root().join("generated/cloudformation/administrator-monitoring.yaml");
    let text = read(&template)?;
    let pages = root().join("target/dashboards");
    fs::create_dir_all(&pages).map_err(|error| unusable(&pages, &error))?;
    let mut drawn = 0;
    for (name, body) in definitions(&text)? {
        let (page, height) = page(&name, &body)?;
        let path = pages.join(format!("{name}.html"));
        fs::write(&path, page).map_err(|error| unusable(&path, &error))?;
        drawn += 1;
        if options.pages {
            continue;
        }
        let picture = root().join(format!("docs/guides/dashboard-{name}.png"));
        section(&format!("{}", picture.display()));
        let profile = pages.join("profile");
        run(Command::new(&options.browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={},{height}", WIDTH + 40))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("file://{}", path.display())))
        .map_err(|failure| {
            failure.hint("install Chromium, or name another browser of its kind with `--browser`")
        })?;
    }
    match drawn {
        0 => Err(Failure::new("the template has no dashboards")),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("`{}`: {error}", path.display()))
}

/// Names and bodies of the dashboards in a rendered template, its pseudo parameters filled in.
fn definitions(template: &str) -> Outcome<Vec<(String, Value)>> {
    let mut found = Vec::new();
    let mut name = String::new();
    for line in template.lines().map(str::trim) {
        if let Some(end) = line
            .strip_prefix("Fn::Sub: ${NamePrefix}-")
            .or_else(|| line.strip_prefix("Fn::Sub: '${NamePrefix}-"))
        {
            name = end.trim_end_matches('\'').to_lowercase();
        }
        let Some(body) = line
            .strip_prefix("Fn::Sub: '{\"widgets\"")
            .and_then(|rest| rest.strip_suffix('\''))
        else {
            continue;
        };
        let text = format!("{{\"widgets\"{body}")
            .replace("''", "'")
            .replace("${NamePrefix}", "SecurityRemediation")
            .replace("${BucketPrefix}", "security-remediation")
            .replace("${AWS::Region}", "us-east-1")
            .replace("${WorkflowArn}", "SecurityRemediationWorkflow");
        let body = serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("the dashboard `{name}`: {error}")))?;
        found.push((std::mem::take(&mut name), body));
    }
    Ok(found)
}

/// The page of a dashboard, and how high it is.
fn page(name: &str, body: &Value) -> Outcome<(String, u64)> {
    let widgets = body
        .get("widgets")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut inner = String::new();
    let mut bottom = 0;
    for widget in widgets {
        let at = |member: &str| widget.get(member).and_then(Value::as_u64);
        let (Some(x), Some(y), Some(width), Some(height)) =
            (at("x"), at("y"), at("width"), at("height"))
        else {
            return Err(Failure::new(format!(
                "a widget of `{name}` has no place: {widget}"
            )));
        };
        bottom = bottom.max(y + height);
        let properties = widget.get("properties").unwrap_or(&Value::Null);
        let (wide, high) = (width * COLUMN - 10, height * ROW - 10);
        // Writing to a string does not fail.
        let _ = write!(
            inner,
            "<div class=w style='left:{}px;top:{}px;width:{wide}px;height:{high}px'><b>{}</b>{}</div>",
            x * COLUMN,
            y * ROW,
            escaped(text(properties, "title")),
            drawing(properties, wide - 20, high - 40)?
        );
    }
    let page = format!(
        "<!doctype html><meta charset=utf-8><title>{name}</title><style>body{{font:13px sans-serif;background:#f2f3f3;margin:15px}}\
         .w{{position:absolute;background:#fff;border:1px solid #d5dbdb;border-radius:4px;padding:8px;box-sizing:border-box;overflow:hidden}}\
         #d{{position:relative}}svg{{display:block}}</style><h3>SecurityRemediation-{name} <small>drawn from its definition, with numbers made up</small></h3>\
         <div id=d>{inner}</div>"
    );
    Ok((page, bottom * ROW + 90))
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A curve of a widget.
struct Series {
    label: String,
    right: bool,
}

/// What a widget shows. `.` in a metric is what stands there in the one before; a search finds several.
fn series(properties: &Value) -> Vec<Series> {
    let mut before: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for metric in properties
        .get("metrics")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let parts = metric.as_array().map(Vec::as_slice).unwrap_or_default();
        let (options, names): (Vec<&Value>, Vec<&Value>) =
            parts.iter().partition(|part| part.is_object());
        let options = options.first().copied().unwrap_or(&Value::Null);
        let names: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(place, name)| match name.as_str() {
                Some(".") => before.get(place).cloned().unwrap_or_default(),
                other => other.unwrap_or_default().to_owned(),
            })
            .collect();
        if !names.is_empty() {
            before.clone_from(&names);
        }
        if options.get("visible") == Some(&Value::Bool(false)) {
            continue;
        }
        let right = text(options, "yAxis") == "right";
        let expression = text(options, "expression");
        let own = text(options, "label");
        if expression.contains("SEARCH(") {
            let found: &[&str] = match () {
                () if expression.contains("ResourceType}") => &[
                    "AwsS3Bucket",
                    "AwsEc2SecurityGroup",
                    "AwsRdsDbInstance",
                    "AwsIamUser",
                    "AwsKmsKey",
                ],
                () if expression.contains("EventBusName") => {
                    &["MemberConfigCompliance", "MemberExecutions"]
                }
                () if expression.contains("RuleName") => {
                    &["Manual", "ImportedFindings", "ConfigCompliance"]
                }
                () => &["222222222222", "333333333333", "444444444444"],
            };
            let id = text(options, "id");
            all.extend(found.iter().map(|one| Series {
                label: format!("{one} ({id})"),
                right,
            }));
            continue;
        }
        let label = match (own.is_empty(), expression.is_empty()) {
            (false, _) => own.to_owned(),
            (true, false) => expression.to_owned(),
            (true, true) => {
                let mut words = names.into_iter().skip(1);
                let metric = words.next().unwrap_or_default();
                // A dimension's value that is no name of ours tells curves of one metric apart.
                match words.next_back() {
                    Some(last) if !last.starts_with("SecurityRemediation") => {
                        format!("{metric} {last}")
                    }
                    _ => metric,
                }
            }
        };
        all.push(Series { label, right });
    }
    all
}

/// Numbers that are the same each time.
fn numbers(label: &str) -> impl Iterator<Item = u64> {
    let mut state = label.bytes().fold(17_u64, |state, byte| {
        state.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % 100
    })
}

fn drawing(properties: &Value, width: u64, height: u64) -> Outcome<String> {
    let all = series(properties);
    if all.is_empty() {
        return Err(Failure::new(format!(
            "a widget shows nothing: {properties}"
        )));
    }
    let mut svg =
        format!("<svg width={width} height={height} font-size=11 font-family=sans-serif>");
    let colour = |place: usize| {
        COLOURS
            .get(place % COLOURS.len())
            .copied()
            .unwrap_or("#000")
    };
    let chart = height.saturating_sub(16 * (all.len() as u64).div_ceil(COLUMNS) + 6);
    match text(properties, "view") {
        "singleValue" => {
            for (place, one) in all.iter().enumerate() {
                let number = numbers(text(properties, "title")).next().unwrap_or(0) * 7 + 12;
                let y = 60 + 60 * place;
                let _ = write!(
                    svg,
                    "<text x=10 y={y} font-size=44>{number}</text><text x=10 y={} fill=#555>{}</text>",
                    y + 24,
                    escaped(&one.label)
                );
            }
        }
        "bar" => {
            let mut sizes: Vec<u64> = all
                .iter()
                .map(|one| numbers(&one.label).next().unwrap_or(0) + 10)
                .collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            for (place, (one, size)) in all.iter().zip(sizes).enumerate() {
                let y = 10 + 40 * place;
                let long = size * width.saturating_sub(60) / 110;
                let _ = write!(
                    svg,
                    "<rect x=0 y={y} width={long} height=16 fill='{}'/><text x={} y={}>{size}</text><text x=0 y={} fill=#555>{}</text>",
                    colour(place),
                    long + 6,
                    y + 13,
                    y + 30,
                    escaped(&one.label)
                );
            }
        }
        "pie" => {
            let middle = chart / 2;
            let radius = middle.saturating_sub(6) as f64;
            let sizes: Vec<f64> = all
                .iter()
                .map(|one| (numbers(&one.label).next().unwrap_or(0) + 10) as f64)
                .collect();
            let sum: f64 = sizes.iter().sum();
            let mut from = 0.0_f64;
            for (place, size) in sizes.iter().enumerate() {
                let to = from + size / sum * std::f64::consts::TAU;
                let point = |angle: f64| {
                    (
                        middle as f64 + radius * angle.sin(),
                        middle as f64 - radius * angle.cos(),
                    )
                };
                let ((x1, y1), (x2, y2)) = (point(from), point(to));
                let large = u8::from(to - from > std::f64::consts::PI);
                let _ = write!(
                    svg,
                    "<path d='M{middle} {middle} L{x1:.1} {y1:.1} A{radius} {radius} 0 {large} 1 {x2:.1} {y2:.1} Z' fill='{}'/>",
                    colour(place)
                );
                from = to;
            }
            legend(&mut svg, &all, width, chart, &colour);
        }
        "timeSeries" => {
            for line in 0..=4_u64 {
                let y = 4 + line * chart.saturating_sub(8) / 4;
                let _ = write!(
                    svg,
                    "<line x1=0 x2={width} y1={y} y2={y} stroke='#eaeded'/>"
                );
            }
            for (place, one) in all.iter().enumerate() {
                let mut points = String::new();
                let mut level = 0;
                for (step, number) in (0..u64::from(POINTS)).zip(numbers(&one.label)) {
                    level = (level * 3 + number) / 4;
                    let x = step * width / u64::from(POINTS - 1);
                    let y = chart.saturating_sub(6 + level * chart.saturating_sub(12) / 100);
                    let _ = write!(points, "{x},{y} ");
                }
                let dashes = if one.right {
                    " stroke-dasharray='5 3'"
                } else {
                    ""
                };
                let _ = write!(
                    svg,
                    "<polyline points='{points}' fill=none stroke='{}' stroke-width=1.5{dashes} />",
                    colour(place)
                );
            }
            legend(&mut svg, &all, width, chart, &colour);
        }
        view => {
            return Err(Failure::new(format!(
                "widgets of the kind `{view}` are not drawn"
            )));
        }
    }
    svg.push_str("</svg>");
    Ok(svg)
}

fn legend<'c>(
    svg: &mut String,
    all: &[Series],
    width: u64,
    top: u64,
    colour: &dyn Fn(usize) -> &'c str,
) {
    for (place, one) in all.iter().enumerate() {
        let (column, row) = (place as u64 % COLUMNS, place as u64 / COLUMNS);
        let (x, y) = (column * width / COLUMNS, top + 14 + 16 * row);
        let axis = if one.right { " (right)" } else { "" };
        let label: String = one.label.chars().take(34).collect();
        let _ = write!(
            svg,
            "<rect x={x} y={} width=10 height=10 fill='{}'/><text x={} y={y}>{}{axis}</text>",
            y - 9,
            colour(place),
            x + 14,
            escaped(&label)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_widget_is_drawn() {
        let template =
            read(&root().join("generated/cloudformation/administrator-monitoring.yaml")).unwrap();
        let found = definitions(&template).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["overview", "administratorhealth", "memberactivity"]);
        for (name, body) in &found {
            let (page, _) = page(name, body).unwrap();
            for widget in body["widgets"].as_array().unwrap() {
                let title = widget["properties"]["title"].as_str().unwrap();
                assert!(page.contains(&escaped(title)), "{name}: {title}");
            }
            assert_eq!(
                page.matches("<svg").count(),
                body["widgets"].as_array().unwrap().len()
            );
        }
        let wrong = serde_json::json!({"widgets": [{"type": "metric", "x": 0, "y": 0, "width": 6, "height": 6, "properties": {"view": "gauge", "metrics": [["A", "B"]]}}]});
        assert!(page("wrong", &wrong).is_err());
    }

    #[test]
    fn a_point_is_what_stood_there_before() {
        let widget = serde_json::json!({"metrics": [["AWS/Lambda", "Errors", "FunctionName", "F"], [".", "Throttles", ".", "."], [{"expression": "A", "visible": false}]]});
        let labels: Vec<String> = series(&widget).into_iter().map(|one| one.label).collect();
        assert_eq!(labels, ["Errors F", "Throttles F"]);
    }
}
