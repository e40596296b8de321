#![no_main]

use libfuzzer_sys::fuzz_target;
use stanch_testkit::fuzz::Target;

fuzz_target!(|input: &[u8]| Target::Rules.read(input).unwrap());
