//! A command's arguments as a program hands them over that needs no wire: bytes and where each argument is.

use bytes::Bytes;
use smallvec::SmallVec;

/// Arguments up to this size are copied next to each other; larger ones are kept as they are given. Copying a page costs
/// about as much as a counted reference that another core has to release.
pub const INLINE_ARGUMENT_BYTES: usize = 4096;

/// Small commands (a name, a key, a short value) need no allocation.
const TEXT_BYTES: usize = 64;
const SPANS: usize = 4;

/// Says that an argument is a large one; the other bits are its index. Without it they say where a text ends.
const LARGE: u32 = 1 << 31;

/// The arguments of one command, its name first. Owned, and cheap to send to another thread; large arguments are
/// shared, not copied.
///
/// Small, because commands are moved more often than they are looked at: up to 128 bytes are moved in registers, without a call.
#[derive(Clone, Debug, Default)]
pub struct Words {
    text: SmallVec<[u8; TEXT_BYTES]>,
    /// For each argument where it ends in the text, which is where the next one begins; or which of the large ones it is.
    ends: SmallVec<[u32; SPANS]>,
    large: Option<Box<Large>>,
}

const _: () = assert!(size_of::<Words>() <= 104);

#[derive(Clone, Debug, Default)]
struct Large(Vec<Bytes>);

impl Words {
    /// No arguments.
    #[inline]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an argument, copying it.
    #[inline]
    pub fn push(&mut self, argument: &[u8]) {
        match self.end_with(argument.len()) {
            Some(end) => {
                self.text.extend_from_slice(argument);
                self.ends.push(end);
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

    /// Where the text ends with so many bytes more, if they are few enough to go there.
    #[inline]
    fn end_with(&self, len: usize) -> Option<u32> {
        if len > INLINE_ARGUMENT_BYTES {
            return None;
        }
        u32::try_from(self.text.len() + len).ok().filter(|end| end & LARGE == 0)
    }

    #[cold]
    fn push_large(&mut self, argument: Bytes) {
        let large = &mut self.large.get_or_insert_default().0;
        self.ends.push(LARGE | large.len() as u32);
        large.push(argument);
    }

    /// The argument that ends so, where its text begins at `start`.
    #[inline]
    fn at(&self, start: u32, end: u32) -> &[u8] {
        let found = if end & LARGE == 0 {
            self.text.get(start as usize..end as usize)
        } else {
            let large = self.large.as_ref().map(|large| large.0.as_slice());
            large.and_then(|large| large.get((end & !LARGE) as usize)).map(AsRef::as_ref)
        };
        // Ends are made by `push` alone, and what they name is never taken away.
        found.unwrap_or_default()
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let word = self.at(start, end);
            if end & LARGE == 0 {
                start = end;
            }
            word
        })
    }

    /// The argument at this place, the name being at 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let before = self.ends.get(..index).unwrap_or_default();
        let start = before.iter().rfind(|&&end| end & LARGE == 0);
        Some(self.at(start.copied().unwrap_or(0), end))
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all arguments.
    #[inline]
    pub fn bytes(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| large.0.iter().map(Bytes::len).sum());
        self.text.len() + large
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
            for (index, argument) in arguments.iter().enumerate() {
                prop_assert_eq!(copy.get(index), Some(argument.as_slice()));
            }
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
