//! `cargo xtask prowler`: misconfigurations found by a scanner that we did not write, before and after.
//!
//! The examples of every remediation that names a check of Prowler are planted in one emulated account.
//! Prowler scans it; its findings, as it wrote them in both of its formats, go to `stanch remediate`;
//! Prowler scans it again. What is printed comes from its two scans, the reasons from the ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use jiff::Timestamp;
use serde_json::Value;
use stanch_catalog::{Catalog, Control, Remediation};
use stanch_ledger::{Ledger as _, Query, Record, Scope, SqliteLedger, Status};
use stanch_testkit::{
    Emulated, Emulator, Maker, Organization, PlantError, choose, models,
    organization::{MEMBERS, REGIONS, role_policy},
    plant, repository,
};
use stanch_types::{
    AccountId, Incoming, Region, chain,
    event::{Options, read},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// What Prowler exits with when it has found something.
const FOUND: i32 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(prowler) = arguments.next() else {
        eprintln!("error: name Prowler's program; `cargo xtask prowler` does");
        return ExitCode::FAILURE;
    };
    let only: Vec<String> = arguments
        .map(|check| check.to_string_lossy().into_owned())
        .collect();
    match run(Path::new(&prowler), &only).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// A scan: the resources that fail each check, as Prowler names them, each with its name in the ledger.
type Failing = BTreeMap<String, BTreeMap<String, String>>;

async fn run(prowler: &Path, only: &[String]) -> Outcome {
    let folder = repository().join(".prowler");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("inbox"))?;
    let emulator = Emulator::start()?;
    let catalog = Catalog::embedded();
    let region: Region = REGIONS[0].parse()?;
    let account: AccountId = MEMBERS[0].0.parse()?;
    let aws = Emulated::at(&emulator.endpoint(), region.clone());
    let root = |account: &AccountId, region: &Region| aws.root(account, region);
    let role_policy = role_policy(catalog.iter(), &models())?;
    let organization = Organization::create(emulator.endpoint(), &root, &role_policy).await?;
    let everything: Vec<String> = catalog.iter().map(|one| one.name.clone()).collect();
    let config = folder.join("stanch.toml");
    fs::write(&config, organization.config(&folder, &everything))?;

    let mut checks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut left_out: BTreeMap<String, String> = BTreeMap::new();
    let mut planted = 0;
    for remediation in catalog.iter() {
        let names: Vec<&str> = checks_of(&remediation)
            .filter(|check| only.is_empty() || only.iter().any(|other| other == check))
            .collect();
        if names.is_empty() {
            continue;
        }
        match plant_examples(&aws, &remediation, (&account, &region), &mut planted).await {
            Ok(()) => {
                for check in names {
                    let fixes = checks.entry(check.to_owned()).or_default();
                    fixes.push(remediation.name.clone());
                }
            }
            Err(reason) => drop(left_out.insert(remediation.name.clone(), reason)),
        }
    }
    eprintln!(
        "planted {planted} examples; {} checks are asked for",
        checks.len()
    );

    let scanner = Scanner {
        prowler,
        endpoint: emulator.endpoint(),
        account: &account,
        region: &region,
        checks: checks.keys().cloned().collect(),
        folder: &folder,
    };
    let before = scanner.scan("before")?;
    for format in ["asff", "ocsf"] {
        let findings = scanner.written("before", format);
        eprintln!("stanch remediate {}", findings.display());
        let output = Command::new(beside("stanch")?)
            .env_clear()
            .envs(organization.environment())
            .env("STANCH_CONFIG", &config)
            .env("USER", "prowler")
            .args(["remediate", "--json"])
            .arg(&findings)
            .stdin(Stdio::null())
            .output()?;
        fs::write(
            folder.join(format!("remediate-{format}.json")),
            &output.stdout,
        )?;
        fs::write(
            folder.join(format!("remediate-{format}.log")),
            &output.stderr,
        )?;
        eprintln!("  {}", output.status);
    }
    let after = scanner.scan("after")?;

    let records = records(&folder.join("stanch.db")).await?;
    println!("| Check | Fix | Failing before | Failing after | Why those that still fail do |");
    println!("|---|---|--:|--:|---|");
    let (mut found, mut fixed) = (0, 0);
    for (check, fixes) in &checks {
        let none = BTreeMap::new();
        let failed = before.get(check).unwrap_or(&none);
        let still = after.get(check).unwrap_or(&none);
        found += failed.len();
        fixed += failed
            .keys()
            .filter(|resource| !still.contains_key(*resource))
            .count();
        let reasons: BTreeSet<String> = still
            .iter()
            .map(|(resource, known_as)| match failed.contains_key(resource) {
                true => why(known_as, check, &records),
                false => "it is new: another fix made it".to_owned(),
            })
            .collect();
        let mut reasons: Vec<String> = reasons.into_iter().collect();
        if failed.is_empty() && still.is_empty() {
            reasons
                .push("Prowler does not fail what was planted, or does not see it here".to_owned());
        }
        println!(
            "| {check} | {} | {} | {} | {} |",
            fixes.join(", "),
            failed.len(),
            still.len(),
            reasons.join("; ").replace('|', "\\|")
        );
    }
    println!("\n{fixed} of {found} findings are gone.");
    if !left_out.is_empty() {
        println!("\nNot planted:\n");
        for (name, reason) in left_out {
            println!("- `{name}`: {reason}");
        }
    }
    Ok(())
}

fn checks_of(remediation: &Remediation) -> impl Iterator<Item = &str> {
    let of_prowler = |control: &&Control| control.framework == "prowler";
    let controls = remediation.controls.iter().filter(of_prowler);
    controls.map(|control| control.id.as_str())
}

/// Plants each example that needs fixing; says why if none could be.
async fn plant_examples(
    aws: &Emulated,
    remediation: &Remediation,
    (account, region): (&AccountId, &Region),
    planted: &mut usize,
) -> Result<(), String> {
    let mut reason = "its examples need settings, or show what is compliant".to_owned();
    let mut any = false;
    let wrong = remediation
        .examples
        .iter()
        .filter(|example| !example.compliant && example.settings.is_empty());
    for example in wrong {
        match choose(remediation, example) {
            Ok(Maker::MiniStack) => {}
            Ok(_) => {
                reason = "MiniStack, which enforces IAM, cannot play it".to_owned();
                continue;
            }
            Err(lack) => {
                reason = lack.to_string();
                continue;
            }
        }
        let suffix = format!("-{planted}");
        let api = aws.root(account, region);
        let place = (account, region);
        match plant(&*api, remediation, example, place, now(), Some(&suffix)).await {
            Ok(_) => {
                *planted += 1;
                any = true;
            }
            // Another remediation's example has the name already: then there is one to be found.
            Err(PlantError::Call(error)) if error.code.contains("Exist") => {
                reason = format!("another example has taken a name of its: {}", error.message);
            }
            Err(error) => reason = chain(&error),
        }
    }
    match any {
        true => Ok(()),
        false => Err(reason),
    }
}

/// Prowler, and where it looks.
struct Scanner<'a> {
    prowler: &'a Path,
    endpoint: String,
    account: &'a AccountId,
    region: &'a Region,
    checks: Vec<String>,
    folder: &'a Path,
}

impl Scanner<'_> {
    /// The file that a scan wrote.
    fn written(&self, name: &str, format: &str) -> PathBuf {
        self.folder.join(format!("{name}.{format}.json"))
    }

    fn scan(&self, name: &str) -> Outcome<Failing> {
        eprintln!("prowler: scan {name}");
        let log = fs::File::create(self.folder.join(format!("{name}.log")))?;
        let status = Command::new(self.prowler)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            // To MiniStack this is the root of the account.
            .env("AWS_ACCESS_KEY_ID", self.account.as_str())
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", self.region.as_str())
            .env("AWS_DEFAULT_REGION", self.region.as_str())
            .env_remove("AWS_PROFILE")
            .env("HOME", self.folder)
            .args(["aws", "--region", self.region.as_str()])
            .args([
                "-M",
                "json-ocsf",
                "json-asff",
                "--no-banner",
                "-F",
                name,
                "-o",
            ])
            .arg(self.folder)
            .arg("--checks")
            .args(&self.checks)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        let asff = self.written(name, "asff");
        if !(status.success() || status.code() == Some(FOUND)) || !asff.exists() {
            let log = self.folder.join(format!("{name}.log"));
            return Err(format!("Prowler failed ({status}); see `{}`", log.display()).into());
        }
        let findings: Vec<Value> = serde_json::from_slice(&fs::read(asff)?)?;
        let mut failing = Failing::new();
        for finding in &findings {
            let text = |path: &str| finding.pointer(path).and_then(Value::as_str);
            let check = text("/GeneratorId").and_then(|id| id.strip_prefix("prowler-"));
            if let (Some(check), Some("FAILED"), Some(resource)) =
                (check, text("/Compliance/Status"), text("/Resources/0/Id"))
            {
                let resources = failing.entry(check.to_owned()).or_default();
                resources.insert(resource.to_owned(), known_as(finding, resource));
            }
        }
        Ok(failing)
    }
}

/// The name that the product gives the resource of a finding, whatever Prowler calls it.
fn known_as(finding: &Value, resource: &str) -> String {
    let read = read(finding.to_string().as_bytes(), &Options::default());
    let known = read.into_iter().find_map(|incoming| match incoming {
        Incoming::Accepted { finding, .. } => finding.resources.into_iter().next(),
        _ => None,
    });
    known.map_or_else(|| resource.to_owned(), |known| known.id)
}

/// Why a check of a resource, by its name in the ledger, fails after all was done.
fn why(resource: &str, check: &str, records: &[Record]) -> String {
    let of_resource = || {
        records
            .iter()
            .filter(|record| record.resource_id == resource)
    };
    let own = of_resource().filter(|record| record.control == format!("prowler:{check}"));
    // The last word on it. Findings that nothing fixes are one to the ledger, whatever their checks.
    let last = own.max_by_key(|record| record.updated_at);
    let refused = || of_resource().find(|record| record.status == Status::Refused);
    let Some(record) = last.or_else(refused) else {
        return "no finding of it was taken in".to_owned();
    };
    let error = record.error_message.as_deref().unwrap_or_default();
    match record.status {
        Status::AwaitingApproval => format!("{}: waits for an approval", record.remediation_action),
        Status::Success => "our check passes, Prowler's does not".to_owned(),
        Status::NothingToDo => "there was nothing to do by our check".to_owned(),
        status if error.is_empty() => status.to_string(),
        status => format!("{status}: {error}"),
    }
}

async fn records(path: &Path) -> Outcome<Vec<Record>> {
    let ledger = SqliteLedger::open_read_only(path)?;
    let mut query = Query::new(Scope::All);
    query.limit = Query::MAX_LIMIT;
    let mut records = Vec::new();
    loop {
        let page = ledger.query(&query).await?;
        records.extend(page.records);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(records),
        }
    }
}

/// A program that was built beside this one.
fn beside(name: &str) -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("`{}` is not built", path.display()).into()),
    }
}

#[expect(clippy::disallowed_methods, reason = "a program's own clock")]
fn now() -> Timestamp {
    Timestamp::now()
}
