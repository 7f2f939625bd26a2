//! SCAN as a stream.

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{Call, Client, Command, Result, commands::Execute as _};

/// Which keys a scan yields, and how many the server looks at in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    pattern: Option<Bytes>,
    count: Option<u32>,
    of_type: Option<String>,
}

impl ScanFilter {
    /// All keys.
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys that match a glob pattern.
    pub fn matching(pattern: impl AsRef<[u8]>) -> Self {
        Self { pattern: Some(Bytes::copy_from_slice(pattern.as_ref())), ..Self::default() }
    }

    /// Only keys of this type, such as `string`.
    #[must_use]
    pub fn of_type(mut self, name: &str) -> Self {
        self.of_type = Some(name.to_owned());
        self
    }

    /// About how many keys the server looks at in a step.
    #[must_use]
    pub fn count(mut self, keys: u32) -> Self {
        self.count = Some(keys);
        self
    }

    pub(crate) fn command(&self, cursor: &[u8]) -> Command {
        let mut command = Command::new("SCAN").arg(cursor);
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

/// What a step of a scan says: the next cursor, and keys.
pub(crate) type Step = (Bytes, Vec<Bytes>);

/// Where a scan is, without the waiting: the same for both clients.
#[derive(Debug)]
pub(crate) struct Walk {
    filter: ScanFilter,
    cursor: Bytes,
    found: VecDeque<Bytes>,
    ended: bool,
}

impl Walk {
    pub(crate) fn new(filter: ScanFilter) -> Self {
        Self { filter, cursor: Bytes::from_static(b"0"), found: VecDeque::new(), ended: false }
    }

    pub(crate) fn next_found(&mut self) -> Option<Bytes> {
        self.found.pop_front()
    }

    /// The command of the next step; `None` after the last.
    pub(crate) fn next_command(&self) -> Option<Command> {
        (!self.ended).then(|| self.filter.command(&self.cursor))
    }

    /// Takes in a step. After an error the scan is over.
    pub(crate) fn on_step(&mut self, step: Result<Step>) -> Result<()> {
        match step {
            Ok((cursor, keys)) => {
                self.ended = cursor.as_ref() == b"0";
                self.cursor = cursor;
                // Of one step each key once; over steps a server may repeat itself, and remembering all would be without bound.
                let mut seen = HashSet::with_capacity(keys.len());
                self.found.extend(keys.into_iter().filter(|key| seen.insert(key.clone())));
                Ok(())
            }
            Err(error) => {
                self.ended = true;
                Err(error)
            }
        }
    }
}

/// All keys that were there during the whole scan; of others, some. A key may come more than once, as SCAN says.
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
pub struct Scan<'a> {
    client: &'a Client,
    walk: Walk,
    step: Option<Call<'a, Step>>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(client: &'a Client, filter: ScanFilter) -> Self {
        Self { client, walk: Walk::new(filter), step: None }
    }

    /// The next key; `None` at the end. Nothing is lost when this future is dropped.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Scan<'_> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(key) = self.walk.next_found() {
                return Poll::Ready(Some(Ok(key)));
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
        let mut walk = Walk::new(ScanFilter::all());
        walk.on_step(Ok((Bytes::from_static(b"17"), Vec::new()))).unwrap();
        assert!(walk.next_found().is_none());
        assert!(walk.next_command().is_some());
        let keys = [&b"a"[..], b"b", b"a"].map(Bytes::from_static).to_vec();
        walk.on_step(Ok((Bytes::from_static(b"0"), keys))).unwrap();
        assert!(walk.next_command().is_none());
        let found: Vec<Bytes> = std::iter::from_fn(|| walk.next_found()).collect();
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn a_walk_ends_after_an_error() {
        let mut walk = Walk::new(ScanFilter::all());
        assert!(walk.on_step(Err(Error::Timeout { maybe_applied: true })).is_err());
        assert!(walk.next_command().is_none());
    }
}
