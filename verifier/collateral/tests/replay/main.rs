//! Against a local server that replays what vendors' services answer. Waits are those of a virtual clock.

mod azure;
mod cache;
mod clock;
mod http;
mod nvidia;
mod server;
mod snp;
mod tdx;
mod vectors;
