//! The replies of one connection, in the order of its commands.
//!
//! Most replies are there at once and depend on nothing: they are written straight to the output. One that has to
//! wait (for another shard, or for its gate) takes a *place*, and everything behind it takes places too, until the first
//! has gone out. Bytes of places wait in one arena, which is empty again whenever no place is left; a connection with
//! too many places is not read from, so that moment comes.

use std::collections::VecDeque;
use std::ops::Range;

use annulus_storage::Lsn;

#[derive(Clone, Debug)]
enum Place {
    /// The reply is on its way.
    Waiting,
    /// It lies in the arena and may leave once its gate is durable.
    Ready { bytes: Range<usize>, gate: Lsn },
    /// As `Waiting`, but nobody wants it (CLIENT REPLY OFF).
    Discarded,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Replies {
    /// Released, in order, to be sent.
    out: Vec<u8>,
    arena: Vec<u8>,
    places: VecDeque<Place>,
    /// Number of the first place.
    first: u32,
    /// Places whose reply is still to come.
    absent: usize,
    /// How large such replies have been lately.
    usual_bytes: usize,
    /// Number after the last place that a message behind it must wait for.
    order_until: u32,
}

/// Taken for the size of a reply as long as none has come: so many large ones may be asked for at once at first.
const USUAL_BYTES_FIRST: usize = 16 << 10;

impl Default for Replies {
    fn default() -> Self {
        Replies {
            out: Vec::new(),
            arena: Vec::new(),
            places: VecDeque::new(),
            first: 0,
            absent: 0,
            usual_bytes: USUAL_BYTES_FIRST,
            order_until: 0,
        }
    }
}

impl Replies {
    /// Writes a reply that is there at once. `write` returns its gate. The result is the gate, if the reply must wait for it.
    #[inline]
    pub fn write(
        &mut self,
        durable: Lsn,
        suppressed: bool,
        write: impl FnOnce(&mut Vec<u8>) -> Lsn,
    ) -> Option<Lsn> {
        if self.places.is_empty() {
            let start = self.out.len();
            let gate = write(&mut self.out);
            if suppressed {
                self.out.truncate(start);
                return None;
            }
            if gate <= durable {
                return None;
            }
            self.arena.extend_from_slice(&self.out[start..]);
            self.out.truncate(start);
            self.places.push_back(Place::Ready { bytes: 0..self.arena.len(), gate });
            self.order_until = self.end();
            return Some(gate);
        }
        let start = self.arena.len();
        let gate = write(&mut self.arena);
        if suppressed {
            self.arena.truncate(start);
            return None;
        }
        self.places.push_back(Place::Ready { bytes: start..self.arena.len(), gate });
        if gate > durable {
            self.order_until = self.end();
        }
        (gate > durable).then_some(gate)
    }

    /// The number that the next place will have.
    fn end(&self) -> u32 {
        self.first.wrapping_add(self.places.len() as u32)
    }

    /// Takes a place for a reply to come; its number is for [`Replies::fill`].
    pub fn reserve(&mut self, suppressed: bool) -> u32 {
        let number = self.end();
        self.places.push_back(if suppressed { Place::Discarded } else { Place::Waiting });
        self.order_until = self.end();
        self.absent += 1;
        number
    }

    /// The reply of a place has come.
    pub fn fill(&mut self, number: u32, reply: &[u8], gate: Lsn, durable: Lsn) -> Option<Lsn> {
        let index = number.wrapping_sub(self.first) as usize;
        let place = self.places.get_mut(index);
        let waits = place.as_ref().is_some_and(|place| !matches!(place, Place::Ready { .. }));
        assert!(waits, "a reply for place {number} of {}, which waits for none", self.first);
        let discarded = matches!(place, Some(Place::Discarded));
        self.absent -= 1;
        // Up at once, down by and by.
        self.usual_bytes = reply.len().max(self.usual_bytes - self.usual_bytes / 8);
        // What nobody sees waits for nothing.
        let gate = if discarded { Lsn::ZERO } else { gate };
        if index == 0 && gate <= durable {
            if !discarded {
                self.out.extend_from_slice(reply);
            }
            self.pop();
            self.release(durable);
            return None;
        }
        let start = self.arena.len();
        if !discarded {
            self.arena.extend_from_slice(reply);
        }
        if let Some(place) = place {
            *place = Place::Ready { bytes: start..self.arena.len(), gate };
        }
        (gate > durable).then_some(gate)
    }

    /// Whether the reply of a place is still to come.
    pub fn is_absent(&self, number: u32) -> bool {
        let place = self.places.get(number.wrapping_sub(self.first) as usize);
        place.is_some_and(|place| !matches!(place, Place::Ready { .. }))
    }

    fn pop(&mut self) {
        self.places.pop_front();
        self.first = self.first.wrapping_add(1);
        if self.places.is_empty() {
            self.arena.clear();
            if self.arena.capacity() > super::limits::OUTPUT_POOLED_BYTES_MAX {
                self.arena = Vec::new();
            }
        }
    }

    /// Moves to the output what may leave now. Returns whether anything moved.
    pub fn release(&mut self, durable: Lsn) -> bool {
        let mut any = false;
        while let Some(Place::Ready { bytes, gate }) = self.places.front()
            && *gate <= durable
        {
            any = true;
            let range = bytes.clone();
            self.out.extend_from_slice(&self.arena[range]);
            self.pop();
        }
        any
    }

    /// Whether everything that was asked for has been answered, except what [`Replies::reset_order_mark`] exempts.
    pub fn is_answered(&self) -> bool {
        self.places.is_empty() || (self.order_until.wrapping_sub(self.first) as i32) <= 0
    }

    /// Up to which place a message must wait.
    pub fn order_mark(&self) -> u32 {
        self.order_until
    }

    /// Messages need not wait for what took a place since the mark was read.
    pub fn reset_order_mark(&mut self, mark: u32) {
        self.order_until = mark;
    }

    /// Whether any reply waits for a gate that is not durable.
    pub fn has_gated(&self, durable: Lsn) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Ready { gate, .. } if *gate > durable))
    }

    /// Replies that have not been released.
    pub fn waiting(&self) -> usize {
        self.places.len()
    }

    /// Bytes kept, released or not.
    pub fn bytes(&self) -> usize {
        self.out.len() + self.arena.len()
    }

    /// What the replies that are still to come may take, going by those that have come: other shards' replies can't be
    /// refused when they are here, so not too much of them is asked for.
    pub fn expected_bytes(&self) -> usize {
        self.absent.saturating_mul(self.usual_bytes)
    }

    /// Whether anything is to be sent.
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Exchanges the output for an empty buffer.
    pub fn take_output(&mut self, empty: Vec<u8>) -> Vec<u8> {
        debug_assert!(empty.is_empty());
        std::mem::replace(&mut self.out, empty)
    }

    /// Gives the output's memory up if it is empty: an idle connection keeps none.
    pub fn take_idle_buffer(&mut self) -> Option<Vec<u8>> {
        (self.out.is_empty() && self.out.capacity() > 0).then(|| std::mem::take(&mut self.out))
    }

    /// Whether the output has a buffer to write into.
    pub fn has_buffer(&self) -> bool {
        self.out.capacity() > 0
    }

    /// Lends a buffer to the output.
    pub fn lend_buffer(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.out.is_empty());
        self.out = buffer;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_is_that_of_the_commands_whatever_order_replies_come_in() {
        let mut replies = Replies::default();
        assert_eq!(
            replies.write(Lsn(0), false, |out| {
                out.push(b'a');
                Lsn(0)
            }),
            None
        );
        let b = replies.reserve(false);
        let c = replies.reserve(false);
        replies.write(Lsn(0), false, |out| {
            out.push(b'd');
            Lsn(0)
        });
        replies.fill(c, b"c", Lsn(0), Lsn(0));
        assert_eq!(replies.take_output(Vec::new()), b"a");
        replies.fill(b, b"b", Lsn(0), Lsn(0));
        assert_eq!(replies.take_output(Vec::new()), b"bcd");
        assert_eq!(replies.waiting(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Local { gate: u64, suppressed: bool },
        Remote { suppressed: bool },
        Arrive { pick: usize, gate: u64 },
        Durable { to: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..20u64, any::<bool>()).prop_map(|(gate, suppressed)| Step::Local { gate, suppressed }),
            any::<bool>().prop_map(|suppressed| Step::Remote { suppressed }),
            (any::<usize>(), 0..20u64).prop_map(|(pick, gate)| Step::Arrive { pick, gate }),
            (0..20u64).prop_map(|to| Step::Durable { to }),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
            #[test]
            fn what_left_is_always_the_longest_prefix_that_may(steps in steps()) {
                // The model: every command's reply byte, gate and whether it has come.
                let mut replies = Replies::default();
                let mut model: Vec<(u8, u64, bool, bool)> = Vec::new();
                let mut pending: Vec<(u32, usize)> = Vec::new();
                let (mut durable, mut sent) = (0u64, Vec::new());
                for step in steps {
                    let byte = model.len() as u8;
                    match step {
                        Step::Local { gate, suppressed } => {
                            replies.write(Lsn(durable), suppressed, |out| { out.push(byte); Lsn(gate) });
                            model.push((byte, gate, true, suppressed));
                        }
                        Step::Remote { suppressed } => {
                            pending.push((replies.reserve(suppressed), model.len()));
                            model.push((byte, 0, false, suppressed));
                        }
                        Step::Arrive { pick, gate } if !pending.is_empty() => {
                            let (number, index) = pending.remove(pick % pending.len());
                            replies.fill(number, &[model[index].0], Lsn(gate), Lsn(durable));
                            model[index].1 = if model[index].3 { 0 } else { gate };
                            model[index].2 = true;
                        }
                        Step::Arrive { .. } => {}
                        Step::Durable { to } => {
                            durable = durable.max(to);
                            replies.release(Lsn(durable));
                        }
                    }
                    sent.extend(replies.take_output(Vec::new()));
                    let may: Vec<u8> = model
                        .iter()
                        .take_while(|(_, gate, come, suppressed)| *come && (*suppressed || *gate <= durable))
                        .filter(|(.., suppressed)| !suppressed)
                        .map(|(byte, ..)| *byte)
                        .collect();
    prop_assert_eq!(&sent, &may);
                }
            }
        }
}
