//! Fake AWS, clock, emulator and scenarios for the tests of Stanch.
