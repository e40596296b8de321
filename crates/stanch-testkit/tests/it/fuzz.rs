//! The committed corpus, and a few thousand changes of it.

use std::time::Duration;

use stanch_testkit::fuzz::{Target, fuzz};

#[test]
fn the_corpus_is_read() {
    for target in Target::ALL {
        let seeds = target.seeds();
        assert!(!seeds.is_empty(), "{target:?} has no seeds");
        for seed in seeds {
            let read = target.read(&seed);
            assert_eq!(
                read,
                Ok(()),
                "{target:?}: {}",
                String::from_utf8_lossy(&seed)
            );
        }
    }
}

#[test]
fn changed_inputs_are_read() {
    let (counts, found) = fuzz(1, Duration::from_millis(3_500));
    assert!(counts.values().all(|count| *count > 0), "{counts:?}");
    assert_eq!(found, []);
}
