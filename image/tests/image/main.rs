//! Images made of small packages: what goes in, what comes out, what is refused, and that nothing else matters.

mod archives;
mod bills;
mod building;
#[path = "../../../measured-boot/tests/support/image.rs"]
mod firmware_image;
mod inputs;
mod kernel;
mod launching;
mod node;
mod releasing;
mod running;
mod support;
mod uki;
mod verifying;
