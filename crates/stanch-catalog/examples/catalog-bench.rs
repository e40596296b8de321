//! Measures the catalog: `catalog-bench [rounds]`. The last line is JSON, in microseconds. `whole` is
//! what a process that has done nothing yet takes to read and check all files, and who claims what. Of the
//! rounds after that the first and the median: `index` is what every command does, `find` what one finding
//! adds, `load` all files one after the other, `check` the whole again, `calls` every file held against the
//! API models, as `stanch catalog check` does.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be made ends here"
)]

use std::{hint::black_box, time::Instant};

use serde_json::json;
use stanch_catalog::{Catalog, check};
use stanch_models::Models;
use stanch_types::ControlRef;

/// As the product has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(20, |n| n.parse().unwrap());
    let mut whole = vec![];
    let complaints = timed(&mut whole, || Catalog::embedded().check());
    assert!(complaints.is_empty(), "{complaints:?}");
    let one: ControlRef = "S3.8".parse().unwrap();
    let (mut index, mut find, mut all, mut sound, mut calls) =
        (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let catalog = timed(&mut index, Catalog::embedded);
        let found = timed(&mut find, || {
            catalog.find(std::slice::from_ref(&one), "AwsS3Bucket")
        });
        assert_eq!(found.len(), 1, "S3.8 has a remediation");
        let loaded = timed(&mut all, || catalog.iter().count());
        assert_eq!(loaded, catalog.len(), "every file is sound");
        let complaints = timed(&mut sound, || catalog.check());
        assert!(complaints.is_empty(), "{complaints:?}");
    }
    // Decoding the models takes far longer than the rest; once is enough.
    for _ in 0..rounds.min(1) {
        let models = Models::embedded().unwrap();
        timed(&mut calls, || {
            for (path, text) in Catalog::embedded_files() {
                assert!(check(text, &models).is_empty(), "{path}");
            }
        });
    }
    let row = |times: &[u128]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        json!({"cold": times.first(), "median": sorted.get(sorted.len() / 2)})
    };
    println!(
        "{}",
        json!({
            "files": Catalog::embedded().len(),
            "whole": whole.first(),
            "index": row(&index),
            "find": row(&find),
            "load": row(&all),
            "check": row(&sound),
            "calls": row(&calls),
        })
    );
}

fn timed<T>(times: &mut Vec<u128>, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = black_box(work());
    times.push(begin.elapsed().as_micros());
    result
}
