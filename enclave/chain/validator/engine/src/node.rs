//! The application under the engine: proposes blocks, judges those of others, hands them round, and carries final ones to their store.

mod actor;
mod mailbox;
mod pace;

pub use actor::Halt;
pub(crate) use actor::{Actor, Setup};
pub(crate) use mailbox::Mailbox;
