//! What is rendered: fresh, within AWS's limits, complete by the brief, and deployable.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod checklist;
mod deployed;
mod documents;
mod generated;
mod limits;
mod lint;
mod permissions;
mod plans;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;
use stanch_catalog::Catalog;
use stanch_deploy::{Deployment, Documents, File, Options};
use stanch_models::Models;
use stanch_syntax::Limits;

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::embedded().unwrap());
static DEPLOYMENT: LazyLock<Deployment> = LazyLock::new(|| deployment(&Options::default()));
static FILES: LazyLock<Vec<File>> = LazyLock::new(|| DEPLOYMENT.render(&MODELS).unwrap());
static TEMPLATES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let templates = FILES.iter().filter(|file| file.name.ends_with(".yaml"));
    templates
        .map(|file| (file.name.clone(), read(&file.text)))
        .collect()
});

fn deployment(options: &Options) -> Deployment {
    Deployment::new(&Catalog::embedded(), &MODELS, options).unwrap()
}

fn everything() -> Options {
    Options {
        documents: Documents::All,
        ..Options::default()
    }
}

fn read(text: &str) -> Value {
    let limits = Limits {
        nodes: 1_000_000,
        ..Limits::default()
    };
    stanch_syntax::read(text, limits).unwrap().to_json()
}
