//! Counts RESP replies by their framing, keeping its place between two receives.

/// Where in a reply the input stopped.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Before the type byte of a reply.
    #[default]
    Start,
    /// In a reply that ends with its line.
    Line,
    /// In the header of a bulk; the digits so far, and whether it is the null bulk.
    Header { value: u64, null: bool },
    /// In a bulk's bytes and line end; bytes left.
    Bulk { left: u64 },
}

/// The incremental reply counter of one connection, for commands that answer with a line or a bulk.
#[derive(Debug, Default)]
pub(super) struct ReplyCounter {
    place: Place,
    /// Replies completed.
    pub(super) replies: u64,
    /// Those of them that are errors.
    pub(super) errors: u64,
}

impl ReplyCounter {
    /// Takes the next received bytes.
    pub(super) fn feed(&mut self, mut input: &[u8]) {
        while let Some((&byte, rest)) = input.split_first() {
            if let Place::Bulk { left } = self.place {
                let taken = left.min(input.len() as u64);
                input = &input[taken as usize..];
                self.place = Place::Bulk { left: left - taken };
                if taken == left {
                    self.end();
                }
                continue;
            }
            input = rest;
            match (self.place, byte) {
                (Place::Start, b'$') => self.place = Place::Header { value: 0, null: false },
                (Place::Start, _) => {
                    self.errors += u64::from(byte == b'-');
                    self.place = Place::Line;
                }
                (Place::Line | Place::Header { null: true, .. }, b'\n') => self.end(),
                (Place::Header { value, null }, b'0'..=b'9') => {
                    self.place = Place::Header { value: value * 10 + u64::from(byte - b'0'), null };
                }
                (Place::Header { value, .. }, b'-') => self.place = Place::Header { value, null: true },
                (Place::Header { value, .. }, b'\n') => self.place = Place::Bulk { left: value + 2 },
                (Place::Line | Place::Header { .. } | Place::Bulk { .. }, _) => {}
            }
        }
    }

    fn end(&mut self) {
        self.replies += 1;
        self.place = Place::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_the_input_was_cut() {
        let input = b"+OK\r\n$-1\r\n$4\r\n$3\r\n\r\n-ERR no\r\n:12\r\n$0\r\n\r\n";
        for cut in 0..=input.len() {
            let mut counter = ReplyCounter::default();
            counter.feed(&input[..cut]);
            counter.feed(&input[cut..]);
            assert_eq!((counter.replies, counter.errors), (6, 1), "cut at {cut}");
        }
    }
}
