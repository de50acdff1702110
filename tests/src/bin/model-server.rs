//! The scripted model server by itself, for the benchmark: prints its address, and serves until its standard
//! input ends. Its argument is the shell command that it has every agent run.

use std::io::{Read as _, Write as _};

use acf_tests::model_server::{Conduct, ModelServer};

fn main() -> std::io::Result<()> {
    let commands = std::env::args().skip(1).collect();
    let server = ModelServer::start(Conduct { commands, ..Conduct::default() });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", server.url())?;
    stdout.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
