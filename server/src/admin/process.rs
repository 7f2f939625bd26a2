//! What the kernel knows about this process and machine: memory and CPU time, read from `/proc`.

use std::fs::read_to_string;

use crate::runtime::prefault;

/// A snapshot of the process. What cannot be read is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub resident_peak_bytes: u64,
    /// Memory made ready in huge pages ahead of its use, so far.
    pub prefaulted_bytes: u64,
    /// Bytes of memory in the machine.
    pub machine_memory_bytes: u64,
    /// Seconds of CPU time in the kernel.
    pub cpu_sys_seconds: f64,
    /// Seconds of CPU time outside the kernel.
    pub cpu_user_seconds: f64,
    /// The part of `cpu_sys_seconds` of the main thread.
    pub main_thread_sys_seconds: f64,
    /// The part of `cpu_user_seconds` of the main thread.
    pub main_thread_user_seconds: f64,
}

impl ProcessFacts {
    /// Reads the facts: a few files of `/proc`, some tens of microseconds.
    pub fn read() -> Self {
        let status = read_to_string("/proc/self/status").unwrap_or_default();
        let machine = read_to_string("/proc/meminfo").unwrap_or_default();
        let cpu = |path: &str| cpu_seconds(&read_to_string(path).unwrap_or_default()).unwrap_or_default();
        let (cpu_user_seconds, cpu_sys_seconds) = cpu("/proc/self/stat");
        let main = format!("/proc/self/task/{}/stat", std::process::id());
        let (main_thread_user_seconds, main_thread_sys_seconds) = cpu(&main);
        Self {
            resident_bytes: kilobytes(&status, "VmRSS:"),
            resident_peak_bytes: kilobytes(&status, "VmHWM:"),
            prefaulted_bytes: prefault::prepared_bytes(),
            machine_memory_bytes: kilobytes(&machine, "MemTotal:"),
            cpu_sys_seconds,
            cpu_user_seconds,
            main_thread_sys_seconds,
            main_thread_user_seconds,
        }
    }
}

/// The bytes that a line like `VmRSS:   1234 kB` says.
fn kilobytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}

/// User and system time out of a `stat` file: the 12th and 13th field after the name, which stands in brackets
/// because it may hold anything. They count ticks.
fn cpu_seconds(stat: &str) -> Option<(f64, f64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let user: f64 = fields.next()?.parse().ok()?;
    let sys: f64 = fields.next()?.parse().ok()?;
    Some((user / ticks, sys / ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_cpu_times() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(stat), Some((250.0 / ticks, 50.0 / ticks)));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let facts = ProcessFacts::read();
        assert!(facts.resident_bytes > 100_000, "{facts:?}");
        assert!(facts.resident_peak_bytes >= facts.resident_bytes / 2, "{facts:?}");
        assert!(facts.machine_memory_bytes > facts.resident_bytes, "{facts:?}");
    }
}
