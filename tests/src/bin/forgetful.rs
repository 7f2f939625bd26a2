//! The server with a mistake: its log writes ask for no sync, and count as durable all the same. The power cuts must find it.

use std::process::ExitCode;

use annulus_storage::planted::Planted;
use annulus_tests::mistaken::serve;

fn main() -> ExitCode {
    let planted = Planted { skip_commit_sync: true, ..Planted::default() };
    serve("forgetful", "log writes ask for no sync", planted)
}
