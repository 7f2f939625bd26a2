//! The server with a mistake: it takes a frame whatever its checksum says. Damaged directories must find it out.

use std::process::ExitCode;

use annulus_storage::planted::Planted;
use annulus_tests::mistaken::serve;

fn main() -> ExitCode {
    let planted = Planted { skip_checksum: true, ..Planted::default() };
    serve("credulous", "checksums are not looked at", planted)
}
