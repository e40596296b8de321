//! The tree, its proofs and its signatures, by the vectors and rules of their specifications.

use std::collections::HashMap;

use stanch_ledger::{
    Checkpoint, Digest, KeyFile, Orders, Signer as _, VerifierKey,
    merkle::{self, Needed, Tree},
    testing::signer,
};

fn leaf(n: u64) -> Digest {
    merkle::leaf_hash(&n.to_be_bytes())
}

fn tree(size: u64) -> (Tree, HashMap<(u8, u64), Vec<Digest>>) {
    let (mut tree, mut tiles) = (Tree::default(), HashMap::new());
    for n in 0..size {
        tree.push(leaf(n));
        // As if each leaf were a transaction of its own, now and then.
        if n % 3 == 0 {
            let changed = tree.take_changed().into_iter();
            tiles.extend(changed.map(|tile| ((tile.level, tile.index), tile.hashes)));
        }
    }
    let changed = tree.take_changed().into_iter();
    tiles.extend(changed.map(|tile| ((tile.level, tile.index), tile.hashes)));
    (tree, tiles)
}

/// The leaves and roots that implementations of RFC 6962 are tested with.
#[test]
fn roots_are_those_of_rfc_6962() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let hashes = leaves.map(merkle::leaf_hash);
    let mut tree = Tree::default();
    assert_eq!(tree.root().to_string(), roots[0]);
    for (size, root) in (0..).zip(roots) {
        assert_eq!(merkle::root(&hashes[..size]).to_string(), root);
        if let Some(hash) = hashes.get(size) {
            tree.push(*hash);
            assert_eq!(tree.root().to_string(), roots[size + 1]);
        }
    }
}

#[test]
fn tiles_are_laid_out_as_transparency_logs_have_them() {
    for (size, widths) in [
        (1, [1, 0, 0]),
        (255, [255, 0, 0]),
        (256, [0, 1, 0]),
        (70_000, [112, 17, 1]),
    ] {
        let (tree, tiles) = tree(size);
        for (level, width) in (0..).zip(widths) {
            let index = size >> (8 * (u32::from(level) + 1));
            let found = tiles.get(&(level, index)).map_or(0, Vec::len);
            assert_eq!(found, width, "level {level} of {size}");
            assert_eq!(merkle::tile_width(level, index, size), width);
        }
        let loaded = Tree::load(size, |level, index| {
            Ok::<_, ()>(tiles[&(level, index)].clone())
        });
        let loaded = loaded.unwrap().unwrap();
        assert_eq!((loaded.root(), loaded.size()), (tree.root(), size));
    }
    assert_eq!(
        merkle::tile_path("0", 1_234_067, 256),
        "tile/0/x001/x234/067"
    );
    assert_eq!(merkle::tile_path("entries", 0, 7), "tile/entries/000.p/7");
    assert_eq!(merkle::tile_path("1", 1000, 256), "tile/1/x001/000");
}

#[test]
fn every_proof_holds_and_no_other() {
    let sizes: Vec<u64> = (0..40).chain([255, 256, 257, 511, 700]).collect();
    let (_, tiles) = tree(700);
    let all: Vec<Digest> = (0..700).map(leaf).collect();
    let tile = |place| tiles.get(&place).map(Vec::as_slice);
    let root = |size: u64| merkle::root(&all[..size as usize]);
    for &size in &sizes {
        let roots = Needed::root(size).hashes(tile).unwrap();
        assert_eq!(roots, [root(size)], "{size}");
        for index in (0..size).step_by(if size > 40 { 37 } else { 1 }) {
            let proof = Needed::inclusion(index, size)
                .unwrap()
                .hashes(tile)
                .unwrap();
            let by = |index, size, hash, proof: &[Digest]| {
                merkle::root_by_inclusion(index, size, hash, proof) == Some(root(size))
            };
            assert!(by(index, size, leaf(index), &proof), "{index} of {size}");
            assert!(!by(index, size, leaf(index + 1), &proof));
            assert!(!by(
                index,
                size,
                leaf(index),
                &[&proof[..], &[leaf(0)]].concat()
            ));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(!by(index, size, leaf(index), shorter));
                assert!(!by(index ^ 1, size, leaf(index), &proof));
            }
        }
        assert_eq!(Needed::inclusion(size, size), None);
        for &old in sizes.iter().filter(|old| **old <= size) {
            let proof = Needed::consistency(old, size)
                .unwrap()
                .hashes(tile)
                .unwrap();
            let (one, other) = ((old, root(old)), (size, root(size)));
            assert!(merkle::is_consistent(one, other, &proof), "{old} to {size}");
            assert!(!merkle::is_consistent((old, leaf(1)), other, &proof) || old == 1 && size == 1);
            if old > 0 && old < size {
                assert!(!merkle::is_consistent(one, (size, leaf(9)), &proof));
                let longer = [&proof[..], &[leaf(0)]].concat();
                assert!(!merkle::is_consistent(one, other, &longer));
                assert!(!merkle::is_consistent(one, other, &proof[1..]));
            }
        }
        assert_eq!(Needed::consistency(size + 1, size), None);
    }
}

/// The hashes beside any leaves lead from them to the root, and from no others.
#[test]
fn what_is_beside_some_leaves_proves_them() {
    let (_, tiles) = tree(700);
    let all: Vec<Digest> = (0..700).map(leaf).collect();
    let tile = |place| tiles.get(&place).map(Vec::as_slice);
    let check = |leaves: Vec<u64>, size: u64| {
        let root = merkle::root(&all[..size as usize]);
        let beside = Needed::beside(&leaves, size).hashes(tile).unwrap();
        let parts = |hash: &dyn Fn(u64) -> Digest| -> Vec<_> {
            leaves.iter().map(|n| (*n..*n + 1, hash(*n))).collect()
        };
        let sound = parts(&leaf);
        let by = |parts: &[(std::ops::Range<u64>, Digest)], beside: &[Digest]| {
            merkle::root_by_parts(size, parts, beside) == Some(root)
        };
        assert!(by(&sound, &beside), "{leaves:?} of {size}");
        assert!(!by(&sound, &[&beside[..], &[leaf(0)]].concat()));
        if let Some((_, shorter)) = beside.split_last() {
            assert!(!by(&sound, shorter), "{leaves:?} of {size}");
        }
        if let Some((_, fewer)) = sound.split_last() {
            assert!(!by(fewer, &beside), "{leaves:?} of {size}");
            let other = parts(&|n| leaf(n + 1));
            assert!(!by(&other, &beside), "{leaves:?} of {size}");
        }
    };
    for size in 0..10_u64 {
        for chosen in 0..1_u64 << size {
            check((0..size).filter(|n| chosen >> n & 1 == 1).collect(), size);
        }
    }
    for size in [255, 256, 257, 700] {
        for step in [1, 7, 100, 255] {
            check((3..size).step_by(step).collect(), size);
        }
    }
    // A subtree is as good as its leaves.
    let whole = [(0..256, merkle::root(&all[..256]))];
    let leaves: Vec<u64> = (0..256).collect();
    let beside = Needed::beside(&leaves, 700).hashes(tile).unwrap();
    let found = merkle::root_by_parts(700, &whole, &beside);
    assert_eq!(found, Some(merkle::root(&all)));
    // Nothing that somebody may claim is too much.
    for (size, part) in [(u64::MAX, 0..1), (7, 0..u64::MAX), (3, 9..10)] {
        assert_eq!(merkle::root_by_parts(size, &[(part, leaf(0))], &[]), None);
    }
}

/// The example of <https://c2sp.org/signed-note>.
#[tokio::test]
async fn checkpoints_are_signed_notes() {
    let key: VerifierKey = signer().key().to_string().parse().unwrap();
    assert_eq!(&key, signer().key());
    let checkpoint = Checkpoint::sign(7, leaf(1), Orders::default(), &signer())
        .await
        .unwrap();
    let note = checkpoint.as_note();
    let lines: Vec<&str> = note.lines().collect();
    assert_eq!(lines[..2], ["example.com/ledger", "7"]);
    assert!(lines[4].starts_with("— example.com/ledger "), "{note}");
    let again: Checkpoint = note.parse().unwrap();
    assert_eq!(again, checkpoint);
    assert!(again.is_signed_by(&key));
    // Whoever signs beside it does not matter.
    let cosigned: Checkpoint = format!("{note}— witness.example aaaa\n").parse().unwrap();
    assert!(cosigned.is_signed_by(&key));

    let other = KeyFile::parse(&KeyFile::generate().unwrap(), Some("example.com/ledger")).unwrap();
    assert!(!checkpoint.is_signed_by(other.key()));
    let forged: Checkpoint = note.replacen("\n7\n", "\n8\n", 1).parse().unwrap();
    assert!(!forged.is_signed_by(&key));
    for other in [
        note.replacen("\n7\n", "\n07\n", 1),
        note.replacen("\n7\n", "\n-7\n", 1),
        note.replacen("\n\n", "\n", 1),
        note.trim_end().to_owned(),
        String::new(),
        note.replacen("— ", "- ", 1),
    ] {
        assert!(other.parse::<Checkpoint>().is_err(), "{other}");
    }
}

/// The orders stand in an extension line of <https://c2sp.org/tlog-checkpoint>; others' lines do not matter.
#[tokio::test]
async fn a_checkpoint_says_how_far_the_orders_had_come() {
    let orders = Orders {
        count: 3,
        head: leaf(2),
    };
    let signed = Checkpoint::sign(7, leaf(1), orders, &signer()).await;
    let checkpoint = signed.unwrap();
    let note = checkpoint.as_note();
    let line = note.lines().nth(3).unwrap();
    assert!(line.starts_with("orders 3 "), "{note}");
    let again: Checkpoint = note.parse().unwrap();
    assert_eq!((again.size, again.orders), (7, orders));
    assert!(again.is_signed_by(signer().key()));
    let fewer: Checkpoint = note.replacen("orders 3 ", "orders 2 ", 1).parse().unwrap();
    assert!(!fewer.is_signed_by(signer().key()));
    let none: Checkpoint = note.replacen(line, "of another log", 1).parse().unwrap();
    assert_eq!(none.orders, Orders::default());
    for other in [
        note.replacen("orders 3 ", "orders 03 ", 1),
        note.replacen("orders 3 ", "orders -3 ", 1),
        note.replacen("orders 3 ", "orders ", 1),
        note.replacen("orders 3 ", "orders 3 AA", 1),
        note.replacen(line, &format!("{line}\n{line}"), 1),
    ] {
        assert!(other.parse::<Checkpoint>().is_err(), "{other}");
    }
}

#[test]
fn keys_are_as_openssl_writes_them() {
    // `openssl genpkey -algorithm ed25519`
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPzZ2rpGhOu9ZaqtxXYJQVuY0Wb0pW/ZpKMK42nyzN4h\n-----END PRIVATE KEY-----\n";
    let key = KeyFile::parse(pem, None).unwrap();
    assert!(key.key().name().starts_with("stanch/"), "{key:?}");
    assert!(!format!("{key:?}").contains("Ed25519KeyPair"));
    let generated = KeyFile::generate().unwrap();
    assert_eq!(generated.len(), pem.len());
    KeyFile::parse(&generated, Some("a/b")).unwrap();
    for (pem, name) in [
        ("", None),
        (&*pem.replace("MC4C", "MC5C"), None),
        (pem, Some("a b")),
        (pem, Some("")),
    ] {
        assert!(KeyFile::parse(pem, name).is_err(), "{name:?}");
    }
    for text in ["", "a+b+c", "example.com/ledger+00000000+AQID"] {
        assert!(text.parse::<VerifierKey>().is_err());
    }
}
