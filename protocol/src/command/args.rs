//! The arguments of one command, as ranges of the bytes that it was read from.

use smallvec::SmallVec;

/// A reusable list of arguments; one per shard serves all its connections.
///
/// The arguments are ranges of the input given to the parser, which is why reading them asks for it again. Only an inline
/// command with quotes holds its arguments itself, because they do not stand in the input as they are meant.
#[derive(Debug, Default)]
pub struct Args {
    pub(super) spans: SmallVec<[Span; INLINE]>,
    /// The unquoted arguments of an inline command, one after the other; `None` for ranges of the input.
    pub(super) unquoted: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) bytes: usize,
}

/// Arguments held without an allocation: more than all but the variadic commands take.
pub(super) const INLINE: usize = 8;

/// Above this many arguments the list is given back after use: a single huge command should not cost 16 bytes an argument
/// for ever.
const SPANS_KEPT_MAX: usize = 4096;

impl Args {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// True for a blank line and for an array of no elements, which ask for no reply.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, the name being at 0. `input` is what the parser was given.
    ///
    /// # Panics
    /// When there is no such argument, or `input` is shorter than what was parsed.
    #[inline]
    pub fn get<'a>(&'a self, index: usize, input: &'a [u8]) -> &'a [u8] {
        self.spans[index].of(self.source(input))
    }

    /// All arguments. `input` is what the parser was given.
    ///
    /// # Panics
    /// When `input` is shorter than what was parsed.
    #[inline]
    pub fn slices<'a>(&'a self, input: &'a [u8]) -> SmallVec<[&'a [u8]; INLINE]> {
        if self.len() > INLINE {
            return self.iter(input).collect();
        }
        // Filling an array of known size takes half the time of collecting.
        let mut slices = [&input[..0]; INLINE];
        for (slice, argument) in slices.iter_mut().zip(self.iter(input)) {
            *slice = argument;
        }
        SmallVec::from_buf_and_len(slices, self.len())
    }

    /// All arguments, one after the other.
    ///
    /// # Panics
    /// When `input` is shorter than what was parsed.
    #[inline]
    pub fn iter<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let source = self.source(input);
        self.spans.iter().map(move |span| span.of(source))
    }

    /// Empties the list and keeps its memory, within reason.
    #[inline]
    pub fn clear(&mut self) {
        if self.spans.capacity() > SPANS_KEPT_MAX {
            self.spans = SmallVec::new();
        } else {
            self.spans.clear();
        }
        if self.unquoted.is_some() {
            self.unquoted = None;
        }
    }

    #[inline]
    fn source<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        self.unquoted.as_deref().unwrap_or(input)
    }
}

impl Span {
    #[inline]
    fn of(self, source: &[u8]) -> &[u8] {
        &source[self.start..self.start + self.bytes]
    }
}
