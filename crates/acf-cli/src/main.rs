//! `acf`: the whole of it is the library, so that it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    acf_cli::main()
}
