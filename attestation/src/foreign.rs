//! Evidence in other projects' formats, read and never written.

mod format;
mod rule;

pub use format::ForeignFormat;
pub use rule::{ForeignExpectation, Rule};
