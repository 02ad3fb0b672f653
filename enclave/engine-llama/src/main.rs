//! `hanzo-engine-llama`; see the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use hanzo_engine_llama::{EngineArgs, main_with_args};

fn main() -> ExitCode {
    main_with_args(EngineArgs::parse())
}
