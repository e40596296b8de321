use std::collections::BTreeSet;

use stanch_catalog::Catalog;
use stanch_testkit::{Maker, WRONG, choose, has, models, stand_ins, stood_in};

/// When an emulator has caught up, this fails, and the entry is to be removed.
#[test]
fn every_stand_in_is_of_the_model_and_still_needed() {
    for entry in stand_ins() {
        for operation in entry.operations.keys() {
            models().resolve(&entry.service, operation).unwrap();
        }
        let remediation = entry.only.first().map_or("", String::as_str);
        for (operation, effect) in &entry.operations {
            assert_eq!(effect.is_none(), entry.taught.is_some(), "{operation}");
        }
        for maker in [Maker::MiniStack, Maker::Moto] {
            assert!(
                entry.is_needed(maker, remediation),
                "{} has all of `{}` now: remove the stand-in ({})",
                maker.title(),
                entry.service,
                entry.because
            );
        }
    }
}

#[test]
fn every_stand_in_is_used() {
    let catalog = Catalog::embedded();
    let mut used = BTreeSet::new();
    for remediation in catalog.iter() {
        for example in &remediation.examples {
            used.extend(stood_in(&remediation, example));
        }
    }
    let entries = stand_ins().iter();
    let listed: BTreeSet<_> = entries
        .map(|entry| (&*entry.service, &*entry.because))
        .collect();
    assert_eq!(listed, used);
}

#[test]
fn what_is_wrong_with_an_emulator_is_something_that_it_has() {
    let catalog = Catalog::embedded();
    for wrong in &WRONG {
        for operation in wrong.operations {
            let name = wrong.only.first().copied().unwrap_or_default();
            assert!(!has(wrong.maker, wrong.service, operation, name));
            models().resolve(wrong.service, operation).unwrap();
        }
        for name in wrong.only {
            let remediation = catalog.iter().find(|remediation| remediation.name == *name);
            let remediation = remediation.unwrap_or_else(|| panic!("no remediation `{name}`"));
            for example in &remediation.examples {
                assert_ne!(choose(&remediation, example), Ok(wrong.maker), "{name}");
            }
        }
    }
}
