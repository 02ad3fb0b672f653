//! `hanzo-engine`; see the library.

use std::process::ExitCode;

use clap::Parser;
use hanzo_engine::{EngineArgs, main_with_args};

fn main() -> ExitCode {
    main_with_args(EngineArgs::parse())
}
