//! What an operation's `user_data` says: its kind, and which of the kind.

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Multishot receive of a socket.
    Receive = 1,
    /// Send of a socket.
    Send = 2,
    /// Multishot accept of a listener.
    Accept = 3,
    /// File operation.
    Disk = 4,
    /// Our eventfd became readable.
    Event = 5,
    /// Message from another ring.
    Wake = 6,
    /// Cancellation of a socket's receive.
    Cancel = 7,
    /// Our message to another ring; only its failure is reported.
    WakeSent = 8,
    /// An operation that needs no answer.
    Quiet = 9,
}

/// Kind and index in 64 bits: kind in the highest byte, index in the lowest four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

impl Token {
    pub(super) const fn new(kind: Kind, index: u32) -> Self {
        Token((kind as u64) << 56 | index as u64)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Token(bits)
    }

    pub(super) const fn index(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn kind(self) -> Kind {
        match self.0 >> 56 {
            1 => Kind::Receive,
            2 => Kind::Send,
            3 => Kind::Accept,
            4 => Kind::Disk,
            5 => Kind::Event,
            6 => Kind::Wake,
            7 => Kind::Cancel,
            8 => Kind::WakeSent,
            9 => Kind::Quiet,
            kind => unreachable!("completion of an operation that was never submitted: kind {kind}"),
        }
    }
}
