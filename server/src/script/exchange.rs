//! What a machine and whoever runs it hand to each other: a command's arguments one way, replies the other.

use annulus_protocol::Version;
use smallvec::SmallVec;

/// See the module's documentation. The buffers are reused: a call allocates nothing in here once they have grown.
#[derive(Debug, Default)]
pub struct Exchange {
    data: Vec<u8>,
    ends: Vec<usize>,
    /// The reply to the command, or at the end the reply to the client.
    pub reply: Vec<u8>,
    /// The version in which the script wants replies (`redis.setresp`).
    pub version: Version,
}

impl Exchange {
    /// Forgets the arguments.
    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }

    /// Adds an argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.data.extend_from_slice(arg);
        self.ends.push(self.data.len());
    }

    /// Bytes of all arguments.
    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The arguments.
    pub fn args(&self) -> SmallVec<[&[u8]; 8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let arg = &self.data[start..end];
                start = end;
                arg
            })
            .collect()
    }

    /// Gives back what a large command or reply has left.
    pub(super) fn shrink(&mut self) {
        const KEPT_BYTES: usize = 64 << 10;
        self.clear();
        self.data.shrink_to(KEPT_BYTES);
        self.reply.clear();
        self.reply.shrink_to(KEPT_BYTES);
    }
}
