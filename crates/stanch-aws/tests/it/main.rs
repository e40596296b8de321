//! The client at its boundaries: wire protocols case by case, and a server on the loopback that
//! misbehaves.

#[cfg(test)]
mod protocols;
