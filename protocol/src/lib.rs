//! The wire of Annulus: RESP2 and RESP3, hash slots, and the texts of numbers as Redis writes and reads them.
//!
//! Bytes in, values out. This crate does no I/O, knows no clock, no command and no key space, and holds no unsafe code;
//! what it is given may be anything that a network can carry.

#![forbid(unsafe_code)]

// What a client sends.
mod command;
mod slot;
mod words;

// What a server answers: written, scanned, and read back as values.
mod reply;
mod scan;
mod value;

mod number;

pub use command::{Args, CommandParser, Limits, ProtocolError, Step, peek_key};
pub use number::{DoubleText, LongDouble, format_double, parse_f64, parse_i64};
pub use reply::{Encoder, Version};
pub use scan::{
    Elements, ReplyError, ReplyScanner, elements, parse_bulk_reply, parse_error_reply, parse_integer_reply,
    reply_len,
};
pub use slot::{SLOT_COUNT, slot};
pub use value::Value;
pub use words::{INLINE_ARGUMENT_BYTES, Words};
