//! Counts RESP2 replies by their framing, keeping its place between two receives.

/// Where in a reply the input stopped.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Before the type byte of a reply, or of an element of one.
    #[default]
    Start,
    /// In one that ends with its line.
    Line,
    /// In the header of a bulk or an array; the digits so far, and whether it is null.
    Header { value: u64, null: bool, array: bool },
    /// In a bulk's bytes and line end; bytes left.
    Bulk { left: u64 },
}

/// The incremental reply counter of one connection.
#[derive(Debug, Default)]
pub(super) struct ReplyCounter {
    place: Place,
    /// Elements that the arrays around this place still lack, the outermost first.
    lacking: Vec<u64>,
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
                (Place::Start, b'$' | b'*') => {
                    self.place = Place::Header { value: 0, null: false, array: byte == b'*' };
                }
                (Place::Start, _) => {
                    self.errors += u64::from(byte == b'-' && self.lacking.is_empty());
                    self.place = Place::Line;
                }
                (
                    Place::Line
                    | Place::Header { null: true, .. }
                    | Place::Header { value: 0, array: true, .. },
                    b'\n',
                ) => self.end(),
                (Place::Header { value, null, array }, b'0'..=b'9') => {
                    self.place = Place::Header { value: value * 10 + u64::from(byte - b'0'), null, array };
                }
                (Place::Header { value, array, .. }, b'-') => {
                    self.place = Place::Header { value, null: true, array };
                }
                (Place::Header { value, array: true, .. }, b'\n') => {
                    self.lacking.push(value);
                    self.place = Place::Start;
                }
                (Place::Header { value, .. }, b'\n') => self.place = Place::Bulk { left: value + 2 },
                (Place::Line | Place::Header { .. } | Place::Bulk { .. }, _) => {}
            }
        }
    }

    /// One more is whole; with it perhaps the arrays around it.
    fn end(&mut self) {
        self.place = Place::Start;
        while let Some(lacking) = self.lacking.last_mut() {
            *lacking -= 1;
            if *lacking > 0 {
                return;
            }
            self.lacking.pop();
        }
        self.replies += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_the_input_was_cut() {
        let input = b"+OK\r\n$-1\r\n$4\r\n$3\r\n\r\n-ERR no\r\n:12\r\n$0\r\n\r\n\
            *-1\r\n*0\r\n*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n-ERR inner\r\n*1\r\n*1\r\n$-1\r\n";
        for cut in 0..=input.len() {
            let mut counter = ReplyCounter::default();
            counter.feed(&input[..cut]);
            counter.feed(&input[cut..]);
            assert_eq!((counter.replies, counter.errors), (10, 1), "cut at {cut}");
        }
    }
}
