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
    /// More than 4 GiB.
    #[error("the data is larger than a blob may be")]
    TooLarge,
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'f> {
    /// `service/s3`.
    pub key: &'f str,
    /// Compressed with the dictionary.
    pub packed: &'f [u8],
    /// Decompressed, in bytes.
    pub size: u32,
}

/// A blob of frames, which come sorted by key.
///
/// # Errors
/// They are too many.
pub fn write<'f>(
    sources: &[Source],
    dictionary: &[u8],
    frames: impl IntoIterator<Item = Frame<'f>>,
) -> Result<Vec<u8>, BlobError> {
    let number = |length: usize| u32::try_from(length).map_err(|_| BlobError::TooLarge);
    let (mut body, mut entries) = (dictionary.to_vec(), Vec::new());
    for frame in frames {
        entries.push(Entry {
            key: frame.key.into(),
            offset: number(body.len())?,
            length: number(frame.packed.len())?,
            size: frame.size,
        });
        body.extend_from_slice(frame.packed);
    }
    let index = Index {
        sources: sources.to_vec(),
        dictionary: number(dictionary.len())?,
        entries,
    };
    let index =
        postcard::to_allocvec(&index).map_err(|e| BlobError::Encoding("index".into(), e))?;
    let mut blob = MAGIC.to_vec();
    blob.extend_from_slice(&number(index.len())?.to_le_bytes());
    blob.extend_from_slice(&index);
    blob.extend_from_slice(&body);
    Ok(blob)
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

    /// The same with those frames only whose key is wanted.
    ///
    /// # Errors
    /// When the blob is damaged.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<u8>, BlobError> {
        let entries = self.index.entries.iter().filter(|entry| wanted(&entry.key));
        let frames = entries.map(|entry| {
            Ok(Frame {
                key: &entry.key,
                packed: self.packed(entry)?,
                size: entry.size,
            })
        });
        let frames = frames.collect::<Result<Vec<_>, BlobError>>()?;
        write(&self.index.sources, self.dictionary()?, frames)
    }

    /// Decodes a frame; nothing where the key is unknown.
    ///
    /// # Errors
    /// When the blob is damaged.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BlobError> {
        let entries = &self.index.entries;
        let place = entries.binary_search_by(|e| (*e.key).cmp(key));
        let Some(entry) = place.ok().and_then(|place| entries.get(place)) else {
            return Ok(None);
        };
        let frame = self.packed(entry)?;
        let bytes = zstd::bulk::Decompressor::with_dictionary(self.dictionary()?)
            .and_then(|mut d| d.decompress(frame, entry.size as usize))
            .map_err(|e| BlobError::Compression(key.into(), e))?;
        postcard::from_bytes(&bytes)
            .map(Some)
            .map_err(|e| BlobError::Encoding(key.into(), e))
    }

    fn packed(&self, entry: &Entry) -> Result<&'static [u8], BlobError> {
        let (start, length) = (entry.offset as usize, entry.length as usize);
        let end = start.checked_add(length).ok_or(BlobError::Head)?;
        self.frames.get(start..end).ok_or(BlobError::Head)
    }

    fn dictionary(&self) -> Result<&'static [u8], BlobError> {
        let dictionary = self.frames.get(..self.index.dictionary as usize);
        dictionary.ok_or(BlobError::Head)
    }
}
