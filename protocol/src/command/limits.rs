//! What a client may send, with Redis's defaults.

/// Bounds on one command.
///
/// What is *granted* is at most the limit, and less while the client has not authenticated: a stranger must not make
/// the server hold much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(super) bulk_bytes_max: usize,
    pub(super) arguments_max: usize,
    pub(super) line_bytes_max: usize,
    pub(super) granted_bulk_bytes: usize,
    pub(super) granted_arguments: usize,
}

/// Redis's default of `proto-max-bulk-len`.
const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Arguments of one command. Redis refused more until version 7, which allows as many as 31 bits count.
const ARGUMENTS_MAX: usize = 1024 * 1024;

/// An inline command, or the line with a count or length.
const LINE_BYTES_MAX: usize = 64 * 1024;

const UNAUTHENTICATED_BULK_BYTES: usize = 16 * 1024;
const UNAUTHENTICATED_ARGUMENTS: usize = 10;

impl Limits {
    /// For a client that needs no authentication, or has it.
    pub const DEFAULT: Self = Self {
        bulk_bytes_max: BULK_BYTES_MAX,
        arguments_max: ARGUMENTS_MAX,
        line_bytes_max: LINE_BYTES_MAX,
        granted_bulk_bytes: BULK_BYTES_MAX,
        granted_arguments: ARGUMENTS_MAX,
    };

    /// With another limit on the bytes of one argument (`proto-max-bulk-len`), of at most 512 GiB.
    #[must_use]
    pub const fn with_bulk_bytes_max(mut self, bytes: usize) -> Self {
        const BYTES_MAX: usize = 1 << 39;
        self.bulk_bytes_max = if bytes < BYTES_MAX { bytes } else { BYTES_MAX };
        self.granted_bulk_bytes = self.bulk_bytes_max;
        self
    }

    /// The same limits for a client that has yet to authenticate.
    #[must_use]
    pub const fn unauthenticated(mut self) -> Self {
        if self.granted_bulk_bytes > UNAUTHENTICATED_BULK_BYTES {
            self.granted_bulk_bytes = UNAUTHENTICATED_BULK_BYTES;
        }
        if self.granted_arguments > UNAUTHENTICATED_ARGUMENTS {
            self.granted_arguments = UNAUTHENTICATED_ARGUMENTS;
        }
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
