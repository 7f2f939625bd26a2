//! Child processes and deadlines. Waiting means asking again until a deadline, never hoping that a pause was enough.

use std::{
    io::Write as _,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How long anything may take that normally takes milliseconds: generous, because the machine may be busy.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks at `condition` until it yields a value, or the deadline has passed.
pub fn poll_until<T>(patience: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Looks at `condition` until it holds; panics with `what` when it does not within [`PATIENCE`].
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let met = poll_until(PATIENCE, || condition().then_some(()));
    assert!(met.is_some(), "waited {PATIENCE:?} in vain until {what}");
}

/// The child's exit status, or `None` if it still runs at the deadline.
pub fn wait_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    poll_until(patience, || child.try_wait().expect("a child of ours can be waited for"))
}

/// Sends a signal to a child that was not yet waited for (so its pid cannot be another's).
pub fn signal(child: &Child, signal: Signal) {
    // The child may have exited already; whoever waits for it sees how.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// Runs a program to its end with `input` on its stdin; panics if it outlives `patience`.
pub fn run(command: &mut Command, input: &[u8], patience: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let input = input.to_vec();
    // A writer of its own: neither side may block on a full pipe.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let pid = Pid::from_child(&child);
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = finished.recv_timeout(patience).is_err();
        if late {
            let _ = kill_process(pid, Signal::KILL);
        }
        late
    });
    let output = child.wait_with_output().expect("a child of ours can be waited for");
    let _ = done.send(());
    let late = watchdog.join().expect("the watchdog does not panic");
    // A program that exits without reading its input is not an error here.
    let _ = writer.join();
    assert!(
        !late,
        "{command:?} did not end within {patience:?}; it said: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Settings in the environment of whoever runs the tests are not the tests' settings.
pub fn without_our_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANNULUS_") {
            command.env_remove(name);
        }
    }
    command
}

/// Says something that the test runner's capture must not swallow, such as a test that could not run here.
pub fn say_aloud(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "\n*** {text}");
}
