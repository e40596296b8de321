//! `stanch ledger export`, `backup`, `restore` and `expire`: the ledger over the years.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read as _, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::json;
use stanch_hub::resource_key;
use stanch_ledger::{
    DynamoLedger, Format, Keeper, Ledger, LedgerError, Order, Problem, Query, RemediationId,
    Report, Selection, SqliteLedger, Store, Trust, VerifierKey, Witness, dynamo::Copy, export,
    export_selection, verify_export, verify_ledger,
};
use stanch_types::chain;

use crate::{
    output::{Exit, Failure, print, print_json, say},
    wire::Wire,
};

/// Writes the ledger, or a part of it, in a format.
pub async fn write_out(
    wire: &Wire,
    out: Option<&Path>,
    format: Format,
    selection: &Selection,
) -> Result<Exit, Failure> {
    wire.existing_ledger()?;
    let mut to: Box<dyn Write + Send> = match out {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(|error| {
            Failure::usage(format!("cannot write `{}`: {error}", path.display()))
        })?)),
        None => Box::new(BufWriter::new(io::stdout())),
    };
    if format == Format::JsonLines && selection.is_all() {
        let count = export(&*wire.ledger()?, &*wire.signer().await?, &mut *to).await?;
        to.flush()?;
        say(format_args!("{count} events"));
    } else {
        if format == Format::JsonLines {
            sign_the_rest(wire).await?;
        }
        let ledger = wire.ledger_to_read()?;
        let count = export_selection(&*ledger, selection, format, &mut *to).await?;
        to.flush()?;
        say(format_args!("{count} remediations"));
    }
    Ok(Exit::Done)
}

/// Signs what no checkpoint covers yet, if this command has the key: what is written of a part of the ledger
/// is what the last one covers.
async fn sign_the_rest(wire: &Wire) -> Result<(), Failure> {
    let ledger = wire.ledger_to_read()?;
    let covered = ledger.checkpoints().await?.pop().map(|last| last.size);
    let size = ledger.head().await?.size;
    if covered == Some(size) {
        return Ok(());
    }
    // Whoever may only read, or has no key, gets what is signed.
    let signed = match wire.verifier().await? {
        Some(_) if wire.ledger().is_ok() => wire.sign().await.map(drop).map_err(|why| why.message),
        _ => Err("there is no key, or the ledger cannot be written".to_owned()),
    };
    if let Err(why) = signed {
        say(format_args!(
            "events {} to {size} are left out, for no checkpoint covers them: {why}",
            covered.unwrap_or(0) + 1
        ));
    }
    Ok(())
}

/// Copies the ledger as it is now, signed, while it goes on.
pub async fn back_up(wire: &Wire, to: &Path) -> Result<Exit, Failure> {
    let file = wire.ledger_file()?;
    wire.existing_ledger()?;
    wire.ledger()?;
    let size = match wire.sign().await? {
        Some(checkpoint) => checkpoint.size,
        None => 0,
    };
    SqliteLedger::open_read_only(file)?.back_up(to).await?;
    say(format_args!(
        "`{}` has the first {size} events",
        to.display()
    ));
    Ok(Exit::Done)
}

fn there(copy: &Path) -> Result<(), Failure> {
    if copy.exists() {
        return Ok(());
    }
    let message = format!("there is no backup or export `{}`", copy.display());
    Err(Failure::usage(message).hint("`stanch ledger backup` and `stanch ledger export` make them"))
}

/// Says what is wrong with a backup; gives how many events and orders it lacks of those that the witness
/// has seen.
fn lacks(report: &Report, witness: Option<&Witness>, accept_loss: bool) -> Result<u64, Failure> {
    let (mut lost, mut has, mut orders, mut holds) = (0, 0, 0, true);
    for fault in &report.faults {
        match fault.problem {
            // What lacks events that its own checkpoint covers is no older copy.
            Problem::CutOff {
                by: Keeper::Witness,
                signed,
                size,
            } => (lost, has) = (signed - size, size),
            Problem::OrdersCutOff { signed, size } => orders = signed - size,
            _ => {
                holds = false;
                print(fault)?;
            }
        }
    }
    if !holds {
        return Err(
            Failure::failed("the backup does not hold, and is not restored")
                .hint("take an older one"),
        );
    }
    if lost > 0 {
        say(format_args!(
            "the backup has {has} events; the witness has seen {lost} more, which it lacks:"
        ));
        let missing = witness.iter().flat_map(|witness| witness.events(has));
        let mut by_remediation: BTreeMap<RemediationId, Vec<u64>> = BTreeMap::new();
        for (id, seq) in missing {
            by_remediation.entry(id).or_default().push(seq);
        }
        for (id, seqs) in by_remediation {
            let seqs: Vec<String> = seqs.iter().map(u64::to_string).collect();
            print(format_args!("{id}: events {}", seqs.join(", ")))?;
        }
    }
    if orders > 0 {
        say(format_args!(
            "the backup lacks the last {orders} orders (pauses, rings of the roll-out) that a checkpoint covers: give them again"
        ));
    }
    if lost + orders > 0 && !accept_loss {
        let what: Vec<String> = [(lost, "events"), (orders, "orders")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        return Err(Failure::failed(format!("{} would be lost", what.join(" and ")))
        .hint("find a newer backup, or say `--accept-loss`: the witness's copy is then kept under another name"));
    }
    Ok(lost + orders)
}

/// `path` with something at its end.
fn extended(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Where a thing is put aside: under a name that nothing has, since what is there is evidence.
fn aside(wire: &Wire, path: &Path) -> PathBuf {
    let stamp = wire.clock.now().strftime("%Y%m%dT%H%M%SZ");
    let named = |end: String| extended(path, &format!(".before-{stamp}{end}"));
    let mut name = named(String::new());
    for n in 2.. {
        if !name.exists() {
            break;
        }
        name = named(format!("-{n}"));
    }
    name
}

/// Puts a backup in the ledger's place, after it was checked; what was there is kept beside it.
pub async fn restore(wire: &Wire, backup: &Path, accept_loss: bool) -> Result<Exit, Failure> {
    let ledger = wire.ledger_file()?;
    there(backup)?;
    // A log beside the backup is part of it. What is checked is the very file that is put in place.
    let draft = ledger.with_extension("restored");
    if draft.exists() {
        fs::remove_file(&draft)?;
    }
    SqliteLedger::open_read_only(backup)?
        .back_up(&draft)
        .await?;
    let restored = put_in_place(wire, &draft, ledger, accept_loss).await;
    if restored.is_err() {
        // Nobody looks for it under this name.
        let _ = fs::remove_file(&draft);
    }
    print(format_args!(
        "restored {} events from `{}`",
        restored?,
        backup.display()
    ))?;
    Ok(Exit::Done)
}

/// Checks `draft` and puts it in the ledger's place; gives how many events it has.
async fn put_in_place(
    wire: &Wire,
    draft: &Path,
    ledger: &Path,
    accept_loss: bool,
) -> Result<u64, Failure> {
    let copy: Arc<dyn Store> = Arc::new(SqliteLedger::open_read_only(draft)?);
    let witness = wire.witness().await?;
    let size = copy.head().await?.size;
    let (store, key) = (Arc::clone(&copy), wire.verifier().await?);
    let report = verify_ledger(store, key, witness.clone(), None).await?;
    let lost = lacks(&report, witness.as_ref(), accept_loss)?;
    let orders = copy.directives().await?;
    let mut own = copy.checkpoints().await?.into_iter();
    if !own.all(|checkpoint| checkpoint.orders.begin(&orders)) {
        return Err(Failure::failed(
            "the backup lacks orders that its own checkpoint covers, and is not restored",
        )
        .hint("take an older one"));
    }
    drop(copy);
    File::open(draft)?.sync_all()?;
    if ledger.exists() {
        // Until the new file has its name, nobody gets at the old one.
        let held = SqliteLedger::hold(ledger)?;
        let before = aside(wire, ledger);
        if fs::hard_link(ledger, &before).is_err() {
            // Not every file system has links.
            fs::rename(ledger, &before)?;
        }
        for end in ["-wal", "-shm"] {
            let beside = extended(ledger, end);
            if beside.exists() {
                fs::rename(beside, extended(&before, end))?;
            }
        }
        fs::rename(draft, ledger)?;
        drop(held);
    } else {
        fs::rename(draft, ledger)?;
    }
    sync_folder(ledger)?;
    forget_witness(wire, witness.as_ref(), lost)?;
    Ok(size)
}

/// Waits until the disk has the names of what stands beside `path`, where folders can be waited for.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A ledger that has lost events begins a new copy of its tree.
fn forget_witness(wire: &Wire, witness: Option<&Witness>, lost: u64) -> Result<(), Failure> {
    let folder = witness.filter(|_| lost > 0).and_then(Witness::folder);
    if let Some(folder) = folder {
        fs::rename(folder, aside(wire, folder))?;
    }
    Ok(())
}

/// Puts a backup or an export into tables that are empty, after it was checked.
pub async fn restore_tables(
    wire: &Wire,
    tables: &DynamoLedger,
    from: &Path,
    accept_loss: bool,
    key: Option<VerifierKey>,
) -> Result<Exit, Failure> {
    there(from)?;
    tables.is_restorable().await?;
    // Checkpoints of another key would be faults of these tables for ever.
    let own = wire.verifier().await?.ok_or_else(|| {
        Failure::usage("nothing says which key signs these tables: `audit.key` is not set")
            .hint("name the one that the functions sign with: `kms:` and a key of AWS KMS")
    })?;
    let signed_by = key.unwrap_or_else(|| own.clone());
    let witness = wire.witness().await?;
    let open =
        || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(BufReader::new(File::open(from)?))) };
    let mut start = [0; SQLITE.len()];
    let is_backup = File::open(from)?.read_exact(&mut start).is_ok() && start == *SQLITE;
    let backup = match is_backup {
        true => Some(Arc::new(SqliteLedger::open_read_only(from)?)),
        false => None,
    };
    let report = match &backup {
        Some(backup) => {
            let backup = Arc::clone(backup) as Arc<dyn Store>;
            verify_ledger(backup, Some(signed_by), witness.clone(), None).await?
        }
        None => {
            let trust = Trust {
                key: Some(&signed_by),
                witness: witness.as_ref(),
                since: None,
            };
            verify_export(BufReader::new(File::open(from)?), trust)?
        }
    };
    let lost = lacks(&report, witness.as_ref(), accept_loss)?;
    if lost > 0
        && witness
            .as_ref()
            .is_some_and(|witness| witness.folder().is_none())
    {
        return Err(Failure::failed(
            "the witness in the ledger's bucket would never accept these tables",
        )
        .hint(
            "let `audit.bucket` name a new bucket; the old one is the evidence of what is lost",
        ));
    }
    let copy = match &backup {
        Some(backup) => Copy::Backup(&**backup),
        None => Copy::Export(&open),
    };
    let now = wire.clock.now();
    let restored = tables.restore(copy, Some(&own), &resource_key, now, accept_loss);
    let restored = restored.await?;
    forget_witness(wire, witness.as_ref(), lost)?;
    // The tables are signed when the command ends.
    wire.ledger()?;
    print(format_args!(
        "restored {} remediations and {} events from `{}` into `{}`",
        restored.remediations,
        restored.events,
        from.display(),
        tables.tables().audit,
    ))?;
    if restored.left_out > 0 {
        say(format_args!(
            "{} checkpoints are signed by another key, or cover orders that are lost, and stay in the copy: keep it",
            restored.left_out
        ));
    }
    if !is_backup {
        say("an export has no dead letters");
    }
    Ok(Exit::Done)
}

/// What a file of SQLite begins with (<https://www.sqlite.org/fileformat.html>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// Removes the contents of what is older than its class is kept, or only names it; gives back how many
/// remediations.
pub async fn expire_old(wire: &Wire, dry_run: bool) -> Result<Vec<RemediationId>, Failure> {
    let ledger: Arc<dyn Ledger> = match dry_run {
        true => wire.ledger_to_read()?,
        false => wire.ledger()?,
    };
    let now = wire.clock.now();
    let retention = wire.retention()?;
    let mut query = Query::all().limit(Query::MAX_LIMIT);
    query.order = Order::Oldest;
    let mut expired = Vec::new();
    loop {
        let page = ledger.query(&query).await?;
        for record in &page.records {
            let kept = retention.of(&record.remediation_action);
            let due = now
                .checked_sub(kept)
                .is_ok_and(|cutoff: Timestamp| record.updated_at < cutoff);
            if !due || record.expired || !record.status.is_final() {
                continue;
            }
            let days = kept.as_secs() / 86_400;
            if !dry_run {
                let reason = format!("older than {days} days");
                let id = record.remediation_id;
                match ledger.expire(id, "retention", &reason, now).await {
                    Err(error @ (LedgerError::Broken(_) | LedgerError::Illegal { .. })) => {
                        // What somebody has changed holds up nobody else; `verify` says more of it.
                        say(format_args!("{id} is kept: {}", chain(&error)));
                        continue;
                    }
                    expired => expired.map(drop)?,
                }
            }
            expired.push(record.remediation_id);
        }
        match page.next {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(expired),
        }
    }
}

/// `stanch ledger expire`.
pub async fn expire(
    wire: &Wire,
    id: Option<RemediationId>,
    reason: Option<String>,
    person: Option<String>,
    dry_run: bool,
) -> Result<Exit, Failure> {
    wire.existing_ledger()?;
    let expired = match (id, reason) {
        (Some(id), Some(reason)) => {
            if !dry_run {
                let by = wire.person(person)?;
                let now = wire.clock.now();
                wire.ledger()?.expire(id, &by, &reason, now).await?;
            }
            vec![id]
        }
        (Some(_), None) => {
            return Err(Failure::usage("nothing says why the contents are removed")
                .hint("say it with `--reason`: the ledger keeps it"));
        }
        (None, _) => expire_old(wire, dry_run).await?,
    };
    if wire.json {
        print_json(&json!({ "expired": expired, "dryRun": dry_run }))?;
        return Ok(Exit::Done);
    }
    for id in &expired {
        print(id)?;
    }
    let what = if dry_run {
        "would be removed"
    } else {
        "were removed; their hashes stay"
    };
    say(format_args!(
        "the contents of {} remediations {what}",
        expired.len()
    ));
    Ok(Exit::Done)
}
