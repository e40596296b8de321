//! A copy of the ledger's tree outside of it, in a folder or a bucket, laid out as transparency logs publish
//! themselves (<https://c2sp.org/tlog-tiles>): whoever rewrites the ledger would have to rewrite that,
//! too.
//!
//! It holds no event's contents: the entries are what the chain's hashes are taken over.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde::Deserialize;
use serde_json::json;
use stanch_types::{Api, Call};

use crate::{
    Checkpoint, Digest, LedgerError, RemediationId, Store,
    merkle::{self, TILE_WIDTH, Tile, tile_path, tile_width},
    verify::Known,
};

/// Where a copy stands: files by their paths. None is ever removed.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// A file; `None` if there is none.
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a file as a whole: nobody reads half of it.
    async fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// The folder, if it is one.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// For people.
    fn name(&self) -> String;
}

/// A folder.
struct Folder(PathBuf);

#[async_trait]
impl Shelf for Folder {
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Written beside its place and moved there. Another process may write the same file at the same moment.
    async fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
        let draft = path.with_extension(format!("{}.new", uuid::Uuid::new_v4().simple()));
        let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            // Nobody looks for it under this name.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

/// A bucket, below a prefix.
pub struct BucketShelf {
    api: Arc<dyn Api>,
    bucket: String,
    prefix: String,
}

impl BucketShelf {
    /// The objects of `bucket` whose keys begin with `prefix`.
    #[must_use]
    pub fn new(api: Arc<dyn Api>, bucket: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self {
            api,
            bucket: bucket.into(),
            prefix: prefix.into(),
        }
    }
}

#[async_trait]
impl Shelf for BucketShelf {
    async fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let params = json!({"Bucket": self.bucket, "Key": format!("{}{path}", self.prefix)});
        match self.api.call(&Call::new("s3", "GetObject", params)).await {
            Ok(reply) => {
                let body = reply.output.get("Body").and_then(|body| body.as_str());
                let body = body.and_then(|body| BASE64.decode(body).ok());
                let no_body = || io::Error::other("an object has no contents");
                body.ok_or_else(no_body).map(Some)
            }
            // Without the right to list a bucket, AWS says `AccessDenied` of what is not there: that is
            // an error here, so that no witness begins anew because it may not look.
            Err(error) if error.code == "NoSuchKey" => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let params = json!({
            "Bucket": self.bucket,
            "Key": format!("{}{path}", self.prefix),
            "Body": BASE64.encode(bytes),
            "ServerSideEncryption": "aws:kms",
        });
        let written = self.api.call(&Call::new("s3", "PutObject", params)).await;
        written.map(drop).map_err(io::Error::other)
    }

    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

/// The copy on a shelf.
#[derive(Clone)]
pub struct Witness {
    shelf: Arc<dyn Shelf>,
    checkpoint: Option<Checkpoint>,
    /// What was read from a shelf that is not at hand.
    held: Arc<HashMap<String, Vec<u8>>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Witness").field(&self.shelf.name()).finish()
    }
}

/// Why the copy was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum NotWitnessed {
    /// The folder or bucket cannot be read or written.
    #[error("the witness's copy of the tree in `{shelf}` cannot be kept")]
    Shelf {
        /// Which one.
        shelf: String,
        /// Why.
        source: io::Error,
    },
    /// The ledger is not an extension of what the witness has.
    #[error(
        "the ledger does not extend the witness's checkpoint of {0} events: it was rewritten or cut off"
    )]
    Rewritten(u64),
    /// The orders are not an extension of those that the witness's checkpoint was signed with.
    #[error(
        "the ledger's orders do not extend the {0} of the witness's checkpoint: they were rewritten or cut off"
    )]
    OrdersRewritten(u64),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Witness {
    /// The copy in `folder`, which may be empty or missing.
    ///
    /// # Errors
    /// It cannot be read, or its checkpoint is none.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        let checkpoint = match fs::read_to_string(folder.join("checkpoint")) {
            Ok(note) => Some(note.parse().map_err(io::Error::other)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            shelf: Arc::new(Folder(folder)),
            checkpoint,
            held: Arc::default(),
        })
    }

    /// The copy on `shelf`, which may be empty.
    ///
    /// # Errors
    /// It cannot be read, or its checkpoint is none.
    pub async fn on(shelf: Arc<dyn Shelf>) -> io::Result<Self> {
        let note = shelf.read("checkpoint").await?;
        let note = note.map(|note| String::from_utf8(note).map_err(io::Error::other));
        let checkpoint = note.transpose()?.map(|note| note.parse());
        Ok(Self {
            shelf,
            checkpoint: checkpoint.transpose().map_err(io::Error::other)?,
            held: Arc::default(),
        })
    }

    /// Reads all that a check of the ledger needs of it, where its shelf is not at hand.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn hold(&mut self) -> io::Result<()> {
        let size = self.checkpoint.as_ref().map_or(0, |last| last.size);
        if self.shelf.folder().is_some() {
            return Ok(());
        }
        let mut held = HashMap::new();
        let mut paths = Vec::new();
        for level in 0..u8::MAX {
            let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            if hashes == 0 {
                break;
            }
            for index in 0..hashes.div_ceil(TILE_WIDTH as u64) {
                let width = tile_width(level, index, size);
                paths.push(tile_path(&level.to_string(), index, width));
                if level == 0 {
                    paths.push(tile_path("entries", index, width));
                }
            }
        }
        for path in paths {
            if let Some(bytes) = self.shelf.read(&path).await? {
                held.insert(path, bytes);
            }
        }
        self.held = Arc::new(held);
        Ok(())
    }

    /// The last checkpoint that it saw.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Brings the copy up to `checkpoint`, if the ledger is what it was so far.
    ///
    /// # Errors
    /// [`NotWitnessed::Rewritten`] and [`NotWitnessed::OrdersRewritten`] are alarms: the copy is left as it
    /// is, as evidence.
    pub async fn publish(
        &mut self,
        ledger: &dyn Store,
        checkpoint: &Checkpoint,
    ) -> Result<(), NotWitnessed> {
        let size = checkpoint.size;
        let orders = ledger.directives().await?;
        let old = match &self.checkpoint {
            Some(last) if last.as_note() == checkpoint.as_note() => return Ok(()),
            Some(last) if !last.orders.begin(&orders) => {
                return Err(NotWitnessed::OrdersRewritten(last.orders.count));
            }
            Some(last) if !begins(ledger, last, size).await? => {
                return Err(NotWitnessed::Rewritten(last.size));
            }
            // Another process has shown it newer ones meanwhile.
            Some(last) if last.size > size || last.orders.count > checkpoint.orders.count => {
                return Ok(());
            }
            Some(last) => last.size,
            None => 0,
        };
        let width = TILE_WIDTH as u64;
        for level in 0..u8::MAX {
            let covers = |leaves: u64| leaves.checked_shr(8 * u32::from(level)).unwrap_or(0);
            let (from, to) = (covers(old), covers(size));
            if to == 0 {
                break;
            }
            if from == to {
                continue;
            }
            for index in from / width..to.div_ceil(width) {
                let hashes = ledger.tile(level, index, size).await?;
                if hashes.len() != tile_width(level, index, size) {
                    return Err(LedgerError::Tree(size).into());
                }
                let tile = Tile {
                    level,
                    index,
                    hashes,
                };
                self.write(&tile.path(), &tile.to_bytes()).await?;
                if level == 0 {
                    let start = index * width;
                    let end = start + tile.hashes.len() as u64;
                    let links = ledger.links(start..end).await?;
                    let path = tile_path("entries", index, tile.hashes.len());
                    self.write(&path, &bundle(&links)).await?;
                }
            }
        }
        // Last: what it stands for is there.
        let note = checkpoint.as_note().as_bytes();
        self.write("checkpoint", note).await?;
        self.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), NotWitnessed> {
        let written = self.shelf.write(path, bytes).await;
        written.map_err(|source| NotWitnessed::Shelf {
            shelf: self.shelf.name(),
            source,
        })
    }

    /// A tile of this level, or of entries, whole or as wide as the checkpoint says.
    fn read(&self, kind: &str, level: u8, index: u64) -> Option<Vec<u8>> {
        let size = self.checkpoint.as_ref()?.size;
        let width = tile_width(level, index, size);
        let path = tile_path(kind, index, width);
        let read = || match self.shelf.folder() {
            Some(folder) => fs::read(folder.join(&path)).ok(),
            None => self.held.get(&path).cloned(),
        };
        (width > 0).then(read)?
    }

    /// The events that it knows of from number `from` on: remediation and number in it.
    #[must_use]
    pub fn events(&self, from: u64) -> Vec<(RemediationId, u64)> {
        let size = self.checkpoint.as_ref().map_or(0, |last| last.size);
        (from..size).filter_map(|leaf| self.event(leaf)).collect()
    }

    /// The folder where it is, if it is in one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.shelf.folder()
    }
}

/// Whether the ledger's tree, which was seen with `size` leaves, begins as the witness saw it last.
async fn begins(ledger: &dyn Store, last: &Checkpoint, size: u64) -> Result<bool, LedgerError> {
    match ledger.root(last.size).await {
        Ok(root) => Ok(root == last.root),
        // It is shorter, and has not grown meanwhile.
        Err(LedgerError::Tree(_)) if last.size > size => Ok(false),
        Err(error) => Err(error),
    }
}

/// Entries one behind the other, the length before each.
fn bundle(links: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for link in links {
        // A link is some 300 bytes long.
        bytes.extend((link.len() as u16).to_be_bytes());
        bytes.extend(link);
    }
    bytes
}

/// Which event an entry is of: remediation and number in it.
pub(crate) fn named(entry: &[u8]) -> Option<(RemediationId, u64)> {
    #[derive(Deserialize)]
    struct Link {
        id: RemediationId,
        seq: u64,
    }
    let Link { id, seq } = serde_json::from_slice(entry).ok()?;
    Some((id, seq))
}

impl Known for Witness {
    fn name(&self) -> &'static str {
        "the witness's copy"
    }

    fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |last| last.size)
    }

    fn tile(&self, level: u8, index: u64) -> Option<Vec<Digest>> {
        merkle::from_bytes(&self.read(&level.to_string(), level, index)?)
    }

    fn event(&self, leaf: u64) -> Option<(RemediationId, u64)> {
        let width = TILE_WIDTH as u64;
        let bytes = self.read("entries", 0, leaf / width)?;
        let mut rest = bytes.as_slice();
        for _ in 0..leaf % width {
            let (length, others) = rest.split_first_chunk()?;
            rest = others.get(usize::from(u16::from_be_bytes(*length))..)?;
        }
        let (length, others) = rest.split_first_chunk()?;
        named(others.get(..usize::from(u16::from_be_bytes(*length)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ledger as _, MemoryLedger,
        testing::{NOON, key, received, signer},
    };

    #[tokio::test]
    async fn who_was_slower_shows_an_older_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = MemoryLedger::new();
        let mut checkpoints = Vec::new();
        for n in 0..3 {
            ledger.admit(key(n), received(n), NOON).await.unwrap();
            checkpoints.push(ledger.checkpoint(&signer()).await.unwrap());
        }
        let mut witness = Witness::open(folder.path()).unwrap();
        for n in [1, 2, 0, 1] {
            witness.publish(&ledger, &checkpoints[n]).await.unwrap();
        }
        let last = || Witness::open(folder.path()).unwrap().checkpoint;
        assert_eq!(last().as_ref(), checkpoints.last());

        for findings in [vec![0, 1], vec![0, 1, 7], vec![7], vec![7, 0, 1, 2]] {
            let other = MemoryLedger::new();
            for &n in &findings {
                other.admit(key(n), received(n), NOON).await.unwrap();
            }
            let shown = other.checkpoint(&signer()).await.unwrap();
            let error = witness.publish(&other, &shown).await.unwrap_err();
            let alarm = matches!(error, NotWitnessed::Rewritten(3));
            assert!(alarm, "{findings:?}: {error}");
        }
        assert_eq!(last().as_ref(), checkpoints.last());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn several_write_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |_| {
            let shelf = Folder(folder.path().to_owned());
            tokio::spawn(async move {
                for _ in 0..200 {
                    shelf.write("tile/0/000.p/13", b"hashes").await.unwrap();
                }
            })
        };
        let writers: Vec<_> = (0..4).map(write).collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let shelf = Folder(folder.path().to_owned());
        let read = shelf.read("tile/0/000.p/13").await.unwrap();
        assert_eq!(read.as_deref(), Some(&b"hashes"[..]));
        let files = fs::read_dir(folder.path().join("tile/0/000.p")).unwrap();
        assert_eq!(files.count(), 1, "no draft");
    }
}
