//! What can be said against a document before it runs.

mod api;
mod graph;
mod inputs;
mod parameters;
mod references;

use stanch_models::Models;
use stanch_syntax::Diagnostic;

use crate::{Document, Step};

/// Everything that is wrong with a document's meaning, in the order of its lines. Diagnostics of a
/// document built in Rust stand at line 0.
#[must_use]
pub fn check(document: &Document, models: &Models) -> Vec<Diagnostic> {
    let mut report = Report {
        document,
        diagnostics: Vec::new(),
    };
    let steps = placed(document);
    parameters::check(document, &mut report);
    inputs::check(&steps, &mut report);
    graph::check(document, &mut report);
    references::check(document, &steps, &mut report);
    api::check(document, &steps, models, &mut report);
    report.diagnostics.sort_by_key(|d| d.at);
    report.diagnostics
}

/// A step, where it stands, and the loop around it.
pub(crate) struct Placed<'d> {
    pub step: &'d Step,
    pub pointer: String,
    pub within: Option<&'d Step>,
}

fn placed(document: &Document) -> Vec<Placed<'_>> {
    let mut all = Vec::new();
    for (index, step) in document.steps.iter().enumerate() {
        let pointer = format!("/mainSteps/{index}");
        for (inner, body) in step.body().iter().enumerate() {
            let pointer = format!("{pointer}/inputs/Steps/{inner}");
            all.push(Placed {
                step: body,
                pointer,
                within: Some(step),
            });
        }
        all.push(Placed {
            step,
            pointer,
            within: None,
        });
    }
    all
}

/// Collects diagnostics; places are JSON pointers into the document.
pub(crate) struct Report<'d> {
    document: &'d Document,
    diagnostics: Vec<Diagnostic>,
}

impl Report<'_> {
    fn put(&mut self, diagnostic: Diagnostic, hint: Option<String>) {
        self.diagnostics.push(match hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }

    pub fn error(
        &mut self,
        pointer: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.put(
            Diagnostic::error(self.document.places.find(pointer), message),
            hint.into(),
        );
    }

    pub fn warning(
        &mut self,
        pointer: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        self.put(
            Diagnostic::warning(self.document.places.find(pointer), message),
            hint.into(),
        );
    }
}

/// "did you mean …?", or the names there are.
pub(crate) fn suggest<'n>(
    wanted: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    match stanch_models::nearest(wanted, names.iter().copied()).first() {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if names.is_empty() || names.len() > 12 => None,
        None => Some(format!("one of {}", names.join(", "))),
    }
}
