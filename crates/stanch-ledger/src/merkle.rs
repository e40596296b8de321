//! The Merkle tree over all events: hashes as RFC 6962 has them, kept in tiles of 256 as transparency
//! logs publish them (<https://c2sp.org/tlog-tiles>), and the proofs that auditors ask for.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;

/// Levels of the tree in a tile.
const TILE_HEIGHT: u32 = 8;

/// The hash of a leaf (RFC 6962, section 2.1).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Digest {
    let hash = Sha256::new_with_prefix([0]).chain_update(data).finalize();
    Digest::from(<[u8; 32]>::from(hash))
}

/// The hash of an inner node.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut data = [1; 65];
    let (_, hashes) = data.split_at_mut(1);
    let (one, other) = hashes.split_at_mut(32);
    one.copy_from_slice(left.as_bytes());
    other.copy_from_slice(right.as_bytes());
    Digest::from(<[u8; 32]>::from(Sha256::digest(data)))
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::from(<[u8; 32]>::from(Sha256::digest([])))
}

/// The root of the tree over `hashes`.
#[must_use]
pub fn root(hashes: &[Digest]) -> Digest {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

/// Joins the roots of neighbouring subtrees, which grow smaller from left to right.
fn join(roots: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    roots.rev().reduce(|right, left| node_hash(&left, &right))
}

/// Neighbouring hashes of one level of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// 0 for leaves; a hash of level `n` covers 256ⁿ leaves.
    pub level: u8,
    /// Its number in the level.
    pub index: u64,
    /// 1 to 256 hashes; fewer than 256 at the right edge of the tree only.
    pub hashes: Vec<Digest>,
}

impl Tile {
    /// Where it is published, below the log's prefix.
    #[must_use]
    pub fn path(&self) -> String {
        tile_path(&self.level.to_string(), self.index, self.hashes.len())
    }

    /// As it is published: its hashes, one behind the other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(&self.hashes)
    }
}

/// Hashes, one behind the other.
pub(crate) fn to_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// What [`to_bytes`] wrote; `None` if it is cut off.
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty()
        .then(|| hashes.iter().map(|hash| Digest::from(*hash)).collect())
}

/// The path of a tile of `kind` (a level, or `entries`) that holds `width` items.
#[must_use]
pub fn tile_path(kind: &str, index: u64, width: usize) -> String {
    let mut number = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1000);
        rest /= 1000;
    }
    let partial = match width {
        TILE_WIDTH => String::new(),
        width => format!(".p/{width}"),
    };
    format!("tile/{kind}/{number}{partial}")
}

/// How many hashes a tile has in a tree of `size` leaves.
#[must_use]
pub fn tile_width(level: u8, index: u64, size: u64) -> usize {
    let hashes = size
        .checked_shr(TILE_HEIGHT * u32::from(level))
        .unwrap_or(0);
    let before = index.saturating_mul(TILE_WIDTH as u64);
    hashes.saturating_sub(before).min(TILE_WIDTH as u64) as usize
}

/// A tree that grows: its size, and the tiles at its right edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// By level; each shorter than a tile.
    edge: Vec<Vec<Digest>>,
    /// Tiles that became full since they were last taken.
    full: Vec<Tile>,
    /// So many of the lowest levels have changed since then.
    changed: usize,
}

impl Tree {
    /// The tree of `size` leaves whose right edge `tile` gives by level and number.
    ///
    /// # Errors
    /// Those of `tile`. `None`: a tile does not have as many hashes as it must.
    pub fn load<E>(
        size: u64,
        mut tile: impl FnMut(u8, u64) -> Result<Vec<Digest>, E>,
    ) -> Result<Option<Self>, E> {
        let mut tree = Self {
            size,
            ..Self::default()
        };
        let mut above = size;
        for level in 0.. {
            if above == 0 {
                break;
            }
            let (index, width) = (above >> TILE_HEIGHT, (above % 256) as usize);
            let hashes = match width {
                0 => Vec::new(),
                _ => tile(level, index)?,
            };
            if hashes.len() != width {
                return Ok(None);
            }
            tree.edge.push(hashes);
            above = index;
        }
        Ok(Some(tree))
    }

    /// Leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Digest) {
        self.size += 1;
        let mut hash = leaf;
        let mut covered = self.size;
        for level in 0.. {
            if self.edge.len() == level {
                self.edge.push(Vec::with_capacity(TILE_WIDTH));
            }
            self.changed = self.changed.max(level + 1);
            let Some(hashes) = self.edge.get_mut(level) else {
                return;
            };
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            hash = root(hashes);
            covered >>= TILE_HEIGHT;
            self.full.push(Tile {
                level: level as u8,
                index: covered - 1,
                hashes: std::mem::take(hashes),
            });
        }
    }

    /// The tiles that have changed since the last call, as they are now.
    pub fn take_changed(&mut self) -> Vec<Tile> {
        let mut tiles = std::mem::take(&mut self.full);
        let edge = self.edge.iter().take(std::mem::take(&mut self.changed));
        for (level, hashes) in (0..).zip(edge) {
            if !hashes.is_empty() {
                tiles.push(Tile {
                    level,
                    index: self.size >> (TILE_HEIGHT * (u32::from(level) + 1)),
                    hashes: hashes.clone(),
                });
            }
        }
        tiles
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Digest {
        // A level's hashes and what stands to their right: each a perfect subtree, growing smaller.
        let right = self.edge.iter().fold(None, |right, hashes| {
            let mut rest = hashes.as_slice();
            let mut subtrees = Vec::new();
            while let Some(level) = rest.len().checked_ilog2() {
                let (subtree, others) = rest.split_at(1 << level);
                subtrees.push(root(subtree));
                rest = others;
            }
            join(subtrees.into_iter().chain(right))
        });
        right.unwrap_or_else(empty_root)
    }
}

/// The roots of full tiles, as far as a tree has to remember them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roots {
    /// Of perfect subtrees, from left to right: how many tiles each covers, and its hash.
    subtrees: Vec<(u64, Digest)>,
}

impl Roots {
    /// Adds the root of the next full tile.
    pub(crate) fn push(&mut self, root: Digest) {
        let mut new = (1, root);
        while let Some((width, left)) = self.subtrees.pop_if(|last| last.0 == new.0) {
            new = (width * 2, node_hash(&left, &new.1));
        }
        self.subtrees.push(new);
    }

    /// The root of the tree of these tiles and `edge`, the leaves beside them.
    pub(crate) fn root_with(&self, edge: &[Digest]) -> Digest {
        let edge = match edge {
            [] => None,
            _ => Some(root(edge)),
        };
        let tiles = self.subtrees.iter().map(|(_, root)| *root);
        join(tiles.chain(edge)).unwrap_or_else(empty_root)
    }
}

/// A perfect subtree: `2^level` leaves from `index * 2^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// How many levels of nodes are below it.
    pub level: u32,
    /// Its number in the level.
    pub index: u64,
}

impl Node {
    /// The tile that it can be computed from: level and number.
    #[must_use]
    pub const fn tile(self) -> (u8, u64) {
        let level = self.level / TILE_HEIGHT;
        let index = self.index >> (TILE_HEIGHT - self.level % TILE_HEIGHT);
        (level as u8, index)
    }

    /// Its hash, from that tile; `None` if the tile does not reach so far.
    #[must_use]
    pub fn hash(self, tile: &[Digest]) -> Option<Digest> {
        let width = 1_usize << (self.level % TILE_HEIGHT);
        let start = (self.index as usize).wrapping_mul(width) % TILE_WIDTH;
        tile.get(start..start + width).map(root)
    }
}

/// The perfect subtrees of the first `size` leaves of a tree that begins with leaf `from`, from left
/// to right; their joined hashes are the hash of the range, where a tree has such a range.
fn subtrees(range: Range<u64>) -> Vec<Node> {
    let Range { mut start, end } = range;
    let mut nodes = Vec::new();
    while start < end {
        let level = (end - start).ilog2().min(match start {
            0 => u64::BITS,
            _ => start.trailing_zeros(),
        });
        let index = start >> level;
        nodes.push(Node { level, index });
        start += 1 << level;
    }
    nodes
}

/// Where the tree over a range of two leaves or more splits (RFC 6962, section 2.1).
const fn middle(range: &Range<u64>) -> u64 {
    range.start + (1_u64 << (range.end - range.start - 1).ilog2())
}

/// The largest ranges within `range` that have none of `leaves`, which stand in order, from left to right.
fn beside(range: Range<u64>, leaves: &[u64], found: &mut Vec<Vec<Node>>) {
    match leaves {
        [] if range.is_empty() => {}
        [] => found.push(subtrees(range)),
        _ if range.end.saturating_sub(range.start) < 2 => {}
        _ => {
            let middle = middle(&range);
            let (left, right) = leaves.split_at(leaves.partition_point(|leaf| *leaf < middle));
            beside(range.start..middle, left, found);
            beside(middle..range.end, right, found);
        }
    }
}

/// Ranges of leaves whose hashes prove something; [`Needed::hashes`] computes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed(Vec<Vec<Node>>);

impl Needed {
    /// The root of the tree as it was with `size` leaves.
    #[must_use]
    pub fn root(size: u64) -> Self {
        Self(vec![subtrees(0..size)])
    }

    /// That leaf `index` is in the tree of `size` leaves (RFC 6962, section 2.1.1); `None` if it
    /// cannot be.
    #[must_use]
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        let mut ranges = Vec::new();
        let mut range = 0..size;
        if !range.contains(&index) {
            return None;
        }
        while range.end - range.start > 1 {
            let middle = middle(&range);
            let (inside, beside) = match index < middle {
                true => (range.start..middle, middle..range.end),
                false => (middle..range.end, range.start..middle),
            };
            ranges.push(subtrees(beside));
            range = inside;
        }
        ranges.reverse();
        Some(Self(ranges))
    }

    /// That the tree of `new` leaves begins with that of `old` leaves (RFC 6962, section 2.1.2);
    /// `None` if it cannot.
    #[must_use]
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        if old > new {
            return None;
        }
        let mut ranges = Vec::new();
        let mut range = 0..new;
        if old == 0 || old == new {
            return Some(Self(ranges));
        }
        while range.end != old {
            let middle = middle(&range);
            let (inside, beside) = match old <= middle {
                true => (range.start..middle, middle..range.end),
                false => (middle..range.end, range.start..middle),
            };
            ranges.push(subtrees(beside));
            range = inside;
        }
        // The old tree itself is known to whoever asks.
        if range.start != 0 {
            ranges.push(subtrees(range));
        }
        ranges.reverse();
        Some(Self(ranges))
    }

    /// That `leaves`, which stand in order, are in the tree of `size` leaves: the hashes of all that is
    /// beside them, from left to right. [`root_by_parts`] is what they lead to.
    #[must_use]
    pub fn beside(leaves: &[u64], size: u64) -> Self {
        let mut ranges = Vec::new();
        beside(0..size, leaves, &mut ranges);
        Self(ranges)
    }

    /// The same in portions of so many hashes.
    pub(crate) fn portions(&self, hashes: usize) -> impl Iterator<Item = Self> {
        let portions = self.0.chunks(hashes.max(1));
        portions.map(|portion| Self(portion.to_vec()))
    }

    /// The tiles to compute it from, by level and number, each once.
    #[must_use]
    pub fn tiles(&self) -> Vec<(u8, u64)> {
        let mut tiles: Vec<_> = self.0.iter().flatten().map(|node| node.tile()).collect();
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    }

    /// The hashes; `None` if `tile` lacks one.
    pub fn hashes<'t>(
        &self,
        tile: impl Fn((u8, u64)) -> Option<&'t [Digest]>,
    ) -> Option<Vec<Digest>> {
        let hash = |nodes: &Vec<Node>| {
            let hashes: Option<Vec<_>> = nodes
                .iter()
                .map(|node| node.hash(tile(node.tile())?))
                .collect();
            Some(join(hashes?.into_iter()).unwrap_or_else(empty_root))
        };
        self.0.iter().map(hash).collect()
    }
}

/// The root of a tree of `size` leaves in which leaf `index` has this hash, by the hashes beside its
/// way up (RFC 9162, section 2.1.3.2); `None` if there are too few or too many of them.
#[must_use]
pub fn root_by_inclusion(index: u64, size: u64, leaf: Digest, proof: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for beside in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(beside, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// The root of a tree of `size` leaves of which `parts` are known, perfect subtrees from left to right, by
/// the hashes of all that is beside them ([`Needed::beside`]); `None` if those do not fit.
#[must_use]
pub fn root_by_parts(
    size: u64,
    parts: &[(Range<u64>, Digest)],
    beside: &[Digest],
) -> Option<Digest> {
    let mut beside = beside.iter();
    let root = match size {
        0 if parts.is_empty() => empty_root(),
        0 => return None,
        size => fold(0..size, parts, &mut beside)?,
    };
    beside.next().is_none().then_some(root)
}

fn fold(
    range: Range<u64>,
    parts: &[(Range<u64>, Digest)],
    beside: &mut std::slice::Iter<'_, Digest>,
) -> Option<Digest> {
    match parts {
        [] => beside.next().copied(),
        [(part, hash)] if *part == range => Some(*hash),
        _ if range.end - range.start < 2 => None,
        _ => {
            let middle = middle(&range);
            let place = parts.partition_point(|(part, _)| part.start < middle);
            let (left, right) = parts.split_at(place);
            let left = fold(range.start..middle, left, beside)?;
            let right = fold(middle..range.end, right, beside)?;
            Some(node_hash(&left, &right))
        }
    }
}

/// Whether a tree of `new.0` leaves with root `new.1` begins with that of `old` (RFC 9162, section
/// 2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, Digest), new: (u64, Digest), proof: &[Digest]) -> bool {
    match old.0 {
        0 => return proof.is_empty() && old.1 == empty_root(),
        size if size == new.0 => return proof.is_empty() && old.1 == new.1,
        size if size > new.0 => return false,
        _ => {}
    }
    let mut proof = proof.iter();
    let (mut node, mut last) = (old.0 - 1, new.0 - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    // A tree that is one perfect subtree of the other is not in the proof itself.
    let first = match old.0.is_power_of_two() {
        true => Some(old.1),
        false => proof.next().copied(),
    };
    let Some(first) = first else { return false };
    let (mut one, mut other) = (first, first);
    for beside in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            one = node_hash(beside, &one);
            other = node_hash(beside, &other);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            other = node_hash(&other, beside);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && one == old.1 && other == new.1
}
