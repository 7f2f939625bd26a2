//! What happened, as a hash that two runs of one seed must share, and as lines to read.

/// FNV-1a (Fowler, Noll, Vo).
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of a world.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(readable: bool) -> Self {
        Trace { hash: OFFSET, lines: readable.then(Vec::new) }
    }

    /// Adds an entry. `text` is called for readable traces only.
    pub(super) fn note(&mut self, now_ns: u64, kind: &str, bytes: &[u8], text: impl FnOnce() -> String) {
        for word in [&now_ns.to_le_bytes()[..], kind.as_bytes(), bytes] {
            for byte in word {
                self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} ms  {kind:<12} {}", now_ns as f64 / 1e6, text()));
        }
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        self.lines.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
