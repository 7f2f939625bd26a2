//! The client against servers that misbehave as told: half replies, wrong ones, none, and none at the right time.

mod peer;

mod loss;
mod replies;
mod shards;
mod start;
