//! `acf` as the tests run it: the same library behind a name that Cargo builds along with the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    acf_cli::main()
}
