//! A boot's quote against the prediction that was written before it, through a real broker; and what nearly the same boot
//! would have been refused for.
//!
//! Needs what `tests/boot.rs` needs. Which of it is missing is said loudly.

mod all;
mod broker;
mod captured;
mod changed;
mod firmware;
mod granted;
mod relay;
mod setting;
mod validator;
