//! What the tests in `tests/` look at: the dependency closure that is really built ([`graph`]), the source tree
//! ([`tree`]) and the code in it, without comments and strings ([`source`]).
#![forbid(unsafe_code)]

pub mod graph;
pub mod source;
pub mod tree;

pub use tree::root;
