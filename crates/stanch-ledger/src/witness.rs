//! A copy of the ledger's tree outside of it, in a folder, laid out as transparency logs publish
//! themselves (<https://c2sp.org/tlog-tiles>): whoever rewrites the ledger would have to rewrite that,
//! too.
//!
//! It holds no event's contents: the entries are what the chain's hashes are taken over.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    Checkpoint, Digest, Ledger, LedgerError, RemediationId,
    merkle::{self, TILE_WIDTH, Tile, tile_path, tile_width},
    verify::Known,
};

/// The copy in a folder.
#[derive(Debug, Clone)]
pub struct Witness {
    folder: PathBuf,
    checkpoint: Option<Checkpoint>,
}

/// Why the copy was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum NotWitnessed {
    /// The folder cannot be read or written.
    #[error("the witness's copy of the tree in `{folder}` cannot be kept")]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The ledger is not an extension of what the witness has.
    #[error(
        "the ledger does not extend the witness's checkpoint of {0} events: it was rewritten or cut off"
    )]
    Rewritten(u64),
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
        Ok(Self { folder, checkpoint })
    }

    /// The last checkpoint that it saw.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Brings the copy up to `checkpoint`, if the ledger is what it was so far.
    ///
    /// # Errors
    /// [`NotWitnessed::Rewritten`] is an alarm: the copy is left as it is, as evidence.
    pub async fn publish(
        &mut self,
        ledger: &dyn Ledger,
        checkpoint: &Checkpoint,
    ) -> Result<(), NotWitnessed> {
        let size = checkpoint.size;
        let old = match &self.checkpoint {
            Some(last) if last.as_note() == checkpoint.as_note() => return Ok(()),
            Some(last) if last.size > size => return Err(NotWitnessed::Rewritten(last.size)),
            Some(last) if ledger.root(last.size).await? != last.root => {
                return Err(NotWitnessed::Rewritten(last.size));
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
                self.write(&tile.path(), &tile.to_bytes())?;
                if level == 0 {
                    let start = index * width;
                    let end = start + tile.hashes.len() as u64;
                    let links = ledger.links(start..end).await?;
                    let path = tile_path("entries", index, tile.hashes.len());
                    self.write(&path, &bundle(&links))?;
                }
            }
        }
        // Last: what it stands for is there.
        self.write("checkpoint", checkpoint.as_note().as_bytes())?;
        self.checkpoint = Some(checkpoint.clone());
        Ok(())
    }

    /// Written beside its place and moved there, so that nobody reads half a file.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), NotWitnessed> {
        let write = || {
            let path = self.folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            let draft = path.with_extension("new");
            fs::write(&draft, bytes)?;
            fs::rename(draft, path)
        };
        write().map_err(|source| NotWitnessed::Folder {
            folder: self.folder.clone(),
            source,
        })
    }

    /// A tile of leaves or of entries, whole or as wide as the checkpoint says.
    fn read(&self, kind: &str, index: u64) -> Option<Vec<u8>> {
        let size = self.checkpoint.as_ref()?.size;
        let width = tile_width(0, index, size);
        let read = |width| fs::read(self.folder.join(tile_path(kind, index, width))).ok();
        (width > 0).then(|| read(width))?
    }

    /// The events that it knows of from number `from` on: remediation and number in it.
    #[must_use]
    pub fn events(&self, from: u64) -> Vec<(RemediationId, u64)> {
        let size = self.checkpoint.as_ref().map_or(0, |last| last.size);
        (from..size).filter_map(|leaf| self.event(leaf)).collect()
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
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

/// What an entry says of its event.
#[derive(Deserialize)]
struct Link {
    id: RemediationId,
    seq: u64,
}

impl Known for Witness {
    fn name(&self) -> &'static str {
        "the witness's copy"
    }

    fn tile(&self, index: u64) -> Option<Vec<Digest>> {
        merkle::from_bytes(&self.read("0", index)?)
    }

    fn event(&self, leaf: u64) -> Option<(RemediationId, u64)> {
        let width = TILE_WIDTH as u64;
        let bytes = self.read("entries", leaf / width)?;
        let mut rest = bytes.as_slice();
        for _ in 0..leaf % width {
            let (length, others) = rest.split_first_chunk()?;
            rest = others.get(usize::from(u16::from_be_bytes(*length))..)?;
        }
        let (length, others) = rest.split_first_chunk()?;
        let link = others.get(..usize::from(u16::from_be_bytes(*length)))?;
        let Link { id, seq } = serde_json::from_slice(link).ok()?;
        Some((id, seq))
    }
}
