//! Exports of the ledger and proofs, as auditors and those who restore a ledger read them.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, BufRead},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use async_trait::async_trait;
use serde_json::json;
use stanch_ledger::{
    Checkpoint, DynamoLedger, Entry, Event, Format, IdempotencyKey, KeyFile, Ledger as _,
    MemoryLedger, Orders, Query, Received, RemediationId, Retention, Selection, Shelf, Signer as _,
    Store as _, Tables, Trust, VerifierKey, Witness, dynamo, export, export_selection,
    prove_consistency, prove_inclusion, verify_export, verify_proof,
};

use super::NOW;
use crate::{FakeApi, chaos::Chaos};

/// The key and the name by which `chaos` signs, too.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n\
    -----END PRIVATE KEY-----\n";
const ORIGIN: &str = "example.com/chaos";

/// What an auditor has.
struct Auditor {
    key: VerifierKey,
    witness: Witness,
    /// A checkpoint that was kept before the ledger grew.
    old: Checkpoint,
    seeds: Vec<Vec<u8>>,
}

/// A shelf in memory.
#[derive(Default)]
struct Memory(Mutex<HashMap<String, Vec<u8>>>);

#[async_trait]
impl Shelf for Memory {
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(files.get(path).cloned())
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

impl Auditor {
    fn get() -> Result<&'static Self, String> {
        static AUDITOR: OnceLock<Result<Auditor, String>> = OnceLock::new();
        let auditor = AUDITOR.get_or_init(|| {
            let chaos = Chaos::new()?;
            let exports = (0..6).map(|seed| chaos.export(seed)).collect();
            alone(Self::of(exports))?.map_err(|error| error.to_string())
        });
        auditor.as_ref().map_err(Clone::clone)
    }

    /// Has these exports, and more of a ledger that is built anew from the longest.
    async fn of(mut seeds: Vec<Vec<u8>>) -> Result<Self, Box<dyn Error>> {
        let signer = KeyFile::parse(KEY, Some(ORIGIN))?;
        let longest = seeds.iter().max_by_key(|export| export.len());
        let ledger = rebuilt(longest.ok_or("there is no export")?).await?;
        let rows = ledger.query(&Query::all()).await?.records;
        let first = rows.first().ok_or("there is no remediation")?;

        let checkpoint = ledger.checkpoint(&signer).await?;
        let size = checkpoint.size / 2;
        let root = ledger.root(size).await?;
        let old = Checkpoint::sign(size, root, Orders::default(), &signer).await?;
        let proofs = [
            prove_consistency(&ledger, size, &checkpoint).await?,
            prove_inclusion(&ledger, &checkpoint, first.remediation_id, 0).await?,
        ];
        seeds.extend(proofs.map(String::into_bytes));

        for row in &rows {
            let (by, reason) = ("alice", "asked for");
            let expired = ledger.expire(row.remediation_id, by, reason, row.updated_at);
            if expired.await.is_ok() {
                break;
            }
        }
        let mut lines = Vec::new();
        export(&ledger, &signer, &mut lines).await?;
        seeds.push(lines);
        let mut lines = Vec::new();
        let selection = Selection {
            account: Some(first.account_id.clone()),
            ..Selection::default()
        };
        export_selection(&ledger, &selection, Format::JsonLines, &mut lines).await?;
        seeds.push(lines);

        let mut witness = Witness::on(Arc::new(Memory::default())).await?;
        let checkpoint = ledger.checkpoint(&signer).await?;
        witness.publish(&ledger, &checkpoint).await?;
        witness.hold().await?;
        Ok(Self {
            key: signer.key().clone(),
            witness,
            old,
            seeds,
        })
    }

    const fn trust(&self) -> Trust<'_> {
        Trust {
            key: Some(&self.key),
            witness: Some(&self.witness),
            since: None,
        }
    }
}

/// The events of an export in a new ledger, under other ids.
async fn rebuilt(export: &[u8]) -> Result<MemoryLedger, Box<dyn Error>> {
    let lines = export.split(|byte| *byte == b'\n');
    let mut entries: Vec<Entry> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    entries.sort_by_key(|entry| entry.leaf);
    let ledger = MemoryLedger::new();
    let mut lengths: HashMap<RemediationId, (RemediationId, u64)> = HashMap::new();
    for Entry { id, at, event, .. } in entries {
        match (event, lengths.get_mut(&id)) {
            (event, Some((id, length))) => {
                ledger.append(*id, *length, vec![event], at).await?;
                *length += 1;
            }
            (Event::Received(received), None) => {
                let Received {
                    account,
                    region,
                    resource_id,
                    remediation,
                    ..
                } = &*received;
                let generation = id.to_string();
                let key =
                    IdempotencyKey::new(account, region, resource_id, remediation, &generation);
                ledger.admit(key, Arc::from(received), at).await?;
                lengths.insert(id, (key.remediation_id(), 1));
            }
            (_, None) => {}
        }
    }
    Ok(ledger)
}

/// Does work that waits for nothing.
fn alone<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    Ok(runtime.map_err(|error| error.to_string())?.block_on(work))
}

/// Exports, of everything and of a part, and proofs.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let auditor = Auditor::get();
    auditor
        .map(|auditor| auditor.seeds.clone())
        .unwrap_or_default()
}

/// What holds for an auditor who trusts a witness has all that the witness saw.
pub(super) fn read(input: &[u8]) -> Result<(), String> {
    let auditor = Auditor::get()?;
    drop(verify_export(input, Trust::default()));
    let report = verify_export(input, auditor.trust()).map_err(|error| error.to_string())?;
    let seen = auditor.witness.checkpoint().map_or(0, |seen| seen.size);
    if report.holds() && !report.selection && report.events < seen {
        let events = report.events;
        return Err(format!(
            "it holds with {events} events, and a witness saw {seen}"
        ));
    }
    if report.holds() && report.selection && !report.proved {
        return Err("a part of a ledger holds, and nothing in it is signed".to_owned());
    }
    let text = String::from_utf8_lossy(input);
    for key in [None, Some(&auditor.key)] {
        for old in [None, Some(&auditor.old)] {
            drop(verify_proof(&text, key, old));
        }
    }
    restore(input, &auditor.key).map(drop)
}

/// Puts an export into tables that take everything and keep nothing; gives what was called.
fn restore(input: &[u8], key: &VerifierKey) -> Result<Arc<FakeApi>, String> {
    let mut api = FakeApi::new();
    for operation in ["GetItem", "PutItem", "Query", "Scan"] {
        api = api.returns(&format!("dynamodb.{operation}"), json!({"Items": []}));
    }
    let api = Arc::new(api);
    let tables = Tables {
        audit: "audit".to_owned(),
        state: "state".to_owned(),
        bucket: None,
        retention: Retention::days(365),
    };
    let ledger = DynamoLedger::new(api.clone(), tables);
    let open = || -> io::Result<Box<dyn BufRead>> { Ok(Box::new(io::Cursor::new(input.to_vec()))) };
    let resource = |received: &Received| received.resource_id.clone();
    let copy = dynamo::Copy::Export(&open);
    let restored = ledger.restore(copy, Some(key), &resource, NOW, true);
    drop(alone(restored)?);
    Ok(api)
}

#[cfg(test)]
mod tests {
    use stanch_ledger::Problem;

    use super::{super::Target, *};

    #[test]
    fn the_seeds_hold() {
        let auditor = Auditor::get().unwrap();
        let key = Some(&auditor.key);
        let (mut proofs, mut exports, mut selections, mut witnessed) = (0, 0, 0, 0);
        for seed in Target::Ledger.seeds() {
            let text = String::from_utf8(seed).unwrap();
            if verify_proof(&text, key, Some(&auditor.old)).is_ok() {
                proofs += 1;
                continue;
            }
            let trust = Trust {
                key,
                ..Trust::default()
            };
            let report = verify_export(text.as_bytes(), trust).unwrap();
            // What is committed may be of an older version.
            let faults = report.faults.iter();
            let mut faults = faults.filter(|fault| fault.problem != Problem::Version);
            assert_eq!(faults.next(), None, "{text}");
            if report.selection {
                selections += 1;
                continue;
            }
            assert!(report.signed, "{text}");
            exports += 1;
            let report = verify_export(text.as_bytes(), auditor.trust()).unwrap();
            witnessed += usize::from(report.holds());
        }
        assert_eq!((proofs, exports, selections, witnessed), (2, 8, 1, 1));
    }

    #[test]
    fn an_export_that_holds_is_put_back() {
        let auditor = Auditor::get().unwrap();
        let witnessed = auditor.seeds.iter().find(|seed| {
            let report = verify_export(seed.as_slice(), auditor.trust()).unwrap();
            report.holds() && report.signed && report.expired > 0
        });
        let whole = witnessed.unwrap();
        let writes = |export: &[u8]| {
            let api = restore(export, &auditor.key).unwrap();
            let calls = api.calls().into_iter();
            calls.filter(|call| call.operation == "PutItem").count()
        };
        assert!(writes(whole) > 10);
        assert_eq!(writes(&whole[..whole.len() / 2]), 0);
    }
}
