//! The test kit, tested: against the real emulator.

mod emulator;
