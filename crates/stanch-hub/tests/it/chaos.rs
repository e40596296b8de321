//! Some of the histories of `cargo xtask chaos`.

use stanch_testkit::chaos::Chaos;

#[test]
fn what_must_hold_holds_in_any_history() {
    let chaos = Chaos::new().unwrap();
    for seed in 0..60 {
        if let Err(violation) = chaos.run(seed) {
            panic!("{violation}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_history_again() {
    let chaos = Chaos::new().unwrap();
    for seed in [7, 11] {
        assert_eq!(chaos.run(seed), chaos.run(seed));
    }
}
