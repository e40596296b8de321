//! Many findings over many accounts and regions at once: none lost, none dealt with twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Deployed, Layout, Outcome, Spent, ensure, text};

/// Accounts, and the regions of each.
const ACCOUNTS: usize = 10;
const REGIONS: [&str; 2] = ["us-east-1", "eu-central-1"];

/// How much time there is for each finding.
const EACH: Duration = Duration::from_secs(2);

/// What it took.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many findings there were.
    pub findings: usize,
    /// From the first event to the last fix.
    pub wall: Duration,
    /// What was used.
    pub spent: Spent,
}

impl Load {
    /// What one finding used of what AWS charges for, as far as it can be counted from outside: by item
    /// of the price table.
    #[must_use]
    pub fn usage(&self) -> BTreeMap<&'static str, f64> {
        let all = self.spent.usage().into_iter();
        all.map(|(item, quantity)| (item, quantity / self.findings as f64))
            .collect()
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            findings,
            wall,
            spent,
        } = self;
        let (runs, requests) = (spent.runs, spent.requests.len());
        let each = |number: f64| number / *findings as f64;
        write!(
            f,
            "{findings} findings over {ACCOUNTS} accounts and {} regions: none lost, none twice. {:.1} s from the \
             first event to the last fix ({:.1} a second), {runs} Lambda runs, {requests} requests ({:.1} each), \
             {:.1} write units each.",
            REGIONS.len(),
            wall.as_secs_f64(),
            *findings as f64 / wall.as_secs_f64(),
            each(requests as f64),
            each(spent.write_units() as f64),
        )
    }
}

/// Plants as many public buckets, tells of all, and counts what becomes of them.
///
/// # Errors
/// A finding was lost, or dealt with twice.
pub async fn play(archive: &[u8], findings: usize) -> Outcome<Load> {
    let layout = Layout {
        archive,
        members: ACCOUNTS,
        regions: &REGIONS,
        variables: &[],
    };
    let deployed = Deployed::start(&layout).await?;
    let mut planted = Vec::new();
    for n in 0..findings {
        let (member, region) = (n % ACCOUNTS, n / ACCOUNTS % REGIONS.len());
        let (Some(member), Some(region)) =
            (deployed.members.get(member), deployed.regions.get(region))
        else {
            continue;
        };
        let here = member.in_region(region);
        let bucket = format!("many-{n}");
        let found = deployed.public_bucket(&here, &bucket).await?;
        planted.push((here, bucket, found));
    }
    let mark = deployed.mark().await?;
    let begin = Instant::now();
    for (_, _, found) in &planted {
        deployed.choose_action(found)?;
    }
    let patience = EACH * u32::try_from(findings).unwrap_or(u32::MAX);
    deployed.settled(patience).await?;
    let wall = begin.elapsed();

    // What the audit log says of each finding: one remediation, and it succeeded.
    let rows = deployed.rows().await?;
    let mut remediations: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let attribute = |row: &Value, name: &str| text(row, &format!("/{name}/S"));
    for row in &rows {
        let (finding, id) = (attribute(row, "FindingId"), attribute(row, "RemediationId"));
        let status = attribute(row, "ExecutionStatus");
        let of_finding = remediations.entry(finding).or_default();
        of_finding.entry(id).or_default().insert(status);
    }
    let mut wrong = Vec::new();
    for (here, bucket, found) in &planted {
        let id = text(&found.asff(), "/Id");
        let of_it = remediations.get(&id);
        let once = of_it.is_some_and(|all| {
            all.len() == 1 && all.values().all(|statuses| statuses.contains("Success"))
        });
        if !once || !deployed.is_blocked(here, bucket).await? {
            wrong.push(format!("`{bucket}`: {of_it:?}"));
        }
    }
    ensure(wrong.is_empty(), || {
        let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        format!("{} of {findings} went wrong: {shown}", wrong.len())
    })?;
    let spent = deployed.since(mark).await?;
    // Each bucket was changed by one request.
    let mut changed: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &spent.requests {
        if request.service == "s3"
            && request.method == "PUT"
            && request.query == "publicAccessBlock"
        {
            *changed.entry(&request.path).or_default() += 1;
        }
    }
    let twice: Vec<_> = changed.iter().filter(|(_, times)| **times > 1).collect();
    ensure(changed.len() == findings && twice.is_empty(), || {
        format!("{} buckets changed, twice: {twice:?}", changed.len())
    })?;
    Ok(Load {
        findings,
        wall,
        spent,
    })
}
