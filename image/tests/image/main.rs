//! Images made of small packages: what goes in, what comes out, what is refused, and that nothing else matters.

mod archives;
mod building;
mod inputs;
mod running;
mod support;
mod verifying;
