//! What happened, as a hash that two runs of one seed must share, and as lines to read.

use std::cell::RefCell;
use std::rc::Rc;

/// FNV-1a (Fowler, Noll, Vo).
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of a world; clones write to the same one.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    written: Rc<RefCell<Written>>,
    machine: u8,
}

#[derive(Debug)]
struct Written {
    hash: u64,
    lines: Option<Vec<String>>,
    machines: u8,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Self {
        let written = Written { hash: OFFSET, lines: readable.then(Vec::new), machines: 1 };
        Trace { written: Rc::new(RefCell::new(written)), machine: 0 }
    }

    /// For another machine, which says so in each entry.
    pub(super) fn beside(&self) -> Self {
        let mut written = self.written.borrow_mut();
        written.machines += 1;
        Trace { written: Rc::clone(&self.written), machine: written.machines - 1 }
    }

    /// Adds an entry. `text` is called for readable traces only.
    pub(super) fn note(&self, now_ns: u64, kind: &str, bytes: &[u8], text: impl FnOnce() -> String) {
        let mut written = self.written.borrow_mut();
        for word in [&[self.machine], &now_ns.to_le_bytes()[..], kind.as_bytes(), bytes] {
            for byte in word {
                written.hash = (written.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        }
        let several = written.machines > 1;
        if let Some(lines) = &mut written.lines {
            let machine = if several { format!("[{}] ", self.machine) } else { String::new() };
            lines.push(format!("{:>12.6} ms  {machine}{kind:<12} {}", now_ns as f64 / 1e6, text()));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.written.borrow().hash
    }

    pub(super) fn take_lines(&self) -> Vec<String> {
        self.written.borrow_mut().lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
