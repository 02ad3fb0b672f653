//! The application under the engine: proposes blocks, judges those of others, hands them round, and carries final ones to their store.

mod actor;
mod mailbox;

pub(crate) use actor::{Actor, Setup};
pub use mailbox::Mailbox;
