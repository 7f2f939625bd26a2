//! Which io_uring features this kernel has, and whether it lets us use io_uring at all.

use std::io;

use io_uring::{Builder, IoUring, Probe, cqueue, opcode, squeue};

/// Features the driver makes use of. Those without a fallback are the minimum: without them `probe` fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Completions are worked on only inside our own system calls (kernel 6.1). Fallback: interrupts (COOP_TASKRUN).
    pub defer_taskrun: bool,
    /// No indirection between queue and entries (6.6).
    pub no_sqarray: bool,
    /// Several receives share a provided buffer (6.12).
    pub incremental_buffers: bool,
    /// A ring can post to another (5.18). Fallback: eventfd.
    pub message_ring: bool,
}

impl Features {
    /// Names of the optional features in use, for the start-up line and INFO.
    pub fn names(&self) -> Vec<&'static str> {
        [
            (self.defer_taskrun, "defer_taskrun"),
            (self.no_sqarray, "no_sqarray"),
            (self.incremental_buffers, "incremental_buffers"),
            (self.message_ring, "msg_ring"),
        ]
        .into_iter()
        .filter_map(|(has, name)| has.then_some(name))
        .collect()
    }
}

/// Tries what the driver needs on small rings. An error says in its text what is missing or forbidden.
pub fn probe() -> io::Result<Features> {
    let mut features = Features::default();
    let ring = IoUring::new(8).map_err(explain)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        (opcode::AcceptMulti::CODE, "accept"),
        (opcode::RecvMulti::CODE, "recv"),
        (opcode::Send::CODE, "send"),
        (opcode::PollAdd::CODE, "poll"),
        (opcode::AsyncCancel::CODE, "cancel"),
        (opcode::Write::CODE, "write"),
        (opcode::RenameAt::CODE, "renameat"),
    ];
    if let Some((_, name)) = needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        return Err(io::Error::other(format!("this kernel's io_uring has no {name} operation")));
    }
    features.message_ring = probe.is_supported(opcode::MsgRingData::CODE);
    drop(ring);

    features.defer_taskrun = builder().setup_single_issuer().setup_defer_taskrun().build(8).is_ok();
    features.no_sqarray = builder().setup_no_sqarray().build(8).is_ok();
    // Multishot receive came with 6.0, a little after provided buffer rings (5.19), and can't be probed by opcode;
    // registering a buffer ring that frees pieces (6.12) or a plain one can.
    let ring = IoUring::new(8)?;
    features.incremental_buffers = super::buffers::ReceiveBuffers::register(&ring, true).is_ok();
    if !features.incremental_buffers {
        let ring = IoUring::new(8)?;
        super::buffers::ReceiveBuffers::register(&ring, false).map_err(|error| {
            io::Error::other(format!("no provided buffer rings (needs Linux 6.0): {error}"))
        })?;
    }
    Ok(features)
}

fn builder() -> Builder<squeue::Entry, cqueue::Entry> {
    IoUring::builder()
}

fn explain(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => "the kernel has no io_uring, or a seccomp profile hides it",
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is forbidden here (seccomp profile, or sysctl kernel.io_uring_disabled)"
        }
        Some(libc::ENOMEM) => "no locked memory for a ring (raise RLIMIT_MEMLOCK)",
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}
