//! The kernel, and what of io_uring it permits and has.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::{Finding, Level, kernel_file};
use crate::admin::settings::{IoDriver, Settings};

/// Entries of the rings that are made to look at, and closed again.
const ENTRIES: u32 = 8;

const TOPIC: &str = "io_uring";

pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut findings = vec![version(&release)];
    let ring = match IoUring::new(ENTRIES) {
        Ok(ring) => ring,
        Err(error) => {
            let circumstances = Circumstances::read();
            findings.push(forbidden(&error, &circumstances, settings.io_driver));
            return findings;
        }
    };
    findings.push(permitted(settings.io_driver));
    let features = features(&ring);
    findings.extend(features.iter().map(|feature| feature.judge(settings.io_driver)));
    findings
}

/// Judges a release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let text = format!("Linux {release}");
    if version >= (6, 12) {
        return Finding::good("kernel", text);
    }
    if version >= (6, 1) {
        return Finding::new(Level::Note, "kernel", format!("{text}: newer io_uring features are missing"))
            .advice("Linux 6.12 or newer gives the fastest network path");
    }
    Finding::new(Level::Warning, "kernel", format!("{text}: older than the server is made for"))
        .advice("use Linux 6.1 or newer; until then the epoll driver serves")
}

fn permitted(driver: IoDriver) -> Finding {
    if driver == IoDriver::Epoll {
        return Finding::new(Level::Note, TOPIC, "permitted, but io-driver is epoll")
            .advice("io-driver auto takes io_uring, which needs less CPU for each request");
    }
    Finding::good(TOPIC, "permitted")
}

/// What decides whether this process may make a ring.
struct Circumstances {
    /// `kernel.io_uring_disabled`: 0 all may, 1 a group and administrators may, 2 nobody may.
    disabled: Option<u32>,
    /// Whether a seccomp filter judges this process's system calls.
    filtered: bool,
}

impl Circumstances {
    fn read() -> Self {
        let disabled = kernel_file("/proc/sys/kernel/io_uring_disabled").and_then(|text| text.parse().ok());
        let status = kernel_file("/proc/self/status").unwrap_or_default();
        let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self { disabled, filtered: mode.is_some_and(|mode| mode.trim() == "2") }
    }
}

/// Explains why no ring could be made.
fn forbidden(error: &io::Error, circumstances: &Circumstances, driver: IoDriver) -> Finding {
    let refused = matches!(error.kind(), io::ErrorKind::PermissionDenied);
    let (reason, advice) = match circumstances.disabled {
        Some(2) if refused => (
            "sysctl kernel.io_uring_disabled is 2".to_owned(),
            "as root: sysctl -w kernel.io_uring_disabled=0",
        ),
        Some(1) if refused => (
            "sysctl kernel.io_uring_disabled is 1".to_owned(),
            "as root: sysctl -w kernel.io_uring_disabled=0, or put this user into the group of kernel.io_uring_group",
        ),
        _ if circumstances.filtered => (
            format!("a seccomp filter forbids it ({error})"),
            "run the container with deploy/seccomp.json (docker run --security-opt seccomp=…)",
        ),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
            ("this kernel has none".to_owned(), "use a kernel with CONFIG_IO_URING")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOMEM.raw_os_error()) => (
            "there's no locked memory for a ring".to_owned(),
            "raise the limit: ulimit -l, LimitMEMLOCK= in systemd",
        ),
        _ => (error.to_string(), "see the kernel's log"),
    };
    let (level, what) = match driver {
        IoDriver::Uring => (Level::Failure, "not permitted, and io-driver is uring"),
        IoDriver::Auto => (Level::Warning, "not permitted, so the epoll driver serves"),
        IoDriver::Epoll => (Level::Note, "not permitted, and not asked for"),
    };
    Finding::new(level, TOPIC, format!("{what}: {reason}")).advice(advice)
}

/// One ability of io_uring.
struct Feature {
    name: &'static str,
    since: &'static str,
    present: bool,
    /// What is lost without it; none when the io_uring driver cannot do without.
    cost: Option<&'static str>,
}

impl Feature {
    fn judge(&self, driver: IoDriver) -> Finding {
        if self.present {
            return Finding::good(TOPIC, self.name);
        }
        let text = format!("no {} (Linux {})", self.name, self.since);
        match (self.cost, driver) {
            (Some(cost), _) => Finding::new(Level::Note, TOPIC, text).advice(format!("without it: {cost}")),
            (None, IoDriver::Uring) => Finding::new(Level::Failure, TOPIC, text).advice("use io-driver auto"),
            (None, _) => {
                Finding::new(Level::Warning, TOPIC, text).advice("without it the epoll driver serves")
            }
        }
    }
}

fn features(ring: &IoUring) -> Vec<Feature> {
    let mut probe = Probe::new();
    let probed = ring.submitter().register_probe(&mut probe).is_ok();
    let has = |code: u8| probed && probe.is_supported(code);
    let parameters = ring.params();
    let builds = |set: fn(&mut io_uring::Builder)| {
        let mut builder = IoUring::builder();
        set(&mut builder);
        builder.build(ENTRIES).is_ok()
    };
    let feature = |name, since, present, cost| Feature { name, since, present, cost };
    vec![
        feature(
            "accept, receive, send, cancel",
            "5.6",
            has(opcode::Accept::CODE)
                && has(opcode::Recv::CODE)
                && has(opcode::Send::CODE)
                && has(opcode::AsyncCancel::CODE),
            None,
        ),
        feature("O_DIRECT writes", "5.1", has(opcode::Writev::CODE) && has(opcode::Write::CODE), None),
        // No operation and no flag of their own tell of these; a newer operation of the same kernel does.
        feature("buffer rings, multishot receive", "6.0", has(opcode::SendZc::CODE), None),
        feature("SUBMIT_ALL", "5.18", builds(|builder| _ = builder.setup_submit_all()), None),
        feature(
            "SINGLE_ISSUER, DEFER_TASKRUN",
            "6.1",
            builds(|builder| _ = builder.setup_single_issuer().setup_defer_taskrun()),
            Some("completions interrupt the shard, which costs some percent of CPU"),
        ),
        feature(
            "NO_SQARRAY",
            "6.6",
            builds(|builder| _ = builder.setup_no_sqarray()),
            Some("one more memory access for each submission"),
        ),
        feature(
            "MSG_RING",
            "5.18",
            has(opcode::MsgRingData::CODE),
            Some("shards wake each other through an eventfd: one more operation a wake-up"),
        ),
        feature(
            "receive and send bundles",
            "6.10",
            parameters.is_feature_recvsend_bundle(),
            Some("one completion for each buffer instead of one for several"),
        ),
        feature(
            "incremental buffers",
            "6.12",
            parameters.is_feature_min_timeout(),
            Some("a receive takes a whole buffer, so more buffers are needed"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: rustix::io::Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.raw_os_error())
    }

    #[test]
    fn releases_are_judged_by_their_numbers() {
        assert_eq!(version("6.18.44-fc-v657").level, Level::Good);
        assert_eq!(version("7.0").level, Level::Good);
        assert_eq!(version("6.1.0-13-amd64").level, Level::Note);
        assert_eq!(version("5.15.0").level, Level::Warning);
        assert_eq!(version("unknown").level, Level::Warning);
    }

    #[test]
    fn the_reason_of_a_refusal_is_named_with_its_remedy() {
        let open = Circumstances { disabled: Some(0), filtered: false };
        let perm = error(rustix::io::Errno::PERM);
        let sysctl = Circumstances { disabled: Some(2), filtered: true };
        let finding = forbidden(&perm, &sysctl, IoDriver::Auto);
        assert!(
            finding.level == Level::Warning && finding.advice.contains("kernel.io_uring_disabled=0"),
            "{finding:?}"
        );
        let filter = Circumstances { disabled: Some(0), filtered: true };
        let finding = forbidden(&perm, &filter, IoDriver::Uring);
        assert!(finding.level == Level::Failure && finding.advice.contains("seccomp.json"), "{finding:?}");
        let finding = forbidden(&error(rustix::io::Errno::NOSYS), &open, IoDriver::Epoll);
        assert!(finding.level == Level::Note && finding.advice.contains("CONFIG_IO_URING"), "{finding:?}");
    }

    #[test]
    fn a_missing_feature_costs_what_the_driver_makes_of_it() {
        let feature = |cost| Feature { name: "x", since: "9", present: false, cost };
        assert_eq!(feature(Some("speed")).judge(IoDriver::Uring).level, Level::Note);
        assert_eq!(feature(None).judge(IoDriver::Uring).level, Level::Failure);
        assert_eq!(feature(None).judge(IoDriver::Auto).level, Level::Warning);
    }
}
