//! Signed notes (<https://c2sp.org/signed-note>), the checkpoints of the ledger's tree
//! (<https://c2sp.org/tlog-checkpoint>), and the keys that sign them.

use std::{fmt, fmt::Write as _, io, path::Path, str::FromStr, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use sha2::{Digest as _, Sha256};

use crate::{Digest, Orders, own_file};

/// The signature type of Ed25519 in a signed note.
const TYPE_ED25519: u8 = 1;

/// A public key with the name that it signs by. As text, `name+id+key` (a "vkey").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

/// Text that is not a public key of notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a public key as `stanch ledger key` prints it (`name+id+key`)")]
pub struct NotAKey;

impl VerifierKey {
    /// The Ed25519 key `key` of the signer `name`; `None` if a note cannot carry that name.
    #[must_use]
    pub fn new(name: &str, key: [u8; 32]) -> Option<Self> {
        let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
        (!name.is_empty() && name.chars().all(fits)).then(|| Self {
            name: name.to_owned(),
            key,
        })
    }

    /// The key `key` of `origin`; without one, of `stanch/` and the beginning of its own hash.
    pub(crate) fn named(origin: Option<&str>, key: [u8; 32]) -> Option<Self> {
        let own = || {
            let hash = Digest::from(<[u8; 32]>::from(Sha256::digest(key))).to_string();
            format!("stanch/{}", hash.get(..16).unwrap_or_default())
        };
        Self::new(&origin.map_or_else(own, str::to_owned), key)
    }

    /// The name: the origin of the checkpoints that it signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', TYPE_ED25519])
            .chain_update(self.key)
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
        [a, b, c, d]
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key)
            .verify(text.as_bytes(), signature)
            .is_ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![TYPE_ED25519];
        key.extend(self.key);
        let id = u32::from_be_bytes(self.id());
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let read = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, _, key) = (parts.next()?, parts.next()?, parts.next()?);
            let key = BASE64.decode(key).ok()?;
            let (&TYPE_ED25519, key) = key.split_first()? else {
                return None;
            };
            Self::new(name, key.try_into().ok()?)
        };
        // Its id has to be right, too.
        read()
            .filter(|key| key.to_string() == text.trim())
            .ok_or(NotAKey)
    }
}

/// Why something was not signed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the checkpoint cannot be signed: {0}")]
pub struct NotSigned(pub String);

/// Signs checkpoints.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The key that verifies what this one signs.
    fn key(&self) -> &VerifierKey;

    /// The Ed25519 signature of `text` (RFC 8032).
    ///
    /// # Errors
    /// The key cannot be used now.
    async fn sign(&self, text: &str) -> Result<Vec<u8>, NotSigned>;
}

/// A key pair in a file: PKCS #8 as PEM, as `openssl genpkey -algorithm ed25519` writes it.
pub struct KeyFile {
    pair: Ed25519KeyPair,
    key: VerifierKey,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyFile").field(&self.key).finish()
    }
}

impl KeyFile {
    /// PKCS #8, version 1, before the 32 bytes of an Ed25519 key (RFC 8410, section 7).
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];

    /// A new key as the text of such a file.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> io::Result<String> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let mut der = Self::PREFIX.to_vec();
        der.extend(seed);
        let body = BASE64.encode(der);
        Ok(format!(
            "-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
        ))
    }

    /// The key in the text of such a file. Without an `origin` it signs as `stanch/` and the beginning
    /// of its own hash.
    ///
    /// # Errors
    /// It is not such a text, or no note can carry that origin.
    pub fn parse(pem: &str, origin: Option<&str>) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let body = pem
            .trim()
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or_else(|| invalid("it is not a private key as PEM"))?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64.decode(body);
        let der = der.map_err(|_| invalid("its base64 is broken"))?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|_| invalid("it is not an Ed25519 key"))?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .map_err(|_| invalid("it is not an Ed25519 key"))?;
        let key = VerifierKey::named(origin, public)
            .ok_or_else(|| invalid("a key's name has no spaces and no `+`"))?;
        Ok(Self { pair, key })
    }

    /// The key in the file `path`.
    ///
    /// # Errors
    /// As [`KeyFile::parse`], or the file cannot be read.
    pub fn open(path: &Path, origin: Option<&str>) -> io::Result<Self> {
        Self::parse(&std::fs::read_to_string(path)?, origin)
    }

    /// Makes the file `path`, for this user only.
    ///
    /// # Errors
    /// It is there already or cannot be written.
    pub fn create(path: &Path) -> io::Result<()> {
        own_file::create(path, &Self::generate()?)
    }
}

#[async_trait]
impl Signer for KeyFile {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    async fn sign(&self, text: &str) -> Result<Vec<u8>, NotSigned> {
        Ok(self.pair.sign(text.as_bytes()).as_ref().to_vec())
    }
}

/// A text with the signatures below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note<'n> {
    /// The text, its last newline included.
    pub(crate) text: &'n str,
    /// Signer's name, key id and signature.
    signatures: Vec<(&'n str, Vec<u8>)>,
}

impl<'n> Note<'n> {
    pub(crate) fn parse(note: &'n str) -> Option<Self> {
        let (text, below) = note.rsplit_once("\n\n")?;
        let text = note.get(..text.len() + 1)?;
        let signature = |line: &'n str| {
            let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
            Some((name, BASE64.decode(signature).ok()?))
        };
        let signatures: Option<Vec<_>> = below
            .strip_suffix('\n')?
            .split('\n')
            .map(signature)
            .collect();
        let signatures = signatures?;
        (signatures.len() <= 32).then_some(Self { text, signatures })
    }

    fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let signed = |(name, signature): &(&str, Vec<u8>)| {
            *name == key.name
                && signature
                    .split_first_chunk::<4>()
                    .is_some_and(|(id, signature)| {
                        *id == key.id() && key.verifies(self.text, signature)
                    })
        };
        self.signatures.iter().any(signed)
    }
}

/// What begins the line of a checkpoint that the orders stand in: an extension line.
const ORDERS: &str = "orders ";

/// What the ledger's tree and the orders were at some time, signed by whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the ledger.
    pub origin: String,
    /// How many events it had.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
    /// How far the orders had come.
    pub orders: Orders,
    note: Arc<str>,
}

/// Text that is not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a checkpoint")]
pub struct NotACheckpoint;

impl Checkpoint {
    /// A checkpoint of a tree, signed.
    ///
    /// # Errors
    /// The signer could not.
    pub async fn sign(
        size: u64,
        root: Digest,
        orders: Orders,
        signer: &dyn Signer,
    ) -> Result<Self, NotSigned> {
        let key = signer.key();
        let root64 = BASE64.encode(root.as_bytes());
        let mut text = format!("{}\n{size}\n{root64}\n", key.name);
        if orders.count > 0 {
            let head = BASE64.encode(orders.head.as_bytes());
            let _ = writeln!(text, "{ORDERS}{} {head}", orders.count);
        }
        let signed = signer.sign(&text).await?;
        if !key.verifies(&text, &signed) {
            return Err(NotSigned("the signature does not fit the key".to_owned()));
        }
        let signature = BASE64.encode([&key.id(), signed.as_slice()].concat());
        let note = format!("{text}\n— {} {signature}\n", key.name).into();
        Ok(Self {
            origin: key.name.clone(),
            size,
            root,
            orders,
            note,
        })
    }

    /// The signed note.
    #[must_use]
    pub fn as_note(&self) -> &str {
        &self.note
    }

    /// One of its signatures is by `key`, which is its ledger's.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        self.origin == key.name
            && Note::parse(&self.note).is_some_and(|note| note.is_signed_by(key))
    }
}

/// A number as it is written, and in no other way.
fn number(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|number: &u64| number.to_string() == text)
}

fn digest(text: &str) -> Option<Digest> {
    let bytes: [u8; 32] = BASE64.decode(text).ok()?.try_into().ok()?;
    Some(Digest::from(bytes))
}

impl FromStr for Checkpoint {
    type Err = NotACheckpoint;

    fn from_str(note: &str) -> Result<Self, NotACheckpoint> {
        let read = || {
            let parsed = Note::parse(note)?;
            let mut lines = parsed.text.lines();
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let further: Vec<&str> = lines.collect();
            let mut orders = further.iter().filter_map(|line| line.strip_prefix(ORDERS));
            let checkpoint = Self {
                origin: origin.to_owned(),
                size: number(size)?,
                root: digest(root)?,
                orders: match orders.next() {
                    Some(line) => {
                        let (count, head) = line.split_once(' ')?;
                        Orders {
                            count: number(count)?,
                            head: digest(head)?,
                        }
                    }
                    None => Orders::default(),
                },
                note: note.into(),
            };
            let is_whole = !origin.is_empty() && further.iter().all(|line| !line.is_empty());
            (is_whole && orders.next().is_none()).then_some(checkpoint)
        };
        read().ok_or(NotACheckpoint)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}
