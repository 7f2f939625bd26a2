//! Damaged data directories: a changed bit or a missing piece of what was acknowledged stops the start, with the file, the
//! offset and the way out; and with the piece back in place, everything is there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use annulus_tests::{
    resp::Value,
    server::{Server, Setup, target_is_redis},
};

const KEYS: usize = 3_000;

fn setup(shards: usize) -> Setup {
    Setup::annulus().durability("always").segment_size("1mb").shards(shards)
}

fn value(index: usize) -> String {
    format!("needle-{index:06}-{}", "x".repeat(900))
}

/// A directory with several segments for each shard, whose server was killed.
fn filled(shards: usize) -> Server {
    let mut server = setup(shards).start();
    let mut connection = server.connect();
    for batch in 0..KEYS / 50 {
        let sets: Vec<Vec<String>> = (batch * 50..batch * 50 + 50)
            .map(|index| vec!["SET".into(), format!("key:{index}"), value(index)])
            .collect();
        assert!(connection.pipeline(&sets).unwrap().iter().all(|reply| *reply == Value::ok()));
    }
    server.kill();
    server
}

fn assert_all_there(server: &mut Server, shards: usize) {
    server.start_again_as(&setup(shards));
    let mut connection = server.connect();
    for index in 0..KEYS {
        assert_eq!(connection.line(&format!("GET key:{index}")), Value::bulk(value(index)));
    }
    server.kill();
}

fn segments(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the data directory can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            segments(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            found.push(path);
        }
    }
    found.sort();
}

/// Segments that hold values of the test, with the offsets of the values.
fn segments_with_needles(server: &Server) -> Vec<(PathBuf, Vec<usize>)> {
    let mut paths = Vec::new();
    segments(server.data(), &mut paths);
    let with_needles = paths.into_iter().map(|path| {
        let bytes = fs::read(&path).expect("a segment can be read");
        let needles = memchr::memmem::find_iter(&bytes, b"needle-").collect();
        (path, needles)
    });
    with_needles.filter(|(_, needles): &(PathBuf, Vec<usize>)| !needles.is_empty()).collect()
}

fn numbers_in(text: &str) -> Vec<usize> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The start must be refused, naming the file and (where one is meant) an offset at or before `offset`.
#[track_caller]
fn refused(server: &mut Server, shards: usize, path: &Path, offset: Option<usize>) {
    let Err(failed) = server.try_start_again_as(&setup(shards)) else {
        panic!("started on a damaged {}", path.display())
    };
    let status = failed.status.unwrap_or_else(|| panic!("the server hangs: {}", failed.log));
    assert_eq!(status.code(), Some(1), "{}", failed.log);
    let name = path.display().to_string();
    let line = failed.log.lines().rev().find(|line| line.contains(&name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in:\n{}", failed.log));
    assert!(line.contains("restore"), "no way out is named: {line}");
    if let Some(offset) = offset {
        // The fault is told at the frame that holds it: of 1 MiB at most.
        let near = |&number: &usize| number <= offset && number + (1 << 20) > offset && number % 512 == 0;
        assert!(
            line.contains("offset") && numbers_in(line).iter().any(near),
            "no offset near {offset} in: {line}"
        );
    }
    assert!(!failed.log.contains("panicked"), "{}", failed.log);
}

#[test]
fn changed_bit_in_acknowledged_data_stops_the_start() {
    if target_is_redis() {
        return;
    }
    for shards in [1, 2] {
        let mut server = filled(shards);
        let segments = segments_with_needles(&server);
        assert!(segments.len() >= 2 * shards, "{segments:?}");
        for (path, needles) in &segments {
            let whole = fs::read(path).unwrap();
            // In the first and in the middle record of each segment; the last are what the next test is about.
            for needle in [needles[0], needles[needles.len() / 2]] {
                let mut damaged = whole.clone();
                damaged[needle + 20] ^= 0x10;
                fs::write(path, &damaged).unwrap();
                refused(&mut server, shards, path, Some(needle));
                // Nor does another number of shards load it.
                refused(&mut server, 3 - shards, path, Some(needle));
            }
            fs::write(path, &whole).unwrap();
        }
        assert_all_there(&mut server, shards);
    }
}

#[test]
fn changed_bit_in_the_last_acknowledged_write_stops_the_start() {
    if target_is_redis() {
        return;
    }
    let mut server = setup(1).start();
    let mut connection = server.connect();
    for index in 0..20 {
        assert_eq!(connection.command(&["SET", &format!("key:{index}"), &value(index)]), Value::ok());
    }
    // The frame of this write says that those before it were durable.
    assert_eq!(connection.line("SET last v"), Value::ok());
    server.kill();
    let segments = segments_with_needles(&server);
    let (path, needles) = segments.last().unwrap();
    let whole = fs::read(path).unwrap();
    let needle = *needles.last().unwrap();
    let mut damaged = whole.clone();
    damaged[needle + 20] ^= 0x10;
    fs::write(path, &damaged).unwrap();
    // It is not a torn tail: a later frame proves that it was acknowledged.
    refused(&mut server, 1, path, Some(needle));
    fs::write(path, &whole).unwrap();
    server.start_again_as(&setup(1));
    assert_eq!(server.connect().line("GET key:19"), Value::bulk(value(19)));
}

#[test]
fn damaged_segment_header_stops_the_start() {
    if target_is_redis() {
        return;
    }
    let mut server = filled(1);
    for (path, _) in segments_with_needles(&server) {
        let whole = fs::read(&path).unwrap();
        for at in [0, 9, 17, 33] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            fs::write(&path, &damaged).unwrap();
            refused(&mut server, 1, &path, None);
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_all_there(&mut server, 1);
}

#[test]
fn truncated_segment_stops_the_start() {
    if target_is_redis() {
        return;
    }
    let mut server = filled(1);
    for (path, needles) in segments_with_needles(&server) {
        let whole = fs::read(&path).unwrap();
        for length in [0, 100, needles[0], needles[needles.len() / 2], whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            refused(&mut server, 1, &path, None);
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_all_there(&mut server, 1);
}

#[test]
fn missing_segment_stops_the_start() {
    if target_is_redis() {
        return;
    }
    let mut server = filled(1);
    let segments = segments_with_needles(&server);
    // Without the first or one in the middle the chain has a hole. (Whether the last is missing, only its
    // successor can prove.)
    for (path, _) in &segments[..segments.len() - 1] {
        let aside = path.with_extension("aside");
        let elsewhere = server.data().parent().unwrap().join(aside.file_name().unwrap());
        fs::rename(path, &elsewhere).unwrap();
        refused(&mut server, 1, path, None);
        fs::rename(&elsewhere, path).unwrap();
    }
    assert_all_there(&mut server, 1);
}

#[test]
fn segments_that_change_places_stop_the_start() {
    if target_is_redis() {
        return;
    }
    let mut server = filled(1);
    let segments = segments_with_needles(&server);
    let (first, second) = (&segments[0].0, &segments[1].0);
    let (one, two) = (fs::read(first).unwrap(), fs::read(second).unwrap());
    fs::write(first, &two).unwrap();
    fs::write(second, &one).unwrap();
    refused(&mut server, 1, first, None);
    fs::write(first, &one).unwrap();
    fs::write(second, &two).unwrap();
    assert_all_there(&mut server, 1);
}

#[test]
fn torn_tail_is_accepted_and_what_was_acknowledged_is_kept() {
    if target_is_redis() {
        return;
    }
    let mut server = filled(1);
    let segments = segments_with_needles(&server);
    let (path, needles) = segments.last().unwrap();
    // What a power cut may leave behind the last frame: a part of one that was never acknowledged.
    let mut bytes = fs::read(path).unwrap();
    let beyond = (needles.last().unwrap() + value(0).len() + 32 * 1024).next_multiple_of(4096);
    assert!(beyond + 4096 < bytes.len(), "the last segment has room behind its last frame");
    assert!(bytes[beyond..].iter().all(|&byte| byte == 0), "segments are prepared with zeros");
    for byte in &mut bytes[beyond..beyond + 4096] {
        *byte = 0xa5;
    }
    fs::write(path, &bytes).unwrap();
    assert_all_there(&mut server, 1);
    assert_all_there(&mut server, 1);
}
