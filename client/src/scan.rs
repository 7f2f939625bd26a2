//! SCAN as a stream.

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{Call, Client, Command, FromValue, Result, Value, commands::Execute as _, convert::pairs};

/// Which keys (or elements of one key) a scan yields, and how many the server looks at in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    pattern: Option<Bytes>,
    count: Option<u32>,
    of_type: Option<String>,
}

impl ScanFilter {
    /// All.
    pub fn all() -> Self {
        Self::default()
    }

    /// Those whose names match a glob pattern.
    pub fn matching(pattern: impl AsRef<[u8]>) -> Self {
        Self { pattern: Some(Bytes::copy_from_slice(pattern.as_ref())), ..Self::default() }
    }

    /// Only keys of this type, such as `string`. Not for elements of one key.
    #[must_use]
    pub fn of_type(mut self, name: &str) -> Self {
        self.of_type = Some(name.to_owned());
        self
    }

    /// About how many the server looks at in a step.
    #[must_use]
    pub fn count(mut self, keys: u32) -> Self {
        self.count = Some(keys);
        self
    }

    fn add(&self, mut command: Command) -> Command {
        if let Some(pattern) = &self.pattern {
            command = command.arg("MATCH").arg(pattern);
        }
        if let Some(count) = self.count {
            command = command.arg("COUNT").number(count);
        }
        if let Some(of_type) = &self.of_type {
            command = command.arg("TYPE").arg(of_type);
        }
        command.reads()
    }
}

/// What a scan yields.
pub trait Scanned: sealed::Scanned {}

impl<T: sealed::Scanned> Scanned for T {}

mod sealed {
    use super::{Bytes, FromValue, Result, Value, pairs};

    /// Whoever is asked for elements says so by their type; servers tell all of them as flat arrays.
    pub trait Scanned: Sized + Unpin {
        fn all_of(step: Value) -> Result<Vec<Self>>;

        /// What makes it another one.
        fn name(&self) -> &Bytes;
    }

    impl Scanned for Bytes {
        fn all_of(step: Value) -> Result<Vec<Self>> {
            Vec::from_value(step)
        }

        fn name(&self) -> &Bytes {
            self
        }
    }

    impl<T: FromValue + Unpin> Scanned for (Bytes, T) {
        fn all_of(step: Value) -> Result<Vec<Self>> {
            pairs(step)
        }

        fn name(&self) -> &Bytes {
            &self.0
        }
    }
}

/// What a step of a scan says: the next cursor, and what was found.
#[derive(Debug)]
pub(crate) struct Step<T>(Bytes, Vec<T>);

impl<T: Scanned> FromValue for Step<T> {
    fn from_value(value: Value) -> Result<Self> {
        let (cursor, found) = <(Bytes, Value)>::from_value(value)?;
        Ok(Self(cursor, T::all_of(found)?))
    }
}

/// Where a scan is, without the waiting: the same for both clients.
#[derive(Debug)]
pub(crate) struct Walk<T = Bytes> {
    filter: ScanFilter,
    /// The elements of one key, by which command; nothing for the keys themselves.
    of: Option<(&'static str, Bytes)>,
    cursor: Bytes,
    found: VecDeque<T>,
    ended: bool,
}

impl Walk {
    pub(crate) fn over_keys(filter: ScanFilter) -> Self {
        Self::new(filter, None)
    }
}

impl<T: Scanned> Walk<T> {
    fn new(filter: ScanFilter, of: Option<(&'static str, Bytes)>) -> Self {
        Self { filter, of, cursor: Bytes::from_static(b"0"), found: VecDeque::new(), ended: false }
    }

    pub(crate) fn over(name: &'static str, key: impl AsRef<[u8]>, filter: ScanFilter) -> Self {
        Self::new(filter, Some((name, Bytes::copy_from_slice(key.as_ref()))))
    }

    pub(crate) fn next_found(&mut self) -> Option<T> {
        self.found.pop_front()
    }

    /// The command of the next step; `None` after the last.
    pub(crate) fn next_command(&self) -> Option<Command> {
        let head = match &self.of {
            Some((name, key)) => Command::new(name).key(key),
            None => Command::new("SCAN"),
        };
        (!self.ended).then(|| self.filter.add(head.arg(&self.cursor)))
    }

    /// Takes in a step. After an error the scan is over.
    pub(crate) fn on_step(&mut self, step: Result<Step<T>>) -> Result<()> {
        match step {
            Ok(Step(cursor, found)) => {
                self.ended = cursor.as_ref() == b"0";
                self.cursor = cursor;
                // Of one step each once; over steps a server may repeat itself, and remembering all would be without bound.
                let mut seen = HashSet::with_capacity(found.len());
                self.found.extend(found.into_iter().filter(|found| seen.insert(found.name().clone())));
                Ok(())
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }
}

/// All keys (or elements of one key) that were there during the whole scan; of others, some. One may come more than once, as SCAN says.
///
/// It's a [`Stream`]; [`Scan::next`] is for those who need no more of streams.
///
/// ```no_run
/// # async fn example(client: annulus_client::Client) -> annulus_client::Result<()> {
/// use annulus_client::ScanFilter;
///
/// let mut keys = client.scan(ScanFilter::matching("session:*").count(500));
/// while let Some(key) = keys.next().await {
///     println!("{}", key?.escape_ascii());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Scan<'a, T = Bytes> {
    client: &'a Client,
    walk: Walk<T>,
    step: Option<Call<'a, Step<T>>>,
}

impl<'a, T: Scanned> Scan<'a, T> {
    pub(crate) fn new(client: &'a Client, walk: Walk<T>) -> Self {
        Self { client, walk, step: None }
    }

    /// The next one; `None` at the end. Nothing is lost when this future is dropped.
    pub async fn next(&mut self) -> Option<Result<T>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl<T: Scanned> Stream for Scan<'_, T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(found) = self.walk.next_found() {
                return Poll::Ready(Some(Ok(found)));
            }
            if let Some(step) = &mut self.step {
                let done = ready!(Pin::new(step).poll(context));
                self.step = None;
                if let Err(error) = self.walk.on_step(done) {
                    return Poll::Ready(Some(Err(error)));
                }
            } else {
                let Some(command) = self.walk.next_command() else { return Poll::Ready(None) };
                self.step = Some(self.client.execute(command));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_walk_ends_with_cursor_zero_and_not_with_an_empty_step() {
        let mut walk = Walk::over_keys(ScanFilter::all());
        walk.on_step(Ok(Step(Bytes::from_static(b"17"), Vec::new()))).unwrap();
        assert!(walk.next_found().is_none());
        assert!(walk.next_command().is_some());
        let keys = [&b"a"[..], b"b", b"a"].map(Bytes::from_static).to_vec();
        walk.on_step(Ok(Step(Bytes::from_static(b"0"), keys))).unwrap();
        assert!(walk.next_command().is_none());
        let found: Vec<Bytes> = std::iter::from_fn(|| walk.next_found()).collect();
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn a_walk_ends_after_an_error() {
        let mut walk = Walk::over_keys(ScanFilter::all());
        assert!(walk.on_step(Err(Error::Timeout { maybe_applied: true })).is_err());
        assert!(walk.next_command().is_none());
    }
}
