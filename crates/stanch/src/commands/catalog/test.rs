//! `stanch catalog test`: the properties of the proof suite that show from outside, on files of the
//! user's own, in an account where that harms nobody.

use std::{path::Path, sync::Arc};

use stanch_ledger::MemoryLedger;
use stanch_models::Models;

use super::{files_at, get};
use crate::{
    cli::Test,
    output::{Color, Exit, Failure, Table, print, print_json, say},
    proof::{self, Proof, Shown},
    sandbox::{Played, Property, Sandbox, Verdict, approves_itself, test_account},
    wire::Wire,
};

/// Plays every example of the files, and writes the proofs beside them.
pub async fn test(wire: &Wire, options: &Test) -> Result<Exit, Failure> {
    let config = &wire.resolved.config;
    let account = &options.account;
    test_account(config, account, "`catalog test`")?;
    let region = wire.region(options.region.clone())?;
    let files = files_at(&options.files)?;
    let catalog = Arc::new(wire.load(&files)?.0);
    let models = wire.models()?;
    let mut settings = config.settings();
    if let Some(settings) = settings.accounts.get_mut(account) {
        // Findings of test accounts are skipped otherwise.
        settings.test = false;
    }
    // What is tried is no remediation: neither the ledger nor anybody is told.
    let ledger = Arc::new(MemoryLedger::new());
    let told = approves_itself(wire, &mut settings)?;
    let hub = wire.hub_of(Arc::clone(&catalog), ledger, settings, vec![told])?;
    let sandbox = Sandbox::open(wire, hub, account, &region)?;

    let mut proofs = Vec::new();
    let mut rows = Table::new([
        "REMEDIATION",
        "EXAMPLE",
        "CHECK",
        "DRY RUN",
        "FIX",
        "PLAN",
        "ONCE",
        "UNDO",
        "LEFT BEHIND",
    ]);
    for (path, text) in &files {
        let name = stanch_catalog::parse(text).0.map(|one| one.name);
        let remediation = get(&catalog, &name.unwrap_or_default())?;
        let mut examples = Vec::new();
        for example in &remediation.examples {
            say(format_args!("{}: {}", remediation.name, example.title));
            let played = sandbox
                .play(&remediation, example, wire.clock.now())
                .await?;
            let cell = |property| match played.verdict(property) {
                Some(Verdict::Holds) => "yes".to_owned(),
                Some(Verdict::Broken(_)) => "NO".to_owned(),
                _ => "-".to_owned(),
            };
            rows.row([
                played.remediation.clone(),
                played.example.clone(),
                cell(Property::Check),
                cell(Property::DryRun),
                cell(Property::Fix),
                cell(Property::Plan),
                cell(Property::Once),
                cell(Property::Undo),
                played.left.join(", "),
            ]);
            examples.push(played);
        }
        let documents = documents(&remediation, &models);
        let shown: Vec<Shown> = examples.iter().map(shown).collect();
        let found = examples
            .iter()
            .any(|played| played.verdict(Property::Plan) == Some(&Verdict::Holds));
        let sound = shown.iter().all(|one| one.broken.is_none());
        let proof = Proof {
            remediation: remediation.name.clone(),
            digest: proof::digest(text),
            proved: found && sound && documents.is_ok(),
            at: wire.clock.now(),
            stanch: env!("CARGO_PKG_VERSION").to_owned(),
            account: account.clone(),
            region: region.clone(),
            endpoint: config.aws.endpoint_url.clone(),
            examples: shown,
        };
        let written = proof.write(Path::new(path))?;
        let broken = examples.iter().filter_map(|played| {
            let (property, reason) = played.broken()?;
            Some(format!("{}: {property}: {reason}", played.example))
        });
        let reasons: Vec<String> = broken.chain(documents.err()).collect();
        proofs.push((written, proof, reasons));
    }
    let exit = match proofs.iter().all(|(_, proof, _)| proof.proved) {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if wire.json {
        let all: Vec<&Proof> = proofs.iter().map(|(_, proof, _)| proof).collect();
        print_json(&all)?;
        return Ok(exit);
    }
    let mut lines = vec![rows.render(Color::out())];
    for (written, proof, reasons) in &proofs {
        let word = if proof.proved { "is" } else { "is not" };
        let name = &proof.remediation;
        lines.push(format!("{name} {word} proved: {}", written.display()));
        lines.extend(reasons.iter().map(|reason| format!("  {reason}")));
    }
    print(lines.join("\n"))?;
    Ok(exit)
}

fn shown(played: &Played) -> Shown {
    let holds = played
        .verdicts
        .iter()
        .filter(|(_, verdict)| *verdict == Verdict::Holds);
    Shown {
        example: played.example.clone(),
        holds: holds.map(|(property, _)| property.to_string()).collect(),
        broken: played
            .broken()
            .map(|(property, reason)| format!("{property}: {reason}")),
    }
}

/// The Automation documents are sound.
fn documents(remediation: &stanch_catalog::Remediation, models: &Models) -> Result<(), String> {
    let export = remediation
        .export(models)
        .map_err(|error| stanch_types::chain(&error))?;
    for document in std::iter::once(&export.remediation).chain(&export.rollback) {
        if let Some(first) = stanch_runbook::check(document, models).first() {
            return Err(format!("its Automation documents: {first}"));
        }
    }
    Ok(())
}
