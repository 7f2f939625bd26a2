//! Limits of the process, and settings of the machine.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CpuSet, sched_getaffinity};

use super::{Finding, Level, kernel_file};
use crate::admin::info::human_bytes;
use crate::admin::limits;
use crate::admin::settings::Settings;

/// Registered buffers and rings of one shard, that count as locked memory on some kernels.
const LOCKED_BYTES_SHARD: u64 = 8 << 20;

pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![
        open_files(settings, getrlimit(Resource::Nofile).maximum),
        locked_memory(settings, getrlimit(Resource::Memlock).current),
    ];
    if let Ok(mask) = sched_getaffinity(None) {
        findings.push(cores(settings.shards, &mask));
    }
    if let Some(queue) = kernel_file("/proc/sys/net/core/somaxconn").and_then(|text| text.parse().ok()) {
        findings.push(backlog(settings.tcp_backlog, queue));
    }
    if let Some(text) = kernel_file("/sys/kernel/mm/transparent_hugepage/enabled") {
        findings.push(huge_pages(&text));
    }
    if let Some(text) = kernel_file("/proc/sys/vm/overcommit_memory") {
        findings.push(overcommit(&text));
    }
    if let Some(text) = kernel_file("/sys/devices/system/clocksource/clocksource0/current_clocksource") {
        findings.push(clock(&text));
    }
    findings
}

/// The server raises the soft limit by itself, so the hard one counts.
fn open_files(settings: &Settings, maximum: Option<u64>) -> Finding {
    const TOPIC: &str = "open files";
    let wanted = limits::files_wanted(settings);
    match maximum {
        Some(maximum) if maximum < wanted => Finding::new(
            Level::Warning,
            TOPIC,
            format!("at most {maximum}, so fewer connections than maxclients ({}) fit", settings.maxclients),
        )
        .advice(format!(
            "raise the hard limit to {wanted}: ulimit -Hn, LimitNOFILE= in systemd, --ulimit in Docker"
        )),
        Some(maximum) => Finding::good(TOPIC, format!("at most {maximum}; {wanted} are wanted")),
        None => Finding::good(TOPIC, "no limit"),
    }
}

fn locked_memory(settings: &Settings, limit: Option<u64>) -> Finding {
    const TOPIC: &str = "locked memory";
    let wanted = LOCKED_BYTES_SHARD * settings.shards as u64;
    match limit {
        Some(limit) if limit < wanted => {
            Finding::new(Level::Note, TOPIC, format!("at most {}", human_bytes(limit))).advice(format!(
                "kernels before 5.12 need {}: ulimit -l, LimitMEMLOCK= in systemd",
                human_bytes(wanted)
            ))
        }
        Some(limit) => Finding::good(TOPIC, format!("at most {}", human_bytes(limit))),
        None => Finding::good(TOPIC, "no limit"),
    }
}

fn cores(shards: usize, mask: &CpuSet) -> Finding {
    const TOPIC: &str = "cores";
    let cores: Vec<String> =
        (0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).map(|core| core.to_string()).collect();
    let text = format!("{} for {shards} shards (may use {})", cores.len(), cores.join(","));
    if shards > cores.len() {
        return Finding::new(Level::Warning, TOPIC, text)
            .advice("shards that share a core wait for each other: use --shards auto");
    }
    Finding::good(TOPIC, text)
}

fn backlog(wanted: u32, queue: u32) -> Finding {
    const TOPIC: &str = "net.core.somaxconn";
    if queue < wanted {
        return Finding::new(Level::Warning, TOPIC, format!("{queue} cuts tcp-backlog ({wanted})"))
            .advice(format!("as root: sysctl -w net.core.somaxconn={wanted}"));
    }
    Finding::good(TOPIC, queue.to_string())
}

/// Judges the line of choices, with the chosen one in brackets.
fn huge_pages(text: &str) -> Finding {
    const TOPIC: &str = "huge pages";
    let choice =
        text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(text, |(choice, _)| choice);
    if choice == "never" {
        return Finding::new(Level::Note, TOPIC, "transparent huge pages are off")
            .advice("madvise makes lookups in large tables faster: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    }
    Finding::good(TOPIC, choice)
}

/// The server never forks, so memory is never promised twice.
fn overcommit(text: &str) -> Finding {
    const TOPIC: &str = "vm.overcommit_memory";
    if text == "2" {
        return Finding::new(Level::Note, TOPIC, "2: the kernel counts reserved memory as used")
            .advice("0 suits; unlike Redis, the server does not fork and needs no 1");
    }
    Finding::good(TOPIC, text)
}

fn clock(source: &str) -> Finding {
    const TOPIC: &str = "clock";
    if matches!(source, "tsc" | "kvm-clock" | "arch_sys_counter" | "hyperv_clocksource_tsc_page") {
        return Finding::good(TOPIC, source);
    }
    Finding::new(Level::Note, TOPIC, format!("{source}: reading the time is a system call"))
        .advice("prefer tsc: /sys/devices/system/clocksource/clocksource0/current_clocksource")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { shards: 2, maxclients: 10_000, ..Settings::default() }
    }

    #[test]
    fn a_hard_limit_of_files_below_maxclients_is_warned_of() {
        assert_eq!(open_files(&settings(), None).level, Level::Good);
        assert_eq!(open_files(&settings(), Some(20_000)).level, Level::Good);
        let finding = open_files(&settings(), Some(4096));
        assert!(finding.level == Level::Warning && finding.text.contains("4096"), "{finding:?}");
    }

    #[test]
    fn more_shards_than_cores_are_warned_of() {
        let mut mask = CpuSet::new();
        mask.set(1);
        mask.set(3);
        assert_eq!(cores(2, &mask), Finding::good("cores", "2 for 2 shards (may use 1,3)"));
        assert_eq!(cores(3, &mask).level, Level::Warning);
    }

    #[test]
    fn the_kernels_choices_are_read() {
        assert_eq!(huge_pages("always [madvise] never"), Finding::good("huge pages", "madvise"));
        assert_eq!(huge_pages("always madvise [never]").level, Level::Note);
        assert_eq!(backlog(511, 128).level, Level::Warning);
        assert_eq!(clock("hpet").level, Level::Note);
        assert_eq!(locked_memory(&settings(), Some(65_536)).level, Level::Note);
        assert_eq!(overcommit("2").level, Level::Note);
    }
}
