//! SCRIPT and its subcommands.

use std::sync::Arc;

use annulus_protocol::{Encoder, Version};

use super::parse_id;
use super::rounds::Kill;
use super::texts::{Origin, Script};
use crate::commands::{Merge, ScriptCommand};
use crate::runtime::{Rng, SocketId};
use crate::script::script_id;
use crate::shard::Core;
use crate::shard::batch::Work;
use crate::shard::transactions::participant::{BUSY_FUNCTION, BUSY_SCRIPT};

const NOT_BUSY: &str = "NOTBUSY No scripts in execution right now.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait \
                          the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

impl Core {
    /// Runs a subcommand of SCRIPT.
    pub(in crate::shard) fn script(&mut self, socket: SocketId, which: ScriptCommand, args: &[&[u8]]) {
        match which {
            ScriptCommand::Debug => {
                let known =
                    ["yes", "sync", "no"].iter().any(|word| args[2].eq_ignore_ascii_case(word.as_bytes()));
                self.answer(socket, |out| {
                    if known { out.ok() } else { out.error("ERR Use SCRIPT DEBUG YES/SYNC/NO") }
                });
            }
            ScriptCommand::Exists => {
                self.refresh_texts();
                let known: Vec<bool> = args[2..]
                    .iter()
                    .map(|word| parse_id(word).is_some_and(|id| self.shared.scripts.find(&id).is_some()))
                    .collect();
                self.answer(socket, |out| {
                    out.array_header(known.len());
                    for it in &known {
                        out.integer(i64::from(*it));
                    }
                });
            }
            ScriptCommand::Flush => {
                let mode = match args {
                    [_, _] => true,
                    [_, _, mode] => mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async"),
                    _ => false,
                };
                if mode {
                    self.shared.scripts.flush();
                }
                self.answer(socket, |out| {
                    if mode { out.ok() } else { out.error("ERR SCRIPT FLUSH only support SYNC|ASYNC option") }
                });
            }
            ScriptCommand::Kill => {
                self.start_broadcast(socket, Work::Core(kill), Merge::Custom(merge_kill), args);
            }
            ScriptCommand::Load => {
                let loaded = self.load_script(args[2]);
                self.answer(socket, |out| match &loaded {
                    Ok(script) => out.bulk(script.id),
                    Err(text) => out.error(text),
                });
            }
        }
    }

    fn load_script(&mut self, text: &[u8]) -> Result<Arc<Script>, Vec<u8>> {
        self.refresh_texts();
        let script = Script::new(script_id(text), text)?;
        self.learn(script, Origin::Loaded)
    }
}

/// Ends the scripts of a shard; the reply is what became of them.
fn kill(core: &mut Core, _: &[&[u8]], out: &mut Vec<u8>) {
    write_kill(core.kill_scripts(false), out);
}

pub(super) fn write_kill(outcome: Kill, out: &mut Vec<u8>) {
    Encoder::new(out, Version::Resp2).integer(outcome.number());
}

pub(super) fn merge_kill(parts: &[Vec<u8>], out: &mut Encoder<'_>, _: &mut Rng) {
    match parts.iter().filter_map(|part| annulus_protocol::parse_integer_reply(part)).max() {
        Some(4) => out.ok(),
        Some(3) => out.error(UNKILLABLE),
        Some(2) => out.error(BUSY_FUNCTION),
        Some(1) => out.error(BUSY_SCRIPT),
        _ => out.error(NOT_BUSY),
    }
}
