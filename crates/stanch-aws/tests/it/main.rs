//! The client at its boundaries: wire protocols case by case, and a server on the loopback that
//! misbehaves.

#[cfg(test)]
mod client;
#[cfg(test)]
#[cfg(test)]
mod protocols;
#[cfg(test)]
mod server;
#[cfg(test)]
mod sessions;
