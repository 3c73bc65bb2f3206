//! The `fromagerie` binary. [`cli`] is the command line, [`grpc`] what `serve` serves.

mod cli;
mod grpc;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
