//! The container of the embedded data: small compressed frames under a sorted index, so that a
//! program pays for what it looks at.
//!
//! ```text
//! "STANCH1\n"  index length (u32, little endian)  index (postcard)  frames
//! ```
//! Each frame is a zstd frame that needs the shared dictionary (itself the first, uncompressed,
//! frame); inside is postcard.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a blob begins with; another layout has another magic.
pub const MAGIC: &[u8; 8] = b"STANCH1\n";

/// The head of a blob.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Index {
    /// Packages that the data comes from: name, version, digest of the archive.
    pub sources: Vec<Source>,
    /// The length of the dictionary, with which the frames begin.
    pub dictionary: u32,
    /// Sorted by key.
    pub entries: Vec<Entry>,
}

/// A package that the data comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in its registry.
    pub name: Box<str>,
    /// The exact version.
    pub version: Box<str>,
    /// The archive's digest, as the registry's client writes it.
    pub digest: Box<str>,
}

/// One frame.
#[derive(Debug, Serialize, Deserialize)]
pub struct Entry {
    /// `service/s3`.
    pub key: Box<str>,
    /// From the end of the index.
    pub offset: u32,
    /// Compressed, in bytes.
    pub length: u32,
    /// Decompressed, in bytes.
    pub size: u32,
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not a blob, or of another version.
    #[error("the embedded data does not begin as it should")]
    Head,
    /// The frame does not decompress.
    #[error("the embedded data `{0}` does not decompress")]
    Compression(Box<str>, #[source] std::io::Error),
    /// The frame does not decode.
    #[error("the embedded data `{0}` does not decode")]
    Encoding(Box<str>, #[source] postcard::Error),
}

/// A blob in memory.
#[derive(Debug)]
pub struct Blob {
    index: Index,
    frames: &'static [u8],
}

impl Blob {
    /// Reads the index.
    ///
    /// # Errors
    /// When `bytes` is no blob.
    pub fn open(bytes: &'static [u8]) -> Result<Self, BlobError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BlobError::Head)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(BlobError::Head)?;
        let (index, frames) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or(BlobError::Head)?;
        let index =
            postcard::from_bytes(index).map_err(|e| BlobError::Encoding("index".into(), e))?;
        Ok(Self { index, frames })
    }

    /// The head.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The keys that begin with `prefix`, without it, sorted.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.index
            .entries
            .iter()
            .filter_map(move |e| e.key.strip_prefix(prefix))
    }

    /// Decodes a frame; nothing where the key is unknown.
    ///
    /// # Errors
    /// When the blob is damaged.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BlobError> {
        let Ok(place) = self.index.entries.binary_search_by(|e| (*e.key).cmp(key)) else {
            return Ok(None);
        };
        let frame = self.index.entries.get(place).and_then(|entry| {
            let (start, length) = (entry.offset as usize, entry.length as usize);
            Some((entry, self.frames.get(start..start.checked_add(length)?)?))
        });
        let dictionary = self.frames.get(..self.index.dictionary as usize);
        let ((entry, frame), dictionary) = frame.zip(dictionary).ok_or(BlobError::Head)?;
        let bytes = zstd::bulk::Decompressor::with_dictionary(dictionary)
            .and_then(|mut d| d.decompress(frame, entry.size as usize))
            .map_err(|e| BlobError::Compression(key.into(), e))?;
        postcard::from_bytes(&bytes)
            .map(Some)
            .map_err(|e| BlobError::Encoding(key.into(), e))
    }
}
