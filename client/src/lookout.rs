//! Whether the task behind a connection looks for replies for a while, instead of sleeping at once.
//!
//! A task that sleeps has to be woken: that costs the server a good part of a pipeline's own time, and the caller the
//! way back to its core. While many replies are due the next ones are near. Looking is given up when it was in vain.
#![expect(
    clippy::disallowed_methods,
    reason = "a test's clock, which stands still while somebody looks, would never move"
)]

use std::time::{Duration, Instant};

/// With fewer replies due, the task sleeps: one by one the network takes longer than any look.
pub(crate) const REPLIES_MIN: usize = 16;
/// After so many looks in vain, one after the other, the next [`RESTS`] are left out.
const VAIN_MAX: u32 = 4;
const RESTS: u32 = 256;

#[derive(Debug)]
pub(crate) struct Lookout {
    limit: Duration,
    /// Until when the present look goes on.
    until: Option<Instant>,
    vain: u32,
    rests: u32,
}

impl Lookout {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, until: None, vain: 0, rests: 0 }
    }

    /// Something was sent: a new look may begin.
    pub(crate) fn begin(&mut self) {
        if !self.limit.is_zero() {
            self.begin_at(Instant::now());
        }
    }

    /// Replies have come: that was no look in vain, and a new one may begin.
    pub(crate) fn on_heard(&mut self) {
        if self.until.is_some() {
            self.vain = 0;
        }
        self.begin();
    }

    /// Nothing is there now.
    pub(crate) fn on_nothing(&mut self) {
        self.on_nothing_at(Instant::now());
    }

    pub(crate) const fn is_looking(&self) -> bool {
        self.until.is_some()
    }

    fn begin_at(&mut self, now: Instant) {
        self.until = if self.rests > 0 {
            self.rests -= 1;
            None
        } else {
            Some(now + self.limit)
        };
    }

    fn on_nothing_at(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.vain += 1;
            if self.vain >= VAIN_MAX {
                self.vain = 0;
                self.rests = RESTS;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_micros(50);

    #[test]
    fn a_look_ends_with_its_time_and_begins_anew_with_a_reply() {
        let now = Instant::now();
        let mut lookout = Lookout::new(LIMIT);
        assert!(!lookout.is_looking());
        lookout.begin_at(now);
        lookout.on_nothing_at(now + LIMIT / 2);
        assert!(lookout.is_looking());
        lookout.on_nothing_at(now + LIMIT);
        assert!(!lookout.is_looking());
        lookout.begin_at(now + 2 * LIMIT);
        assert!(lookout.is_looking());
    }

    #[test]
    fn looks_in_vain_are_given_up_and_tried_again_later() {
        let mut now = Instant::now();
        let mut lookout = Lookout::new(LIMIT);
        let mut looks = 0;
        for _ in 0..10 * (VAIN_MAX + RESTS) {
            lookout.begin_at(now);
            looks += u32::from(lookout.is_looking());
            now += LIMIT;
            lookout.on_nothing_at(now);
        }
        assert_eq!(looks, 10 * VAIN_MAX);
    }

    #[test]
    fn without_a_limit_nobody_looks() {
        let mut lookout = Lookout::new(Duration::ZERO);
        lookout.on_heard();
        assert!(!lookout.is_looking());
    }
}
