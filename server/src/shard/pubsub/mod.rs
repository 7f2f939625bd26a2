//! Messages: who listens on this shard, and how a message reaches them.
//!
//! A listener lives on the shard of its connection; so does its place in the tables here ([`Listeners`]). A message is
//! delivered on the shard where it was sent, and travels to those others that may have listeners ([`Interest`]).
//!
//! - Messages of one connection leave it in order, and travel in order: every listener gets them in order. Those of
//!   different connections have no order between them, as they have none in time.
//! - PUBLISH runs when all that its connection asked for before has been answered. So nobody hears of a write by a
//!   message of the same connection before that write is done, and in `durability = always` durable.
//! - A message takes its place in a connection's output behind everything that the connection asked for before.
//! - Nothing of this outlives the process. A listener that doesn't read loses its connection
//!   (`client-output-buffer-limit pubsub`), never a message: it would not know.
//!
//! [`Interest`]: super::interest::Interest

mod commands;
mod deliver;
mod listeners;
pub(super) mod notices;

pub(super) use self::commands::allowed_while_listening;
pub(super) use self::deliver::Copies;
pub(super) use self::listeners::{Listeners, Listening, Seeded};
