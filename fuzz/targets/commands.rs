//! Arbitrary commands to a whole server of two shards: it answers in RESP, goes on serving others, and has after a restart
//! exactly what it had before, so that every command logs what it does.
#![no_main]

use annulus_fuzz::commands;
use annulus_storage::disk::memory::MemoryDisk;
use annulus_tests::resp::{encode, parse};
use annulus_tests::sim::host::Host;
use libfuzzer_sys::fuzz_target;

/// Commands that end the server, keep everybody waiting, or take settings away that the target needs.
fn is_left_out(words: &[Vec<u8>]) -> bool {
    let word = |index: usize| words.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match word(0).as_slice() {
        b"shutdown" | b"debug" | b"acl" => true,
        // A script may go on for ever.
        b"eval" | b"eval_ro" | b"evalsha" | b"evalsha_ro" | b"fcall" | b"fcall_ro" | b"function" => true,
        b"client" => word(1) == b"pause",
        b"config" => word(1) == b"set",
        _ => false,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut host) = Host::start_on(MemoryDisk::new(), 2) else { panic!("an empty directory is refused") };
    let connection = host.open();
    let requests: Vec<u8> =
        commands(data).iter().filter(|words| !is_left_out(words)).flat_map(|words| encode(words)).collect();
    host.send(connection, &requests);
    let replies = host.run(connection);
    let mut rest = replies.as_slice();
    while let Some((_, bytes)) = parse(rest).expect("replies are RESP") {
        rest = &rest[bytes..];
    }
    assert!(rest.is_empty(), "half a reply: {:?}", rest.escape_ascii().to_string());
    host.close(connection);
    let before = host.keys();
    let mut host = host.restart();
    assert_eq!(before, host.keys(), "before the restart, and after it");
});
