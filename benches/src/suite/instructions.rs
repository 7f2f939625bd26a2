//! Instructions per operation from `perf stat`, where the machine counts them: what noise does not touch.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What is counted.
const EVENT: &str = "instructions:u";

/// A `perf stat` that counts a process.
pub(super) struct Counter {
    perf: Child,
}

/// Whether the machine counts instructions: most virtual ones do not.
pub(super) fn available() -> bool {
    let mut perf = Command::new("perf");
    let output = perf.args(["stat", "-x,", "-e", EVENT, "true"]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| parse(&String::from_utf8_lossy(&output.stderr)).is_some())
}

impl Counter {
    /// Counts process `pid` until `finish`.
    pub(super) fn start(pid: u32) -> io::Result<Self> {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x,", "-e", EVENT, "-p", &pid.to_string()]);
        Ok(Self { perf: perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()? })
    }

    /// What was counted.
    pub(super) fn finish(mut self) -> io::Result<Option<u64>> {
        if let Some(pid) = Pid::from_raw(self.perf.id() as i32) {
            kill_process(pid, Signal::INT)?;
        }
        let mut output = String::new();
        if let Some(mut stderr) = self.perf.stderr.take() {
            stderr.read_to_string(&mut output)?;
        }
        self.perf.wait()?;
        Ok(parse(&output))
    }
}

/// The count out of perf's comma-separated lines; none where it says `<not supported>` or `<not counted>`.
fn parse(output: &str) -> Option<u64> {
    output.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_read_and_its_absence_noticed() {
        assert_eq!(parse("\n123456,,instructions:u,1000,100.00,,\n"), Some(123_456));
        assert_eq!(parse("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(parse("perf: not found"), None);
    }
}
