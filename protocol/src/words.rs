//! A command's arguments as a program hands them over that needs no wire: bytes and where each argument is.

use bytes::Bytes;
use smallvec::SmallVec;

/// Arguments up to this size are copied next to each other; larger ones are kept as they are given. Copying a page costs
/// about as much as a counted reference that another core has to release.
pub const INLINE_ARGUMENT_BYTES: usize = 4096;

/// Small commands (a name, a key, a short value) need no allocation.
const TEXT_BYTES: usize = 64;
const SPANS: usize = 4;

/// Where an argument is.
#[derive(Clone, Copy, Debug)]
enum Span {
    /// In the common text.
    Text {
        start: u32,
        len: u32,
    },
    Large(u32),
}

/// The arguments of one command, its name first. Owned, and cheap to send to another thread; large arguments are
/// shared, not copied.
#[derive(Clone, Debug, Default)]
pub struct Words {
    text: SmallVec<[u8; TEXT_BYTES]>,
    spans: SmallVec<[Span; SPANS]>,
    large: Vec<Bytes>,
}

impl Words {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument, copying it.
    #[inline]
    pub fn push(&mut self, argument: &[u8]) {
        match self.inline_span(argument.len()) {
            Some(span) => {
                self.text.extend_from_slice(argument);
                self.spans.push(span);
            }
            None => self.push_large(Bytes::copy_from_slice(argument)),
        }
    }

    /// Adds an argument; a large one is not copied.
    pub fn push_bytes(&mut self, argument: Bytes) {
        if argument.len() <= INLINE_ARGUMENT_BYTES {
            self.push(&argument);
        } else {
            self.push_large(argument);
        }
    }

    #[inline]
    fn inline_span(&self, len: usize) -> Option<Span> {
        if len > INLINE_ARGUMENT_BYTES {
            return None;
        }
        let start = u32::try_from(self.text.len()).ok()?;
        Some(Span::Text { start, len: len as u32 })
    }

    #[cold]
    fn push_large(&mut self, argument: Bytes) {
        self.spans.push(Span::Large(self.large.len() as u32));
        self.large.push(argument);
    }

    #[inline]
    fn at(&self, span: Span) -> &[u8] {
        let found = match span {
            Span::Text { start, len } => self.text.get(start as usize..start as usize + len as usize),
            Span::Large(index) => self.large.get(index as usize).map(AsRef::as_ref),
        };
        // Spans are made by `push` alone, and what they name is never taken away.
        found.unwrap_or_default()
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.spans.iter().map(|&span| self.at(span))
    }

    /// The argument at this place, the name being at 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.spans.get(index).map(|&span| self.at(span))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Bytes of all arguments.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.large.iter().map(Bytes::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arguments_come_out_as_they_went_in(
            arguments in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(any::<u8>(), INLINE_ARGUMENT_BYTES - 1..INLINE_ARGUMENT_BYTES + 2),
            ], 0..12),
            owned in any::<u16>(),
        ) {
            let mut words = Words::new();
            for (index, argument) in arguments.iter().enumerate() {
                if owned >> (index % 16) & 1 == 1 {
                    words.push_bytes(Bytes::from(argument.clone()));
                } else {
                    words.push(argument);
                }
            }
            prop_assert_eq!(words.len(), arguments.len());
            prop_assert_eq!(words.bytes(), arguments.iter().map(Vec::len).sum::<usize>());
            let copy = words.clone();
            drop(words);
            prop_assert!(copy.iter().eq(arguments.iter().map(Vec::as_slice)));
            prop_assert_eq!(copy.get(arguments.len()), None);
        }
    }

    #[test]
    fn large_bytes_are_not_copied() {
        let value = Bytes::from(vec![7; INLINE_ARGUMENT_BYTES + 1]);
        let mut words = Words::new();
        words.push(b"SET");
        words.push_bytes(value.clone());
        assert_eq!(words.get(1).map(<[u8]>::as_ptr), Some(value.as_ptr()));
    }
}
